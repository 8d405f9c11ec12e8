// Reads one stream in order: an ephemeral pull consumer that is thrown away and made again whenever anything is odd.
//
// The server holds no state worth keeping. After a break (server killed, link cut, messages lost on the way, silence) the
// next consumer starts *at* the entry that was delivered last, and that one must be the same: so a stream that lost its tail
// and grew again is told from the one that was read. At most `entriesAheadMax` entries lie here unread; a slow caller is
// simply not given more.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { LogError } from "#/lib/commitlog/commitlog.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { NatsLink, NatsMessage } from "#/lib/wire/jetstream.ts";
import { isTransient, type JetStreamApi, JetStreamError, pulledMessage } from "#/lib/wire/streams.ts";

/** 16 batches of the usual 256 KB to 1 MB keep a link full; of the largest they are 64 MiB. */
const entriesAheadMax = 16;
/** More are asked for when this few are left, so that the caller does not wait for the round trip. */
const entriesAheadMin = 4;

const pullExpiresMs = 5 * secondMs;
const heartbeatMs = 500;
/** Ticks of `heartbeatMs` without a word. Counted in ticks because a blocked event loop hears nothing either. */
const silentTicksMax = 4;

/** How long the server keeps a consumer that nobody asks: longer than a caller may pause, shorter than a leak may last. */
const consumerInactiveMs = 60 * secondMs;

/** Between one consumer and the next: JetStream needs some time after a server's start. */
const retryDelayMs = 300;

/** How often a reader looks whether the stream is still the one it was, and whether a next segment is there. */
const reviewEveryMs = 2 * secondMs;

export interface StreamEntry {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly sequence: number;
  readonly storedMs: number;
}

/** `done`: nothing will be added any more, and `lastSequence` is the end. */
export interface StreamReview {
  readonly done: boolean;
  readonly lastSequence: number;
}

export interface OrderedOptions {
  readonly link: NatsLink;
  readonly api: JetStreamApi;
  readonly stream: string;
  /** Of the origin stream. */
  readonly created: string;
  /** Undefined: from whatever is the oldest. */
  readonly after: LogPosition | undefined;
  /** Called before each start and now and then: throws LogError when the stream is not what was read so far. */
  readonly review: (last: LogPosition | undefined) => Promise<StreamReview>;
  readonly onReset: (reason: string) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Ends when the signal aborts, and when the stream is done and read to its end. Throws LogError. */
export async function* readOrdered(options: OrderedOptions, signal: AbortSignal): AsyncGenerator<StreamEntry> {
  const { stream, created, clock, log } = options;
  let last = options.after;
  while (!signal.aborted) {
    await whenConnected(options.link, signal);
    const life = new ConsumerLife(options, last);
    // At once, also when the caller holds the entry that it was given and asks for no more.
    const onAbort = () => life.close();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await life.open();
      for (let message = await life.next(); message; message = await life.next()) {
        last = { stream, created, sequence: message.sequence, storedMs: message.storedMs };
        yield message;
      }
    } catch (error) {
      if (!maySucceedLater(error)) throw error;
      life.break(error instanceof Error ? error.message : String(error));
    } finally {
      signal.removeEventListener("abort", onAbort);
      life.close();
    }
    if (life.isDone || signal.aborted) return;
    if (life.wasOpen) options.onReset(life.brokenBecause ?? "");
    log.debug({ stream, after: last?.sequence ?? 0, reason: life.brokenBecause }, "Reading starts again.");
    await clock.sleep(retryDelayMs, signal);
  }
}

/** A stream that is not there may come: JetStream is starting, or the log is begun anew by its writer. */
function maySucceedLater(error: unknown): boolean {
  if (error instanceof LogError) return error.code === "missing" || error.code === "unavailable";
  return isTransient(error) || error instanceof JetStreamError;
}

/** Resolves when the link is connected or the signal aborts. */
export function whenConnected(link: NatsLink, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (link.connected || signal.aborted) return resolve();
    const unlisten = link.onChange(done);
    signal.addEventListener("abort", done, { once: true });
    function done() {
      unlisten();
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}

/** One consumer from its making to its first oddity. */
class ConsumerLife {
  readonly #options: OrderedOptions;
  readonly #inbox: string;
  readonly #subscription: { close(): void };
  readonly #unlisten: () => void;
  readonly #ticks: { cancel(): void };
  readonly #queue: NatsMessage[] = [];
  #wake: (() => void) | undefined;
  #last: LogPosition | undefined;
  #consumer: string | undefined;
  /** Messages that the present pull may still bring; 0 when none is under way. */
  #asked = 0;
  /** Where the stream ends, when that was known before the present pull and the pull brought nothing yet. */
  #endUnseen: number | undefined;
  #deliveredSequence = 0;
  #silentTicks = 0;
  #reviewedMs: number;
  #reviewing = false;
  #done: StreamReview | undefined;
  #failure: unknown;
  brokenBecause: string | undefined;
  isDone = false;
  wasOpen = false;

  constructor(options: OrderedOptions, last: LogPosition | undefined) {
    this.#options = options;
    this.#last = last;
    this.#inbox = options.link.newInbox();
    this.#subscription = options.link.subscribe(this.#inbox, (message) => this.#take(message));
    this.#unlisten = options.link.onChange(() => this.break("the connection changed"));
    this.#ticks = options.clock.every(heartbeatMs, () => this.#tick());
    this.#reviewedMs = options.clock.monotonicMs();
  }

  async open(): Promise<void> {
    const { api, stream, review } = this.#options;
    this.#done = await review(this.#last);
    this.#consumer = await api.createReader(stream, Math.max(1, this.#last?.sequence ?? 1), consumerInactiveMs);
    this.wasOpen = true;
  }

  /** The next entry, or undefined when this consumer is of no more use. */
  async next(): Promise<StreamEntry | undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.brokenBecause !== undefined) return undefined;
      const message = this.#queue.shift();
      if (this.#asked === 0 && this.#queue.length <= entriesAheadMin) this.#pull();
      if (message) {
        const entry = this.#check(message);
        if (entry) return entry;
      } else if (this.#done?.done && (this.#last?.sequence ?? 0) >= this.#done.lastSequence) {
        this.isDone = true;
        return undefined;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }

  break(reason: string): void {
    this.brokenBecause ??= reason;
    this.#wake?.();
  }

  /** May be called twice. */
  close(): void {
    this.break("");
    this.#ticks.cancel();
    this.#unlisten();
    this.#subscription.close();
    const { api, link, stream } = this.#options;
    // The server forgets it by itself; this only is sooner.
    if (this.#consumer && link.connected) api.deleteReader(stream, this.#consumer).catch(() => {});
    this.#consumer = undefined;
  }

  #pull(): void {
    const { api, stream } = this.#options;
    const messages = entriesAheadMax - this.#queue.length;
    const ask = { messages, expiresMs: pullExpiresMs, heartbeatMs };
    this.#asked = messages;
    this.#endUnseen = this.#done?.done && this.#queue.length === 0 ? this.#done.lastSequence : undefined;
    this.#silentTicks = 0;
    if (!api.pull(stream, this.#consumer!, this.#inbox, ask)) this.break("the connection is away");
  }

  #take(message: NatsMessage): void {
    this.#silentTicks = 0;
    switch (message.status) {
      case 0:
        this.#queue.push(message);
        this.#endUnseen = undefined;
        this.#asked = Math.max(0, this.#asked - 1);
        break;
      case 100: {
        // A heartbeat says how many the consumer has sent: one that did not arrive is lost.
        const sent = Number(message.header("Nats-Last-Consumer") ?? 0);
        if (sent > this.#deliveredSequence + this.#queue.length) this.break(`${sent} were sent, not all arrived`);
        break;
      }
      case 404:
      case 408:
        this.#asked = 0; // The pull is over: the next one follows.
        if (message.status === 408 && this.#endUnseen !== undefined) this.#endsInHole(this.#endUnseen);
        break;
      default:
        // 409: the consumer was deleted, or the server goes down. 503: there is no such consumer.
        this.break(`${message.status} ${message.statusText}`);
    }
    this.#wake?.();
  }

  /** The server had nothing more for a whole pull: what lies before the end grew old, or was torn in a power cut. */
  #endsInHole(end: number): void {
    const { stream, created } = this.#options;
    const from = (this.#last?.sequence ?? 0) + 1;
    if (from > end) return;
    this.#failure = new LogError("hole", `${stream}: nothing stands from ${from} to its end at ${end}`, {
      resumeAfter: { stream, created, sequence: end },
    });
  }

  #tick(): void {
    if (this.#asked > 0 && ++this.#silentTicks >= silentTicksMax) this.break("the server is silent");
    const { clock, review } = this.#options;
    if (this.#reviewing || clock.monotonicMs() - this.#reviewedMs < reviewEveryMs) return;
    this.#reviewing = true;
    review(this.#last)
      .then(
        (done) => {
          this.#done = done;
        },
        (error: unknown) => {
          if (!maySucceedLater(error)) this.#failure = error;
        },
      )
      .finally(() => {
        this.#reviewing = false;
        this.#reviewedMs = clock.monotonicMs();
        this.#wake?.();
      });
  }

  /** The message as the entry that follows the last one; undefined when it is the last one again, or of no use. */
  #check(message: NatsMessage): StreamEntry | undefined {
    const { stream, created } = this.#options;
    const pulled = pulledMessage(message);
    if (!pulled) {
      this.break("a message came that is not from the stream");
      return undefined;
    }
    const { streamSequence: sequence, deliverySequence, storedMs } = pulled;
    if (deliverySequence !== this.#deliveredSequence + 1) {
      this.break(`expected delivery ${this.#deliveredSequence + 1}, got ${deliverySequence}`);
      return undefined;
    }
    this.#deliveredSequence = deliverySequence;
    const last = this.#last;
    if (last && deliverySequence === 1 && sequence === last.sequence) {
      if (last.storedMs === undefined || Math.abs(storedMs - last.storedMs) < 0.001) return undefined;
      throw new LogError(
        "shortened",
        `${stream}: expected entry ${sequence} stored at ${last.storedMs}, got one of ${storedMs}: the stream lost its tail and uses its sequences again`,
        { resumeAfter: { stream, created, sequence: 0 } },
      );
    }
    if (last && sequence !== last.sequence + 1) {
      throw new LogError("hole", `${stream}: expected entry ${last.sequence + 1}, got ${sequence}`, {
        resumeAfter: { stream, created, sequence: sequence - 1 },
      });
    }
    this.#last = { stream, created, sequence, storedMs };
    return { subject: message.subject, payload: message.payload, sequence, storedMs };
  }
}
