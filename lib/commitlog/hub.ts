// A data centre's log at the hub, as the globals read it: mirrors of its segments, made here for what the data centre has.
//
// A mirror is a stream of the same name in the data centre's account. It has a `created` of its own, so the origin's is kept in
// its description, and held against the origin whenever that can be asked.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { type Inspection, readChain, type SegmentSource } from "#/lib/commitlog/chain.ts";
import { LogError, type LogInfo, type LogReader } from "#/lib/commitlog/commitlog.ts";
import { logError, watchConnection } from "#/lib/commitlog/link.ts";
import {
  createdOf,
  endedAt,
  hasTorn,
  infoOf,
  lastOf,
  mirrorConfig,
  originCreated,
  originEnd,
  stateOf,
} from "#/lib/commitlog/settings.ts";
import { hasLater, type SegmentName, sortSegments, streamNameOf } from "#/lib/commitlog/subjects.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { LogEntry, LogPosition } from "#/lib/model/log.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import type { NatsLink, NatsLinkError } from "#/lib/wire/jetstream.ts";
import { isTransient, JetStreamApi, type StreamInfo } from "#/lib/wire/streams.ts";

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

  async inspect(stream: string, after: number): Promise<Inspection | undefined> {
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
    this.#refuseShorterOrigin(info, origin.state.last_seq, after);
    const isEnded = stateOf(origin) === "closed" || hasLater(there, stream, this.#options.datacenter);
    const isShort = info.lastSequence < origin.state.last_seq;
    const isBehind = isShort && !(isEnded && this.#waitsInVain(stream, info, origin));
    if (isEnded) await this.#rememberEnd(mirror, origin);
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
  async #rememberEnd(mirror: StreamInfo, { config, state }: StreamInfo): Promise<void> {
    if (originEnd(mirror) === state.last_seq && mirror.config.max_bytes === config.max_bytes) return;
    try {
      await this.#api.updateStream({ ...endedAt(mirror, state.last_seq), max_bytes: config.max_bytes });
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
  #refuseShorterOrigin(mirror: LogInfo, originLast: number, after: number): void {
    const { stream, created, lastSequence } = mirror;
    if (originLast >= lastSequence || this.#shortened.has(stream)) return;
    this.#shortened.add(stream);
    throw new LogError(
      "shortened",
      `${stream}: the mirror ends at ${lastSequence}, the data centre's stream at ${originLast}: it lost its tail`,
      // What the mirror has beyond the reader is as good as ever.
      { resumeAfter: { stream, created, sequence: Math.min(after, lastSequence) } },
    );
  }
}
