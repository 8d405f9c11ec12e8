// The log on NATS JetStream: the data centre's own, which its primaries write and read, and its mirror at the hub, which the
// globals read. Settings and their reasons are in docs/formats/log.md.
//
// Both are read as a chain of segments: a segment is left for the next one when it is closed and read to its end, and what a
// chain cannot bridge is thrown. A mirror is a stream of the same name in the data centre's account at the hub. It has a
// `created` of its own, so the origin's is kept in its description, and held against the origin whenever that can be asked.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { type Inspection, readChain, type SegmentSource } from "#/lib/commitlog/chain.ts";
import {
  type AppendRequest,
  type AppendResult,
  LogError,
  type LogInfo,
  type LogReader,
  type SegmentedLog,
} from "#/lib/commitlog/commitlog.ts";
import {
  closedMessageBytesMax,
  createdOf,
  endedAt,
  entryBytesMax,
  infoOf,
  type LogLimits,
  lastOf,
  mirrorConfig,
  originConfig,
  originCreated,
  originEnd,
  stateOf,
} from "#/lib/commitlog/settings.ts";
import {
  compareSegments,
  entrySubject,
  parseStreamName,
  type SegmentName,
  sortSegments,
  streamNameOf,
} from "#/lib/commitlog/subjects.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { LogEntry, LogPosition } from "#/lib/model/log.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { type NatsLink, NatsLinkError } from "#/lib/wire/jetstream.ts";
import {
  isTransient,
  JetStreamApi,
  JetStreamError,
  type PublishAck,
  type StreamInfo,
  streamNameInUse,
  subjectsOverlap,
} from "#/lib/wire/streams.ts";

/** A stream of three replicas elects a leader within it. */
const appendTimeoutMs = 5 * secondMs;

export interface DatacenterLogOptions {
  /** To the data centre's own NATS servers. */
  readonly link: NatsLink;
  readonly datacenter: string;
  readonly limits: LogLimits;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

export function openDatacenterLog(options: DatacenterLogOptions): SegmentedLog {
  watchConnection(options);
  return new DatacenterLog(options);
}

export interface HubLogOptions {
  /** To the hub, as a user of the data centre's account there. */
  readonly link: NatsLink;
  readonly datacenter: string;
  /** The JetStream domain of the data centre. */
  readonly domain: string;
  readonly replicas: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

export function openHubLog(options: HubLogOptions): LogReader {
  watchConnection(options);
  return new HubLog(options);
}

class DatacenterLog implements SegmentedLog, SegmentSource {
  readonly #options: DatacenterLogOptions;
  readonly #api: JetStreamApi;
  #current: Promise<SegmentName> | undefined;
  /** Later than every segment that is known here. */
  #epochMin = 0;
  /** By stream, the furthest entry that was acknowledged or read here: a stream that ends before it lost its tail. */
  readonly #furthest = new Map<string, number>();
  /** Where the last entry of ours went. */
  #writtenTo: string | undefined;
  /** Streams whose loss was told. */
  readonly #lost = new Set<string>();
  readonly #lossCallbacks: (() => void)[] = [];

  constructor(options: DatacenterLogOptions) {
    this.#options = options;
    this.#api = new JetStreamApi(options.link);
    // Another server may be there now, or the same one with less on its disk.
    options.link.onChange(() => {
      this.#current = undefined;
    });
  }

  async append(request: AppendRequest, signal: AbortSignal): Promise<AppendResult> {
    const { metrics } = this.#options;
    try {
      const ack = await this.#append(request, signal);
      this.#reached(ack.stream, ack.seq);
      this.#writtenTo = ack.stream;
      metrics.add("heliograph_log_appended_entries_total", 1, { kind: request.kind });
      return { stream: ack.stream, sequence: ack.seq, duplicate: ack.duplicate ?? false };
    } catch (error) {
      signal.throwIfAborted();
      const refusal = logError(error);
      metrics.add("heliograph_log_append_errors_total", 1, { code: refusal.code });
      throw refusal;
    }
  }

  async *read(after: LogPosition | undefined, signal: AbortSignal): AsyncIterable<LogEntry> {
    if (after) {
      this.#reached(after.stream, after.sequence);
      this.#current = undefined;
    }
    try {
      for await (const entry of readChain({ ...this.#options, source: this, api: this.#api }, after, signal)) {
        this.#reached(entry.position.stream, entry.position.sequence);
        yield entry;
      }
    } catch (error) {
      if (error instanceof LogError && (await this.#isLoss(error))) this.#tellLoss();
      throw error;
    }
  }

  onLoss(callback: () => void): void {
    this.#lossCallbacks.push(callback);
  }

  async info(): Promise<LogInfo> {
    try {
      const stream = streamNameOf(await this.#segment());
      const info = await this.#api.streamInfo(stream);
      if (info) return infoOf(info, createdOf(info));
      this.#current = undefined;
      throw new LogError("missing", `${stream}: the stream is gone`);
    } catch (error) {
      throw logError(error);
    }
  }

  async beginSegment(): Promise<void> {
    try {
      const segment = await this.#segment();
      const info = await this.#api.streamInfo(streamNameOf(segment));
      if (!info) throw new LogError("missing", `${streamNameOf(segment)}: the stream is gone`);
      this.#current = this.#beginAfter(segment, info).catch((error: unknown) => {
        if (isTaken(error)) return this.#findOrCreate();
        throw error;
      });
      await this.#current;
      this.#writtenTo = undefined;
    } catch (error) {
      this.#current = undefined;
      throw logError(error);
    }
  }

  async segments(): Promise<readonly SegmentName[]> {
    return sortSegments(await this.#api.streamNames(), this.#options.datacenter);
  }

  async inspect(stream: string): Promise<Inspection | undefined> {
    // In this order: what stood in a segment before the next one began is in its count then.
    const isFollowed = hasLater(await this.#api.streamNames(), stream, this.#options.datacenter);
    const info = await this.#api.streamInfo(stream);
    const state = isFollowed ? "closed" : info && stateOf(info);
    return info && { info: infoOf(info, createdOf(info)), state: state!, originLast: lastOf(info) };
  }

  #reached(stream: string, sequence: number): void {
    if (sequence > (this.#furthest.get(stream) ?? 0)) this.#furthest.set(stream, sequence);
    this.#knows(parseStreamName(stream, this.#options.datacenter));
  }

  #knows(segment: SegmentName | undefined): void {
    this.#epochMin = Math.max(this.#epochMin, (segment?.epoch ?? 0) + 1);
  }

  async #append(request: AppendRequest, signal: AbortSignal): Promise<PublishAck> {
    const { kind, origin, id, payload } = request;
    if (payload.length > entryBytesMax) {
      throw new LogError("too_large", `${id}: expected at most ${entryBytesMax} bytes, got ${payload.length}`);
    }
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      const current = this.#segment();
      try {
        const segment = await current;
        const ack = await this.#api.publish(entrySubject(segment, kind, origin), payload, {
          headers: { "Nats-Msg-Id": id },
          timeoutMs: appendTimeoutMs,
          signal,
        });
        // Another primary began the chain anew: the entry is well where it is.
        if (ack.stream !== streamNameOf(segment)) this.#forget(current);
        return ack;
      } catch (error) {
        this.#forget(current);
        // No stream takes the subject: the segment was closed, or is lost. Look for the present one, once.
        const gone =
          (error instanceof NatsLinkError && error.code === "no_responders") || error instanceof JetStreamError;
        if (attempt > 1 || !gone) throw error;
      }
    }
  }

  #forget(current: Promise<SegmentName>): void {
    if (this.#current === current) this.#current = undefined;
  }

  /** The segment to write to, found or made. */
  #segment(): Promise<SegmentName> {
    this.#current ??= this.#findOrCreate().catch((error: unknown) => {
      this.#current = undefined;
      throw error;
    });
    return this.#current;
  }

  async #findOrCreate(): Promise<SegmentName> {
    const { datacenter, limits, clock, log } = this.#options;
    await this.#lookForLoss();
    for (let attempt = 1; ; attempt++) {
      try {
        const known = await this.segments();
        const newest = known.at(-1);
        if (newest) {
          const taken = await this.#takeUp(newest, known.slice(0, -1));
          this.#leave(streamNameOf(taken));
          return taken;
        }
        const segment = { datacenter, epoch: this.#newEpoch(), segment: 1 };
        this.#knows(segment);
        await this.#api.createStream(originConfig(segment, limits, clock.nowMs()));
        log.info({ stream: streamNameOf(segment) }, "Began a log: there was none.");
      } catch (error) {
        // The other primary was faster, under another epoch: then its stream is found now.
        if (attempt > 3 || !isTaken(error)) throw error;
      }
    }
  }

  /**
   * Somebody else left the segment that we wrote to, perhaps because it had lost a tail that we never saw: then what we wrote
   * since has the numbers of what is lost, and the hub's mirror passes over it.
   */
  #leave(forStream: string): void {
    const left = this.#writtenTo;
    if (left === undefined || left === forStream) return;
    this.#writtenTo = undefined;
    if (!this.#lost.has(left)) this.#tellLoss();
  }

  /** A segment that was lost, or could not be made for want of room, never has the name of one that is begun later. */
  #newEpoch(): number {
    return Math.max(Math.floor(this.#options.clock.nowMs() / secondMs), this.#epochMin);
  }

  /** A hole at a stream's start was dropped for want of room; one amid it was torn in a power cut. */
  async #isLoss({ code, resumeAfter }: LogError): Promise<boolean> {
    if (code !== "hole" || !resumeAfter) return code === "shortened" || code === "recreated";
    const info = await this.#api.streamInfo(resumeAfter.stream).catch(() => undefined);
    return info !== undefined && resumeAfter.sequence + 1 > info.state.first_seq;
  }

  /** The other primary may have begun a new segment already: so each one that was written or read here is looked at. */
  async #lookForLoss(): Promise<void> {
    for (const [stream, furthest] of this.#furthest) {
      if (this.#lost.has(stream)) continue;
      const info = await this.#api.streamInfo(stream);
      // A power cut soon after a segment was closed may take all of it: its settings no longer match their checksum.
      if (info && info.state.last_seq >= furthest && !hasTorn(info)) continue;
      this.#lost.add(stream);
      this.#tellLoss();
    }
  }

  #tellLoss(): void {
    for (const callback of this.#lossCallbacks) callback();
  }

  /** Makes sure that the newest segment can be written to, and no other. */
  async #takeUp(newest: SegmentName, older: readonly SegmentName[]): Promise<SegmentName> {
    const { limits, log } = this.#options;
    this.#knows(newest);
    await this.#closeAgain(older);
    const stream = streamNameOf(newest);
    const info = await this.#api.streamInfo(stream);
    if (!info) throw new LogError("unavailable", `${stream}: the stream vanished just now`);
    const lost = this.#lostAfter(newest);
    if (lost.length > 0) {
      // Readers went on to what is lost: what were added here would be behind them.
      log.error({ stream, lost }, "The log lost its newest segment: it goes on in a new one.");
      for (const each of lost) this.#lost.add(each);
      this.#tellLoss();
      return this.#beginAfter(newest, info);
    }
    // Whoever closed it did not come to begin the next one.
    if (stateOf(info) === "closed") return this.#beginAfter(newest, info);
    if (hasTorn(info)) {
      // nats-server 2.9 takes and acknowledges what comes behind a torn entry, and never gives it to anybody.
      log.error({ stream }, "An entry of the log was torn in a power cut: the log goes on in a new segment.");
      if (!this.#lost.has(stream)) this.#tellLoss();
      this.#lost.add(stream);
      return this.#beginAfter(newest, info);
    }
    const furthest = this.#furthest.get(stream) ?? 0;
    if (furthest > info.state.last_seq) {
      // New entries would get the numbers of lost ones, and mirrors would pass over them.
      log.error(
        { stream, expected: furthest, got: info.state.last_seq },
        "The log lost its tail: it goes on in a new segment.",
      );
      return this.#beginAfter(newest, info);
    }
    const wanted = originConfig(newest, limits, 0);
    // The topology file may have changed since the stream was made.
    const { max_bytes, max_age, num_replicas } = wanted;
    const present = info.config;
    if (present.max_bytes !== max_bytes || present.max_age !== max_age || present.num_replicas !== num_replicas) {
      await this.#api.updateStream({ ...present, max_bytes, max_age, num_replicas });
      log.info({ stream, max_bytes, max_age, num_replicas }, "Adapted the log to the topology file.");
    }
    return newest;
  }

  /** Segments later than the newest one that were written or read here. */
  #lostAfter(newest: SegmentName): readonly string[] {
    return [...this.#furthest.keys()].filter((stream) => {
      const known = parseStreamName(stream, this.#options.datacenter);
      return known !== undefined && compareSegments(known, newest) > 0;
    });
  }

  /** A power cut opens again what was closed shortly before. */
  async #closeAgain(older: readonly SegmentName[]): Promise<void> {
    for (const segment of older) {
      const info = await this.#api.streamInfo(streamNameOf(segment));
      if (!info || stateOf(info) === "closed") continue;
      await this.#close(info);
      this.#options.log.warn({ stream: info.config.name }, "Closed a segment of the log again: a later one is there.");
    }
  }

  async #close(info: StreamInfo): Promise<void> {
    await this.#api.updateStream({ ...info.config, max_msg_size: closedMessageBytesMax });
  }

  /** Closing comes first, so that no entry is added behind a reader that went on. */
  async #beginAfter(segment: SegmentName, info: StreamInfo): Promise<SegmentName> {
    const { limits, clock, log } = this.#options;
    this.#knows(segment);
    const next = { ...segment, epoch: this.#newEpoch(), segment: segment.segment + 1 };
    this.#knows(next);
    await this.#close(info);
    await this.#api.createStream(originConfig(next, limits, clock.nowMs()));
    log.info({ stream: streamNameOf(next) }, "Began the next segment of the log.");
    return next;
  }
}

/** Over a link that is cut silently nothing comes; what only the data centre knows is then not looked at. */
const originTimeoutMs = 2 * secondMs;
/** And for so long nobody waits for it again. */
const originAwayMs = 5 * secondMs;

/** Longer than a mirror ever stood still after a restart of the hub, which is 40 s. */
const tornPatienceMs = minuteMs;

class HubLog implements LogReader, SegmentSource {
  readonly #options: HubLogOptions;
  readonly #api: JetStreamApi;
  readonly #origin: JetStreamApi;
  /** Mirrors whose origin turned out shorter: told once. */
  readonly #shortened = new Set<string>();
  /** Mirrors of torn streams, and since when they end where they do. */
  readonly #waiting = new Map<string, { readonly lastSequence: number; readonly sinceMs: number; isTold: boolean }>();
  #originAwayUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: HubLogOptions) {
    this.#options = options;
    this.#api = new JetStreamApi(options.link);
    this.#origin = new JetStreamApi(options.link, { domain: options.domain, timeoutMs: originTimeoutMs });
  }

  read(after: LogPosition | undefined, signal: AbortSignal): AsyncIterable<LogEntry> {
    return readChain({ ...this.#options, source: this, api: this.#api }, after, signal);
  }

  async info(): Promise<LogInfo> {
    try {
      const newest = (await this.segments()).at(-1);
      const info = newest && (await this.#api.streamInfo(streamNameOf(newest)));
      if (!info) throw new LogError("missing", `${this.#options.datacenter}: the hub has no mirror of its log yet`);
      return infoOf(info, originCreated(info));
    } catch (error) {
      throw logError(error);
    }
  }

  /** Those mirrored here; on the way, what the data centre has and the hub has not gets its mirror. */
  async segments(): Promise<readonly SegmentName[]> {
    const { datacenter, log } = this.#options;
    const [here, there] = await Promise.all([
      this.#api.streamNames(),
      this.#askOrigin((origin) => origin.streamNames(), []),
    ]);
    const missing = sortSegments(there, datacenter).filter((segment) => !here.includes(streamNameOf(segment)));
    for (const segment of missing) {
      const origin = await this.#origin.streamInfo(streamNameOf(segment));
      if (!origin) continue;
      await this.#api.createStream(mirrorConfig(segment, origin, this.#options));
      log.info({ datacenter, stream: origin.config.name }, "Began to mirror a segment of the log.");
    }
    return sortSegments([...here, ...missing.map(streamNameOf)], datacenter);
  }

  async inspect(stream: string): Promise<Inspection | undefined> {
    // In this order: what stood in a segment before the next one began is in its count then.
    const there = await this.#askOrigin((origin) => origin.streamNames(), []);
    let mirror = await this.#api.streamInfo(stream);
    if (!mirror) {
      await this.segments();
      mirror = await this.#api.streamInfo(stream);
      if (!mirror) return undefined;
    }
    const info = infoOf(mirror, originCreated(mirror));
    const origin = await this.#askOrigin<StreamInfo | "lost" | undefined>(
      async (api) => (await api.streamInfo(stream)) ?? "lost",
      undefined,
    );
    const here = lastOf(mirror);
    if (!origin) {
      this.#waiting.delete(stream);
      const end = originEnd(mirror);
      return { info, state: end !== undefined && info.lastSequence >= end ? "closed" : "open", originLast: here };
    }
    if (origin === "lost") return { info, state: "lost", originLast: here };
    const created = createdOf(origin);
    if (created !== info.created) {
      throw new LogError(
        "recreated",
        `${stream}: expected the stream made at ${info.created}, but the data centre's was made at ${created}: delete the mirror at the hub when what it holds is no longer needed`,
      );
    }
    this.#refuseShorterOrigin(stream, info, origin.state.last_seq);
    const isBehind = info.lastSequence < origin.state.last_seq && !this.#waitsInVain(stream, info, origin);
    const isEnded = stateOf(origin) === "closed" || hasLater(there, stream, this.#options.datacenter);
    if (isEnded) await this.#rememberEnd(mirror, origin.state.last_seq);
    return { info, state: isEnded && !isBehind ? "closed" : "open", originLast: lastOf(origin) };
  }

  /**
   * What was torn at the origin, and what was written behind it, no mirror ever gets. The primary that found it has told its
   * loss, so that it is sent again.
   */
  #waitsInVain(stream: string, { lastSequence }: LogInfo, origin: StreamInfo): boolean {
    if (!hasTorn(origin)) return false;
    const { clock, log } = this.#options;
    const waiting = this.#waiting.get(stream);
    if (waiting?.lastSequence !== lastSequence) {
      this.#waiting.set(stream, { lastSequence, sinceMs: clock.monotonicMs(), isTold: false });
      return false;
    }
    if (clock.monotonicMs() - waiting.sinceMs < tornPatienceMs) return false;
    if (!waiting.isTold) {
      const fields = { stream, after: lastSequence, originLast: origin.state.last_seq };
      log.error(fields, "The end of a segment was torn in a power cut: the hub's mirror never gets it.");
    }
    waiting.isTold = true;
    return true;
  }

  /** A reader that comes to the end while the data centre is away goes on to the next segment, as far as that was carried. */
  async #rememberEnd(mirror: StreamInfo, end: number): Promise<void> {
    if (originEnd(mirror) === end) return;
    try {
      await this.#api.updateStream(endedAt(mirror, end));
    } catch (error) {
      // The next review tries again; until then readers only wait for the data centre.
      this.#options.log.warn({ stream: mirror.config.name, reason: String(error) }, "The mirror's end is not noted.");
    }
  }

  /** Over a cut link: what is given `otherwise`. */
  async #askOrigin<T>(ask: (origin: JetStreamApi) => Promise<T>, otherwise: T): Promise<T> {
    const { clock } = this.#options;
    if (clock.monotonicMs() < this.#originAwayUntilMs) return otherwise;
    try {
      return await ask(this.#origin);
    } catch (error) {
      if (!isTransient(error)) throw error;
      if ((error as NatsLinkError).code === "timeout") this.#originAwayUntilMs = clock.monotonicMs() + originAwayMs;
      return otherwise;
    }
  }

  /** The mirror was asked first, so an honest origin is never behind it. A mirror skips what the origin writes there again. */
  #refuseShorterOrigin(stream: string, mirror: LogInfo, originLast: number): void {
    if (originLast >= mirror.lastSequence || this.#shortened.has(stream)) return;
    this.#shortened.add(stream);
    throw new LogError(
      "shortened",
      `${stream}: the mirror ends at ${mirror.lastSequence}, the data centre's stream at ${originLast}: it lost its tail`,
      { resumeAfter: { stream, created: mirror.created, sequence: mirror.lastSequence } },
    );
  }
}

function hasLater(streams: readonly string[], stream: string, datacenter: string): boolean {
  const present = parseStreamName(stream, datacenter);
  const newest = sortSegments(streams, datacenter).at(-1);
  return present !== undefined && newest !== undefined && compareSegments(newest, present) > 0;
}

/** Nothing else leaves a gap amid a data centre's stream: its limits take the oldest, and nobody may delete. */
function hasTorn({ state }: StreamInfo): boolean {
  return (state.num_deleted ?? 0) > 0;
}

/** Another stream has the subjects, or the name: the other primary was faster. */
function isTaken(error: unknown): boolean {
  return error instanceof JetStreamError && [subjectsOverlap, streamNameInUse].includes(error.serverCode);
}

function watchConnection({ link, datacenter, metrics }: Pick<HubLogOptions, "link" | "datacenter" | "metrics">): void {
  const tell = () => metrics.set("heliograph_log_connected", link.connected ? 1 : 0, { datacenter });
  link.onChange(tell);
  tell();
}

/** What a caller of the log gets to see. */
function logError(error: unknown): LogError {
  if (error instanceof LogError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (isTransient(error)) return new LogError("unavailable", message, { cause: error });
  if (error instanceof NatsLinkError && error.code === "too_large")
    return new LogError("too_large", message, { cause: error });
  if (error instanceof JetStreamError && error.code === "missing")
    return new LogError("missing", message, { cause: error });
  if (error instanceof JetStreamError || error instanceof NatsLinkError)
    return new LogError("refused", message, { cause: error });
  throw error;
}
