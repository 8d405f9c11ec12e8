// The log on NATS JetStream: the data centre's own, which its primaries write and read, and its mirror at the hub, which the
// globals read. Settings and their reasons are in docs/formats/log.md.
//
// Both are read as a chain of segments: a segment is left for the next one when it is closed and read to its end, and what a
// chain cannot bridge is thrown. A mirror is a stream of the same name in the data centre's account at the hub. It has a
// `created` of its own, so the origin's is kept in its description, and held against the origin whenever that can be asked.

import { assert } from "#/lib/assert/assert.ts";
import { KiB, MiB, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { batchBytesMax } from "#/lib/codec/limits.ts";
import { readChain, type SegmentSource } from "#/lib/commitlog/chain.ts";
import {
  type AppendRequest,
  type AppendResult,
  LogError,
  type LogInfo,
  type LogReader,
  type SegmentedLog,
} from "#/lib/commitlog/commitlog.ts";
import {
  entrySubject,
  type SegmentName,
  segmentSubjects,
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
  type StreamConfig,
  type StreamInfo,
  subjectsOverlap,
} from "#/lib/wire/streams.ts";

/** The largest entry. NATS counts the headers too, hence a little more in the stream's own limit. */
export const entryBytesMax = batchBytesMax;
const messageBytesMax = entryBytesMax + 64 * KiB;
assert(messageBytesMax <= 8 * MiB, "an entry fits into the servers' max_payload (topology/nats.ts)");

/**
 * What a closed segment takes: nothing. A stream that JetStream itself sealed would never let its oldest entries go, and one
 * without its subjects could not be mirrored to its end.
 */
const closedMessageBytesMax = 1;

/** A sender that hears nothing tries again within seconds; this covers a primary's failover. An id costs the server 210 B. */
const duplicateWindowMs = 5 * minuteMs;

/** A stream of three replicas elects a leader within it. */
const appendTimeoutMs = 5 * secondMs;

/** The hub keeps entries this much longer than their data centre, for a global that was away. */
const mirrorExtraAgeMs = 24 * 60 * minuteMs;

export interface DatacenterLogOptions {
  /** To the data centre's own NATS servers. */
  readonly link: NatsLink;
  readonly datacenter: string;
  readonly limits: {
    readonly bytesMax: number;
    readonly ageMaxMs: number;
    readonly replicas: number;
  };
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
  #epochMin = 0;
  /** By stream, the furthest entry that was acknowledged or read here: a stream that ends before it lost its tail. */
  readonly #furthest = new Map<string, number>();
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
      if (error instanceof LogError && (error.code === "shortened" || error.code === "recreated")) this.#tellLoss();
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
      if (info) return infoOf(info, info.created);
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
      this.#current = this.#beginAfter(segment, info);
      await this.#current;
    } catch (error) {
      this.#current = undefined;
      throw logError(error);
    }
  }

  async segments(): Promise<readonly SegmentName[]> {
    return sortSegments(await this.#api.streamNames(), this.#options.datacenter);
  }

  async inspect(stream: string) {
    const info = await this.#api.streamInfo(stream);
    return info && { info: infoOf(info, info.created), state: stateOf(info) };
  }

  #reached(stream: string, sequence: number): void {
    if (sequence > (this.#furthest.get(stream) ?? 0)) this.#furthest.set(stream, sequence);
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
      const newest = (await this.segments()).at(-1);
      if (newest) return this.#takeUp(newest);
      const epoch = Math.max(Math.floor(clock.nowMs() / secondMs), this.#epochMin);
      const segment = { datacenter, epoch, segment: 1 };
      try {
        await this.#api.createStream(originConfig(segment, limits));
        log.info({ stream: streamNameOf(segment) }, "Began a log: there was none.");
      } catch (error) {
        // The other primary was faster, under another epoch: then its stream is found now.
        if (attempt > 3 || !(error instanceof JetStreamError) || error.serverCode !== subjectsOverlap) throw error;
      }
    }
  }

  /** The other primary may have begun a new segment already: so each one that was written or read here is looked at. */
  async #lookForLoss(): Promise<void> {
    for (const [stream, furthest] of this.#furthest) {
      if (this.#lost.has(stream)) continue;
      const info = await this.#api.streamInfo(stream);
      // One that is not there is either starting, or was begun anew: then reading tells.
      if (!info || info.state.last_seq >= furthest) continue;
      this.#lost.add(stream);
      this.#tellLoss();
    }
  }

  #tellLoss(): void {
    for (const callback of this.#lossCallbacks) callback();
  }

  /** Makes sure that the newest segment can be written to. */
  async #takeUp(newest: SegmentName): Promise<SegmentName> {
    const { limits, log } = this.#options;
    this.#epochMin = Math.max(this.#epochMin, newest.epoch + 1);
    const stream = streamNameOf(newest);
    const info = await this.#api.streamInfo(stream);
    if (!info) throw new LogError("unavailable", `${stream}: the stream vanished just now`);
    // Whoever closed it did not come to begin the next one.
    if (stateOf(info) === "closed") return this.#beginAfter(newest, info);
    const furthest = this.#furthest.get(stream) ?? 0;
    if (furthest > info.state.last_seq) {
      // New entries would get the numbers of lost ones, and mirrors would pass over them.
      log.error(
        { stream, expected: furthest, got: info.state.last_seq },
        "The log lost its tail: it goes on in a new segment.",
      );
      return this.#beginAfter(newest, info);
    }
    const wanted = originConfig(newest, limits);
    // The topology file may have changed since the stream was made.
    const { max_bytes, max_age, num_replicas } = wanted;
    const present = info.config;
    if (present.max_bytes !== max_bytes || present.max_age !== max_age || present.num_replicas !== num_replicas) {
      await this.#api.updateStream({ ...present, max_bytes, max_age, num_replicas });
      log.info({ stream, max_bytes, max_age, num_replicas }, "Adapted the log to the topology file.");
    }
    return newest;
  }

  /** Closing comes first, so that no entry is added behind a reader that went on. */
  async #beginAfter(segment: SegmentName, info: StreamInfo): Promise<SegmentName> {
    const next = { ...segment, segment: segment.segment + 1 };
    await this.#api.updateStream({ ...info.config, max_msg_size: closedMessageBytesMax });
    await this.#api.createStream(originConfig(next, this.#options.limits));
    this.#options.log.info({ stream: streamNameOf(next) }, "Began the next segment of the log.");
    return next;
  }
}

/** Over a link that is cut silently nothing comes; what only the data centre knows is then not looked at. */
const originTimeoutMs = 2 * secondMs;
/** And for so long nobody waits for it again. */
const originAwayMs = 5 * secondMs;

/** In the description of a mirror, before the time at which its origin was made. */
const originMark = "heliograph mirror; origin created ";

class HubLog implements LogReader, SegmentSource {
  readonly #options: HubLogOptions;
  readonly #api: JetStreamApi;
  readonly #origin: JetStreamApi;
  /** Mirrors whose origin turned out shorter: told once. */
  readonly #shortened = new Set<string>();
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

  async inspect(stream: string) {
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
    if (!origin) return { info, state: "open" as const };
    if (origin === "lost") return { info, state: "lost" as const };
    if (origin.created !== info.created) {
      throw new LogError(
        "recreated",
        `${stream}: expected the stream made at ${info.created}, but the data centre's was made at ${origin.created}: delete the mirror at the hub when what it holds is no longer needed`,
      );
    }
    this.#refuseShorterOrigin(stream, info, origin.state.last_seq);
    const isBehind = info.lastSequence < origin.state.last_seq;
    return { info, state: isBehind ? ("open" as const) : stateOf(origin) };
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

function originConfig(segment: SegmentName, limits: DatacenterLogOptions["limits"]): StreamConfig {
  return {
    name: streamNameOf(segment),
    description: "heliograph log",
    subjects: [segmentSubjects(segment)],
    // Interest and work queues lose everything during a cut.
    retention: "limits",
    storage: "file",
    discard: "old",
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_bytes: limits.bytesMax > 0 ? limits.bytesMax : -1,
    max_age: limits.ageMaxMs * 1e6,
    max_msg_size: messageBytesMax,
    max_consumers: -1,
    num_replicas: limits.replicas,
    duplicate_window: Math.min(duplicateWindowMs, limits.ageMaxMs || duplicateWindowMs) * 1e6,
    deny_delete: true,
  };
}

function mirrorConfig(segment: SegmentName, origin: StreamInfo, options: HubLogOptions): StreamConfig {
  const { datacenter, domain, replicas } = options;
  const { max_age, max_bytes } = origin.config;
  return {
    name: streamNameOf(segment),
    description: originMark + origin.created,
    retention: "limits",
    storage: "file",
    discard: "old",
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_bytes,
    max_age: max_age === 0 ? 0 : max_age + mirrorExtraAgeMs * 1e6,
    max_msg_size: messageBytesMax,
    max_consumers: -1,
    num_replicas: replicas,
    deny_delete: true,
    mirror: {
      name: streamNameOf(segment),
      filter_subject: segmentSubjects(segment),
      external: { api: `$JS.${domain}.API`, deliver: `dlv.${datacenter}.m` },
    },
  };
}

function originCreated(mirror: StreamInfo): string {
  const description = mirror.config.description ?? "";
  if (description.startsWith(originMark)) return description.slice(originMark.length);
  throw new LogError("refused", `${mirror.config.name}: the stream at the hub is no mirror that Heliograph made`);
}

function stateOf(info: StreamInfo): "open" | "closed" {
  return info.config.max_msg_size === closedMessageBytesMax ? "closed" : "open";
}

function infoOf(info: StreamInfo, created: string): LogInfo {
  const { first_seq, last_seq, messages, bytes } = info.state;
  const firstSequence = messages === 0 ? 0 : first_seq;
  return { stream: info.config.name, created, firstSequence, lastSequence: last_seq, bytes };
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
