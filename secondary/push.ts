// Hands the spool's batches to one primary: the newest run of each shard first, so that the present is never behind a backlog,
// and within a run in order.
//
// The primary answers with three watermarks a run. `accepted` opens the window for more; `held` and `durable` go to the spool.
// While the present has nothing to send the backlog goes, some of it at a time (drain.ts).
//
// Nothing is remembered across sessions but what is durable: a new session begins where the primary says it is, and sends again
// what it does not vouch for. A batch sent twice is kept once, so a lost answer costs only bytes.

import { Buffer } from "node:buffer";
import { assert } from "#/lib/assert/assert.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import { Follower, onAbort } from "#/lib/clock/abort.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import { batchVersion } from "#/lib/codec/batch.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { batchKey } from "#/lib/model/identity.ts";
import type { Counter, HistogramSeries, Registry } from "#/lib/telemetry/registry.ts";
import { version } from "#/lib/telemetry/version.ts";
import { type PrimaryClient, type PushResponse, WireError } from "#/lib/wire/session.ts";
import { backlogSaidEveryMs, DrainPace, drainBytesPerSecond } from "#/secondary/drain.ts";
import { observeSince, type SpooledRun } from "#/secondary/spool/run.ts";
import type { Spool } from "#/secondary/spool.ts";

/** A primary that has not said welcome by then is not well; its pair may be. */
const welcomeMsMax = 5 * secondMs;
/** With batches on their way, a primary that accepts none for so long is given up for its pair. */
const acceptanceMsMax = 10 * secondMs;
/** After so long without acceptance a new run begins, so that what is new can be read before what is old. */
export const backlogMsMin = 10 * secondMs;
/** The primary tells right after its welcome how far each run is; to begin without knowing would only repeat batches. */
const acknowledgementsAwaitedMs = 100;
/** A stream without batches says so often that we live, unless its primary wants it oftener, or says nothing of it. */
const keepAliveMsMax = 0.5 * secondMs;
const keepAliveMsMin = 0.1 * secondMs;
/** More on their way than this helps no primary, whatever window it offers. */
const windowBatchesMax = 256;
assert(acknowledgementsAwaitedMs < welcomeMsMax, "a session begins well before it is given up");

const emptyBatch = Buffer.alloc(0);

/** How far one session has come with a run. */
interface Cursor {
  sent: number;
  accepted: number;
}

export class Pusher {
  readonly #secondary: { readonly datacenter: string; readonly name: string };
  readonly #spool: Spool;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onBacklog: () => void;
  readonly #onRefused: (shard: number) => void;
  readonly #meter: PushMeter;
  readonly #drainBytesPerSecond: number;
  #session: PushSession | undefined;
  /** Since when some batch of this boot epoch waits for acceptance; undefined while none does. */
  #waitingSinceMs: number | undefined;

  /** `onBacklog` is called when acceptance comes, or is about to come, after a long time without; `onRefused` when a run of that shard has a hole. */
  constructor(options: {
    readonly datacenter: string;
    readonly secondary: string;
    readonly spool: Spool;
    readonly clock: Clock;
    readonly log: Logger;
    readonly metrics: Registry;
    readonly onBacklog: () => void;
    readonly onRefused: (shard: number) => void;
    /** Of a backlog; the usual rate when absent. */
    readonly drainBytesPerSecond?: number;
  }) {
    this.#secondary = { datacenter: options.datacenter, name: options.secondary };
    this.#spool = options.spool;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onBacklog = options.onBacklog;
    this.#onRefused = options.onRefused;
    this.#meter = pushMeter(options.metrics);
    this.#drainBytesPerSecond = options.drainBytesPerSecond ?? drainBytesPerSecond;
    options.metrics.onCollect(() => {
      options.metrics.set("heliograph_secondary_push_connected", this.connected ? 1 : 0);
    });
  }

  /** Whether a primary has said welcome on the present stream. */
  get connected(): boolean {
    return this.#session?.welcomed ?? false;
  }

  /** Nothing waits: everything in the spool was accepted on the present stream. */
  get idle(): boolean {
    return this.#session?.idle ?? false;
  }

  /** The spool has another batch. */
  stored(): void {
    this.#waitingSinceMs ??= this.#clock.monotonicMs();
    this.#session?.wake();
  }

  /**
   * Serves one stream until it ends, and then throws WireError saying why, unless the signal aborted. `onWelcome` is called
   * once the primary takes batches.
   */
  async run(client: PrimaryClient, onWelcome: (primary: string) => void, signal: AbortSignal): Promise<void> {
    const session = new PushSession({
      secondary: this.#secondary,
      spool: this.#spool,
      clock: this.#clock,
      log: this.#log,
      onWelcome: (primary) => {
        this.#breakBacklog();
        onWelcome(primary);
      },
      onAccepted: () => this.#accepted(),
      onRefused: this.#onRefused,
      meter: this.#meter,
      drain: new DrainPace(this.#drainBytesPerSecond),
    });
    this.#session = session;
    try {
      await session.run(client, signal);
    } finally {
      this.#session = undefined;
    }
  }

  #accepted(): void {
    this.#breakBacklog();
    this.#waitingSinceMs = this.idle ? undefined : this.#clock.monotonicMs();
  }

  #breakBacklog(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#waitingSinceMs === undefined || nowMs - this.#waitingSinceMs <= backlogMsMin) return;
    this.#waitingSinceMs = nowMs;
    this.#onBacklog();
    this.#spool.endRuns();
  }
}

/** One stream to one primary. */
class PushSession {
  readonly #parts: SessionParts;
  readonly #cursors = new Map<SpooledRun, Cursor>();
  /** Sent and not accepted, in the order of sending. */
  #onTheirWay: BatchPlace[] = [];
  #window = 0;
  #wake: (() => void) | undefined;
  /** When something was last accepted, or sent while nothing was on its way. */
  #movedMs = 0;
  #spokeMs = 0;
  #keepingAlive = false;
  #keepAliveMs = keepAliveMsMax;
  #watch: Timer | undefined;
  /** The primary wants to hear of the backlog. */
  #tellsBacklog = false;
  #backlogSaid = 0;
  #backlogSaidMs = Number.NEGATIVE_INFINITY;
  #drainTimer: Timer | undefined;
  welcomed = false;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  get idle(): boolean {
    return this.welcomed && this.#onTheirWay.length === 0 && this.#next() === undefined;
  }

  wake(): void {
    this.#wake?.();
  }

  async run(client: PrimaryClient, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    if (signal.aborted) return;
    const life = new Follower(signal);
    const stuck = Promise.withResolvers<never>();
    const forget = onAbort(signal, () => stuck.reject(new WireError("broken", "stopped")));
    const stream = client.push(life.signal);
    const beganMs = clock.monotonicMs();
    const look = () => {
      const nowMs = clock.monotonicMs();
      this.#keepAlive(stream);
      this.#sayBacklog(stream);
      if (!this.welcomed && nowMs - beganMs > welcomeMsMax) {
        stuck.reject(new WireError("unavailable", `no welcome within ${welcomeMsMax / secondMs} s`));
      } else if (this.#onTheirWay.length > 0 && nowMs - this.#movedMs > acceptanceMsMax) {
        stuck.reject(new WireError("unavailable", `no batch was accepted within ${acceptanceMsMax / secondMs} s`));
      }
    };
    /** Twice as often as it speaks: then it never is silent for much longer. */
    const watch = () => {
      this.#watch?.cancel();
      this.#watch = clock.every(this.#keepAliveMs / 2, look);
    };
    watch();
    const tasks = [stuck.promise, this.#read(stream, watch), this.#write(stream, life.signal)];
    try {
      await Promise.race(tasks);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#watch?.cancel();
      this.#drainTimer?.cancel();
      forget();
      life.over();
      stream.close();
      this.wake();
      // What still fails now fails because the stream is over.
      for (const task of tasks) task.catch(() => {});
    }
  }

  async #read(stream: Stream, onKeepAlive: () => void): Promise<void> {
    for await (const response of stream.incoming) {
      if (response.welcome) {
        const { keepAliveMs, primary, windowBatches } = response.welcome;
        if (keepAliveMs > 0 && keepAliveMs < keepAliveMsMax) {
          this.#keepAliveMs = Math.max(keepAliveMs, keepAliveMsMin);
          onKeepAlive();
        }
        this.#window = Math.min(Math.max(1, windowBatches), windowBatchesMax);
        this.#tellsBacklog = response.welcome.admitsDrains;
        this.#parts.drain.admit(!this.#tellsBacklog, this.#parts.clock.monotonicMs());
        this.welcomed = true;
        this.#parts.onWelcome(primary);
        this.wake();
      }
      if (response.ack) this.#acknowledged(response.ack);
      if (response.drain) {
        this.#parts.drain.admit(response.drain.admitted, this.#parts.clock.monotonicMs());
        this.wake();
      }
      if (response.refusal) this.#refused(response.refusal);
    }
    throw new WireError("broken", "the primary ended the stream");
  }

  async #write(stream: Stream, signal: AbortSignal): Promise<void> {
    const { clock, drain, meter, secondary, spool } = this.#parts;
    await stream.send({
      hello: {
        datacenter: secondary.datacenter,
        secondary: secondary.name,
        bootEpoch: spool.bootEpoch,
        batchVersion,
        softwareVersion: version,
      },
    });
    while (!this.welcomed && !signal.aborted) await this.#woken();
    await clock.sleep(acknowledgementsAwaitedMs, signal);
    while (!signal.aborted) {
      const place = this.#onTheirWay.length < this.#window ? this.#allowed(this.#next()) : undefined;
      if (!place) {
        await this.#woken();
        continue;
      }
      this.#cursorOf(place.spooled).sent = place.sequence;
      if (this.#onTheirWay.length === 0) this.#movedMs = clock.monotonicMs();
      this.#onTheirWay.push(place);
      const bytes = await spool.read(place.spooled, place.sequence);
      this.#spokeMs = clock.monotonicMs();
      if (bytes) {
        meter.batches.add(1);
        meter.bytes.add(bytes.length);
        if (!spool.isNewest(place.spooled)) {
          meter.backlogBytes.add(bytes.length);
          drain.sent(bytes.length, clock.monotonicMs());
        }
        await stream.send({ batch: bytes as Buffer });
      } else this.#onTheirWay = this.#onTheirWay.filter((other) => other !== place);
    }
  }

  /** That batch, unless it is of a backlog that has to wait; then `wake` comes in time. */
  #allowed(place: BatchPlace | undefined): BatchPlace | undefined {
    const { clock, drain, spool } = this.#parts;
    if (!place || spool.isNewest(place.spooled)) return place;
    const drained = this.#onTheirWay.filter(({ spooled }) => !spool.isNewest(spooled)).length;
    if (drained >= drain.onTheirWayMax(this.#window)) return undefined;
    const waitMs = drain.dueMs - clock.monotonicMs();
    if (waitMs <= 0) return place;
    this.#drainTimer?.cancel();
    this.#drainTimer = clock.after(waitMs, () => this.wake());
    return undefined;
  }

  #sayBacklog(stream: Stream): void {
    if (!this.#tellsBacklog) return;
    const nowMs = this.#parts.clock.monotonicMs();
    const batches = this.#backlog();
    if (batches === 0 ? this.#backlogSaid === 0 : nowMs - this.#backlogSaidMs < backlogSaidEveryMs) return;
    this.#backlogSaid = batches;
    this.#backlogSaidMs = nowMs;
    // Reading from the same stream fails too, and says why.
    stream.send({ backlog: { batches } }).catch(() => {});
  }

  /** Batches of earlier runs that were not accepted on this stream. */
  #backlog(): number {
    const { spool } = this.#parts;
    let batches = 0;
    for (const spooled of spool.runs()) {
      if (spool.isNewest(spooled)) continue;
      const accepted = this.#cursors.get(spooled)?.accepted ?? 0;
      batches += Math.max(0, spooled.last - Math.max(accepted, spooled.first - 1));
    }
    return batches;
  }

  /** An empty batch means only that we live: a secondary with nothing to send must not be taken for dead. */
  #keepAlive(stream: Stream): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (!this.welcomed || this.#keepingAlive || nowMs - this.#spokeMs < this.#keepAliveMs) return;
    this.#spokeMs = nowMs;
    this.#keepingAlive = true;
    stream.send({ batch: emptyBatch }).then(
      () => {
        this.#keepingAlive = false;
      },
      // Reading from the same stream fails too, and says why.
      () => {},
    );
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /**
   * The first batch not sent yet of the newest run that has one: of the present, else of the backlog. Where shards have one each,
   * that which was sealed first goes first: when the way is narrow, each gets through.
   */
  #next(): BatchPlace | undefined {
    const { spool } = this.#parts;
    let next: BatchPlace | undefined;
    let isPresent = false;
    let sealedMs = Number.NaN;
    const shards = new Set<number>();
    for (const spooled of spool.runs()) {
      const isNewest = spool.isNewest(spooled);
      const { bootEpoch, shard } = spooled.run;
      if (next && !isNewest) {
        const isBehind = isPresent || bootEpoch !== next.spooled.run.bootEpoch || shards.has(shard);
        if (isBehind) continue;
      }
      const sequence = this.#firstUnsent(spooled);
      if (sequence === undefined) continue;
      shards.add(shard);
      const thisMs = spooled.sealedMsAt(sequence);
      if (next && isNewest === isPresent && !(thisMs < sealedMs)) continue;
      next = { spooled, sequence };
      isPresent = isNewest;
      sealedMs = thisMs;
    }
    return next;
  }

  #firstUnsent(spooled: SpooledRun): number | undefined {
    const sent = this.#cursors.get(spooled)?.sent ?? spooled.first - 1;
    for (let sequence = Math.max(sent + 1, spooled.first); sequence <= spooled.last; sequence++) {
      if (spooled.bytesAt(sequence) > 0) return sequence;
    }
    return undefined;
  }

  #cursorOf(spooled: SpooledRun): Cursor {
    let cursor = this.#cursors.get(spooled);
    // Only what is durable is off the spool for good: a primary that was just started may not know what its log lost.
    const safe = spooled.first - 1;
    if (!cursor) this.#cursors.set(spooled, (cursor = { sent: safe, accepted: safe }));
    return cursor;
  }

  #acknowledged(ack: Ack): void {
    const { clock, log, meter, onAccepted, spool } = this.#parts;
    const spooled = spool.find(ack);
    if (!spooled) return;
    const cursor = this.#cursorOf(spooled);
    // What both primaries hold still has to reach the globals by way of the log, which may have lost it.
    const accepted = Math.max(ack.accepted, ack.durable, spooled.first - 1);
    const nowMs = clock.monotonicMs();
    observeSince(meter.accepted, spooled, { after: spooled.accepted, until: accepted }, nowMs);
    // What is durable needs nobody's word any more that it is held, and that word may come later.
    const held = Math.max(ack.held, ack.durable);
    observeSince(meter.held, spooled, { after: spooled.held, until: held }, nowMs);
    spooled.accepted = Math.max(spooled.accepted, accepted);
    spooled.held = Math.max(spooled.held, held);
    if (accepted < cursor.accepted) {
      log.warn(
        { run: spooled.run, from: cursor.accepted, to: accepted },
        "The log lost batches, or a replica misses them: they are sent again.",
      );
      cursor.sent = accepted;
      this.#onTheirWay = this.#onTheirWay.filter((place) => place.spooled !== spooled);
    }
    const moved = accepted > cursor.accepted;
    cursor.accepted = accepted;
    cursor.sent = Math.max(cursor.sent, accepted);
    if (moved) {
      this.#movedMs = clock.monotonicMs();
      this.#onTheirWay = this.#onTheirWay.filter((place) => place.spooled !== spooled || place.sequence > accepted);
    }
    spool.durable(spooled, ack.durable);
    if (moved) onAccepted();
    this.wake();
  }

  /** A refusal that names no batch is about the oldest on its way: a primary answers in order. */
  #refused({ bootEpoch, code, message, run, sequence, shard }: Refusal): void {
    const { log, onRefused, spool } = this.#parts;
    const named = spool.find({ bootEpoch, run, shard });
    const place = named ? { spooled: named, sequence } : this.#onTheirWay[0];
    if (!place) return;
    const batch = batchKey({ ...place.spooled.run, sequence: place.sequence });
    log.error({ batch, code, reason: message }, "A primary refused a batch: its samples are lost.");
    this.#onTheirWay = this.#onTheirWay.filter(
      (other) => other.spooled !== place.spooled || other.sequence !== place.sequence,
    );
    spool.refused(place.spooled, place.sequence);
    if (place.spooled.run.bootEpoch === spool.bootEpoch) onRefused(place.spooled.run.shard);
    this.wake();
  }
}

interface SessionParts {
  readonly secondary: { readonly datacenter: string; readonly name: string };
  readonly spool: Spool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onWelcome: (primary: string) => void;
  readonly onAccepted: () => void;
  readonly onRefused: (shard: number) => void;
  readonly meter: PushMeter;
  readonly drain: DrainPace;
}

interface PushMeter {
  readonly batches: Counter;
  readonly bytes: Counter;
  readonly backlogBytes: Counter;
  readonly accepted: HistogramSeries;
  readonly held: HistogramSeries;
}

function pushMeter(metrics: Registry): PushMeter {
  const step = (name: string) => metrics.histogram("heliograph_secondary_push_seconds", { step: name });
  return {
    batches: metrics.counter("heliograph_secondary_push_batches_total"),
    bytes: metrics.counter("heliograph_secondary_push_bytes_total"),
    backlogBytes: metrics.counter("heliograph_secondary_push_backlog_bytes_total"),
    accepted: step("accepted"),
    held: step("held"),
  };
}

interface BatchPlace {
  readonly spooled: SpooledRun;
  readonly sequence: number;
}

type Stream = ReturnType<PrimaryClient["push"]>;
type Ack = NonNullable<PushResponse["ack"]>;
type Refusal = NonNullable<PushResponse["refusal"]>;
