// Reads a log's chain of segments as one: each from its first entry to its last, then the next.
//
// Nothing is skipped silently. A segment that vanished, or is another than the position's, ends the reading with a LogError
// that says from where it could go on: a power cut may have taken a segment and the closing of the one before it, which was
// then written to behind those that had read it to its end.

import type { Clock } from "#/lib/clock/clock.ts";
import { LogError, type LogInfo } from "#/lib/commitlog/commitlog.ts";
import { readOrdered, type StreamReview, whenConnected } from "#/lib/commitlog/ordered.ts";
import {
  compareSegments,
  parseEntrySubject,
  parseStreamName,
  type SegmentName,
  streamNameOf,
} from "#/lib/commitlog/subjects.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { LogEntry, LogPosition } from "#/lib/model/log.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import type { NatsLink } from "#/lib/wire/jetstream.ts";
import { isTransient, type JetStreamApi } from "#/lib/wire/streams.ts";

/** How often one looks for a log that is not there yet. */
const searchEveryMs = 500;

/** The segments of one log at one place. Its methods may throw what the link and JetStream throw, and LogError. */
export interface SegmentSource {
  /** Oldest first. */
  segments(): Promise<readonly SegmentName[]>;
  /**
   * Undefined when it is not there. `after`: how far the reader has come with it, and from where it goes on when what is found
   * has to be told first.
   */
  inspect(stream: string, after: number): Promise<Inspection | undefined>;
}

export interface Inspection {
  readonly info: LogInfo;
  readonly state: SegmentState;
  /** The newest entry as the origin has it, as far as that is known here. */
  readonly originLast: { readonly sequence: number; readonly storedMs: number };
}

/**
 * `closed`: nothing will be added, and everything is here. So is a segment that has a later one, whatever its settings say:
 * they may be lost in a power cut, but closing came first. `lost`: nothing will be added, and what was not carried here is gone.
 */
export type SegmentState = "open" | "closed" | "lost";

export interface ChainOptions {
  readonly source: SegmentSource;
  readonly link: NatsLink;
  readonly api: JetStreamApi;
  readonly datacenter: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

/** As LogReader.read. */
export async function* readChain(
  options: ChainOptions,
  after: LogPosition | undefined,
  signal: AbortSignal,
): AsyncGenerator<LogEntry> {
  const { source, datacenter, metrics } = options;
  let from = after ?? (await retry(options, signal, () => startOfOldest(source)));
  let fromTheStart = after === undefined;
  /** Where segments ended when they were left for the next one. */
  const ends = new Map<string, number>();
  while (from && !signal.aborted) {
    const { stream, created }: LogPosition = from;
    const segment = parseStreamName(stream, datacenter);
    if (!segment) throw new LogError("recreated", `${stream} is no segment of the log of ${datacenter}`);
    const entries = readOrdered(
      {
        ...options,
        stream,
        created,
        after: fromTheStart ? undefined : from,
        review: (last) => review(options, { stream, created, last, ends }),
        onReset: () => metrics.add("heliograph_log_reader_resets_total", 1, { datacenter }),
      },
      signal,
    );
    for await (const { subject, payload, sequence, storedMs } of entries) {
      const known = parseEntrySubject(subject, segment);
      const position = { stream, created, sequence, storedMs };
      // A later version's kind of entry is not for this one.
      if (known) yield { position, ...known, payload };
    }
    from = await retry(options, signal, () => startAfter(source, datacenter, stream));
    fromTheStart = false;
  }
}

interface Reviewed {
  readonly stream: string;
  readonly created: string;
  readonly last: LogPosition | undefined;
  readonly ends: Map<string, number>;
}

/** What must be true of a segment while it is read on after `last`. */
async function review(
  { source, datacenter }: ChainOptions,
  { stream, created, last, ends }: Reviewed,
): Promise<StreamReview> {
  const found = await source.inspect(stream, last?.sequence ?? 0);
  const whereNext = async () =>
    (await reopenedBefore(source, datacenter, { stream, created, last, ends })) ??
    (await startAfter(source, datacenter, stream));
  if (!found) {
    const next = await whereNext();
    // Nothing at all: JetStream is starting, or nobody began the log anew yet.
    if (!next) throw new LogError("missing", `${stream}: the stream is not there`);
    throw new LogError("recreated", `${stream}: the stream is gone, and the log goes on in ${next.stream}`, {
      resumeAfter: next,
    });
  }
  const { info, state } = found;
  if (info.created !== created) {
    throw new LogError(
      "recreated",
      `${stream}: expected the stream made at ${created}, got one made at ${info.created}`,
      {
        resumeAfter: { stream, created: info.created, sequence: 0 },
      },
    );
  }
  if (last && last.sequence > info.lastSequence) {
    throw new LogError(
      "shortened",
      `${stream}: expected at least ${last.sequence} entries, got ${info.lastSequence}: it lost its tail`,
      {
        resumeAfter: { stream, created, sequence: 0 },
      },
    );
  }
  if (state === "lost" && (last?.sequence ?? 0) >= info.lastSequence) {
    const next = await whereNext();
    if (next) {
      throw new LogError("recreated", `${stream}: the data centre lost it, and its log goes on in ${next.stream}`, {
        resumeAfter: next,
      });
    }
  }
  if (state === "closed") ends.set(stream, info.lastSequence);
  return { done: state === "closed", lastSequence: info.lastSequence };
}

/** The end of the first earlier segment that was written to after this one, which is lost, had followed it. */
async function reopenedBefore(
  source: SegmentSource,
  datacenter: string,
  { stream, created, last, ends }: Reviewed,
): Promise<LogPosition | undefined> {
  const followedMs = last?.storedMs ?? Date.parse(created);
  for (const segment of await source.segments()) {
    const earlier = streamNameOf(segment);
    if (earlier === stream || isAfter(segment, stream, datacenter)) break;
    const end = ends.get(earlier);
    const found = await inspectLeft(source, earlier, end ?? 0);
    if (!found || found.state === "lost") continue;
    const { info, originLast } = found;
    const isLonger = end === undefined ? originLast.storedMs > followedMs : originLast.sequence > end;
    // Who does not remember its end reads it again: what is known is dropped by its watermark.
    if (isLonger) return { stream: earlier, created: info.created, sequence: end ?? 0 };
  }
  return undefined;
}

/** A segment that was read and left: that its origin lost its tail since is told once, and takes nothing from its reader. */
async function inspectLeft(source: SegmentSource, stream: string, after: number): Promise<Inspection | undefined> {
  try {
    return await source.inspect(stream, after);
  } catch (error) {
    if (!(error instanceof LogError) || error.code !== "shortened") throw error;
    return await source.inspect(stream, after);
  }
}

async function startOfOldest(source: SegmentSource): Promise<LogPosition | undefined> {
  const oldest = (await source.segments())[0];
  return oldest && startOf(source, streamNameOf(oldest));
}

async function startAfter(source: SegmentSource, datacenter: string, stream: string): Promise<LogPosition | undefined> {
  const next = (await source.segments()).find((segment) => isAfter(segment, stream, datacenter));
  return next && startOf(source, streamNameOf(next));
}

async function startOf(source: SegmentSource, stream: string): Promise<LogPosition | undefined> {
  const found = await source.inspect(stream, 0);
  return found && { stream, created: found.info.created, sequence: 0 };
}

function isAfter(segment: SegmentName, stream: string, datacenter: string): boolean {
  const present = parseStreamName(stream, datacenter);
  return present === undefined || compareSegments(segment, present) > 0;
}

/** Asks until there is an answer; undefined when the signal aborts. */
async function retry<T>(
  { link, clock }: ChainOptions,
  signal: AbortSignal,
  ask: () => Promise<T | undefined>,
): Promise<T | undefined> {
  while (!signal.aborted) {
    await whenConnected(link, signal);
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      if (!isTransient(error)) throw error;
    }
    await clock.sleep(searchEveryMs, signal);
  }
  return undefined;
}
