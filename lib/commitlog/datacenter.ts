// A data centre's own log on NATS JetStream, as its primaries write and read it: a chain of segments, each a stream. Settings and
// their reasons are in docs/formats/log.md.
//
// What the server acknowledged may be gone after a power cut, the end of a segment, the closing of one, or a whole one. Whoever
// wrote or read further notices it here, begins another segment, and tells the loss.

import { MiB, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { type Inspection, readChain, type SegmentSource } from "#/lib/commitlog/chain.ts";
import {
  type AppendRequest,
  type AppendResult,
  LogError,
  type LogInfo,
  type SegmentedLog,
} from "#/lib/commitlog/commitlog.ts";
import { logError, watchConnection } from "#/lib/commitlog/link.ts";
import {
  closedMessageBytesMax,
  createdOf,
  entryBytesMax,
  hasTorn,
  infoOf,
  type LogLimits,
  lastOf,
  originConfig,
  serverRunOf,
  stateOf,
} from "#/lib/commitlog/settings.ts";
import {
  compareSegments,
  entrySubject,
  hasLater,
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
  JetStreamApi,
  JetStreamError,
  type PublishAck,
  type StreamInfo,
  streamNameInUse,
  subjectsOverlap,
} from "#/lib/wire/streams.ts";

/** Its mirror has the same limit, and must not drop its oldest for a few bytes that it counts otherwise. */
const closedRoomFactor = 1.25;

/** A stream of three replicas elects a leader within it. */
const appendTimeoutMs = 5 * secondMs;

export interface DatacenterLogOptions {
  /** To the data centre's own NATS servers. */
  readonly link: NatsLink;
  readonly datacenter: string;
  readonly limits: LogLimits;
  /**
   * Whether what was acknowledged outlasts a power cut of a server: three replicas. If it does not, each start of the server
   * gets a segment of its own.
   */
  readonly outlastsPowerCuts: boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Registry;
}

export function openDatacenterLog(options: DatacenterLogOptions): SegmentedLog {
  watchConnection(options);
  return new DatacenterLog(options);
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

  remember(places: Iterable<LogPosition>): void {
    for (const { stream, sequence } of places) this.#reached(stream, sequence);
    // Whoever is found to be the present segment must be looked at again by what is known now.
    this.#current = undefined;
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
    const furthest = this.#furthest.get(stream);
    if (sequence > (furthest ?? 0)) this.#furthest.set(stream, sequence);
    if (furthest === undefined) this.#knows(parseStreamName(stream, this.#options.datacenter));
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
    const { datacenter, limits, log } = this.#options;
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
        await this.#api.createStream(originConfig(segment, limits, this.#birth()));
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
    // Nobody writes to a segment of an earlier start of such a server.
    if (left === undefined || left === forStream || !this.#options.outlastsPowerCuts) return;
    this.#writtenTo = undefined;
    if (!this.#lost.has(left)) this.#tellLoss();
  }

  #birth(): { readonly createdMs: number; readonly serverRun: string } {
    const { clock, link } = this.#options;
    return { createdMs: clock.nowMs(), serverRun: link.serverRun };
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
    if (!this.#options.outlastsPowerCuts && serverRunOf(info) !== this.#options.link.serverRun) {
      // It may have lost its tail, and with it whoever saw that: new entries would get the numbers of lost ones, which the
      // hub's mirror may have, and passes over.
      log.info({ stream }, "The log's server was started again: the log goes on in a new segment.");
      // For the same reason what was acknowledged may be gone, though nobody here knows of it.
      this.#tellLoss();
      return this.#beginAfter(newest, info);
    }
    const wanted = originConfig(newest, limits, this.#birth());
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

  /** From then on it takes no more room than it has, so that segments may be many. */
  async #close({ config, state }: StreamInfo): Promise<void> {
    const needed = Math.max(Math.ceil(state.bytes * closedRoomFactor), MiB);
    const max_bytes = config.max_bytes > 0 ? Math.min(config.max_bytes, needed) : config.max_bytes;
    await this.#api.updateStream({ ...config, max_msg_size: closedMessageBytesMax, max_bytes });
  }

  /** Closing comes first, so that no entry is added behind a reader that went on. */
  async #beginAfter(segment: SegmentName, info: StreamInfo): Promise<SegmentName> {
    const { limits, log } = this.#options;
    this.#knows(segment);
    const next = { ...segment, epoch: this.#newEpoch(), segment: segment.segment + 1 };
    this.#knows(next);
    await this.#close(info);
    await this.#api.createStream(originConfig(next, limits, this.#birth()));
    log.info({ stream: streamNameOf(next) }, "Began the next segment of the log.");
    return next;
  }
}

/** Another stream has the subjects, or the name: the other primary was faster. */
function isTaken(error: unknown): boolean {
  return error instanceof JetStreamError && [subjectsOverlap, streamNameInUse].includes(error.serverCode);
}
