// The leaf connection between a data centre's twin and the hub's, and the mirrors that the hub fills over it.
//
// A mirror copies in order. After a break it asks its origin for what follows its own end, whatever stream has that name now:
// what the origin dropped is a jump in its sequences, and what a re-created origin writes under numbers that the mirror has
// is passed over without a word.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Follower, TwinJetStream, TwinMessage } from "#/lib/commitlog/twin-jetstream.ts";
import type { TwinLine, Wire } from "#/lib/commitlog/twin-line.ts";
import type { StoredMessage, TwinStream } from "#/lib/commitlog/twin-stream.ts";
import type { Random } from "#/lib/random/random.ts";

/** The servers' `ping_interval` and `ping_max` (topology/nats.ts). */
const pingIntervalMs = 5 * secondMs;
const pingsOutMax = 2;
/** nats-server tries a leaf connection again each second, give or take. */
const reconnectDelayMs = secondMs;
/** Until a mirror has its consumer at the origin again; 2.10 needs up to 40 s after a hub's restart. */
const mirrorResumeMsMax = 8 * secondMs;
const mirrorResumeMsLongest = 40 * secondMs;
const longResumeShare = 0.05;
/** Messages and bytes on their way to one mirror. */
const messagesAheadMax = 64;

/** One of the two servers, as the leaf sees it. */
export interface LeafEnd {
  readonly clock: Clock;
  readonly random: Random;
  /** Another after each start; 0 while it is down. */
  readonly run: number;
  readonly isPaused: boolean;
  readonly jetStream: TwinJetStream;
  readonly isReady: boolean;
  /** What comes over the leaf for JetStream's API is not answered: a call hangs there. */
  readonly apiHangs: boolean;
  enter(run: () => void): void;
  /** What came over the leaf. */
  deliver(message: TwinMessage): void;
}

interface Following extends Follower {
  next: number;
  ahead: number;
}

export class TwinLeaf {
  readonly #datacenter: LeafEnd;
  readonly #hub: LeafEnd;
  readonly #line: TwinLine;
  readonly #timer: Timer;
  /** By the mirror: whom it follows, or when it will. */
  readonly #followed = new Map<TwinStream, Following | Timer>();
  #wire: Wire | undefined;
  #runs = { datacenter: 0, hub: 0 };
  #pingsOut = 0;
  #dialling: Timer | undefined;
  #isClosed = false;

  constructor(datacenter: LeafEnd, hub: LeafEnd, line: TwinLine) {
    this.#datacenter = datacenter;
    this.#hub = hub;
    this.#line = line;
    this.#timer = line.clock.every(secondMs, () => this.#tick());
    this.#dial();
  }

  get isUp(): boolean {
    return this.#wire !== undefined;
  }

  send(direction: "up" | "down", message: TwinMessage): boolean {
    const wire = this.#wire;
    if (!wire) return false;
    const to = direction === "up" ? this.#hub : this.#datacenter;
    const run = to.run;
    wire.sendLoose(direction, message.payload.length + 100, () =>
      to.enter(() => {
        if (to.run === run) to.deliver(message);
      }),
    );
    return true;
  }

  /** A server died: the other one hears of it unless the line is cut. */
  broken(): void {
    if (!this.#line.isCut("both")) this.#break();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer.cancel();
    this.#dialling?.cancel();
    this.#break();
  }

  #dial(): void {
    const { clock, random } = this.#line;
    this.#dialling = clock.after(reconnectDelayMs * (0.5 + random.next()), () => {
      this.#dialling = undefined;
      const [a, b] = [this.#datacenter, this.#hub];
      const isPossible = a.run > 0 && b.run > 0 && !a.isPaused && !b.isPaused && !this.#line.isCut("both");
      if (!isPossible) return this.#dial();
      this.#runs = { datacenter: a.run, hub: b.run };
      this.#pingsOut = 0;
      this.#wire = this.#line.open(() => this.#break());
    });
  }

  #tick(): void {
    const wire = this.#wire;
    if (!wire) return;
    const [a, b] = [this.#datacenter, this.#hub];
    const isSame = a.run === this.#runs.datacenter && b.run === this.#runs.hub;
    if (this.#line.isCut("both") || !isSame || a.isPaused || b.isPaused) {
      this.#pingsOut += secondMs / pingIntervalMs;
      if (this.#pingsOut > pingsOutMax || (!isSame && !this.#line.isCut("both"))) this.#break();
      return;
    }
    this.#pingsOut = 0;
    if (a.isReady && b.isReady) this.#followAll();
  }

  #break(): void {
    const wire = this.#wire;
    this.#wire = undefined;
    for (const following of this.#followed.values()) {
      if ("cancel" in following) following.cancel();
      else this.#datacenter.jetStream.followers.delete(following);
    }
    this.#followed.clear();
    wire?.reset();
    if (!this.#isClosed && !this.#dialling) this.#dial();
  }

  #followAll(): void {
    const mirrors = [...this.#hub.jetStream.streams.values()].filter(({ config }) => config.mirror);
    for (const [mirror, following] of this.#followed) {
      const isThere = mirrors.includes(mirror);
      const isOriginThere =
        "cancel" in following || this.#datacenter.jetStream.streams.get(mirror.config.name) === following.stream;
      if (isThere && isOriginThere) continue;
      if ("cancel" in following) following.cancel();
      else this.#datacenter.jetStream.followers.delete(following);
      this.#followed.delete(mirror);
    }
    for (const mirror of mirrors) if (!this.#followed.has(mirror)) this.#resume(mirror);
  }

  #resume(mirror: TwinStream): void {
    const { clock, random } = this.#line;
    const isFirst = mirror.lastSequence === 0;
    const delayMs = random.next() < longResumeShare ? mirrorResumeMsLongest : mirrorResumeMsMax;
    const timer = clock.after(isFirst ? 50 : random.next() * delayMs, () => {
      this.#followed.delete(mirror);
      const origin = this.#datacenter.jetStream.streams.get(mirror.config.name);
      const wire = this.#wire;
      if (!origin || !wire || mirror.hangs || origin.hangs || this.#datacenter.apiHangs) return;
      this.#follow(mirror, origin, wire);
    });
    this.#followed.set(mirror, timer);
  }

  #follow(mirror: TwinStream, origin: TwinStream, wire: Wire): void {
    const { clock } = this.#datacenter;
    const { last_seq } = origin.info(clock.nowMs()).state;
    const next = Math.max(
      Math.min(mirror.lastSequence + 1, last_seq + 1),
      Math.min(origin.firstSequence, last_seq + 1),
    );
    mirror.skipTo(next - 1);
    const following: Following = {
      stream: origin,
      next,
      ahead: 0,
      pump: () => {
        while (following.ahead < messagesAheadMax && this.#wire === wire && !origin.hangs) {
          const message = origin.at(following.next, clock.nowMs());
          if (!message) return;
          following.next = message.sequence + 1;
          following.ahead++;
          wire.send("up", message.bytes, () => this.#hub.enter(() => this.#copy(mirror, message, following)));
        }
      },
    };
    this.#followed.set(mirror, following);
    this.#datacenter.jetStream.followers.add(following);
    following.pump();
  }

  #copy(mirror: TwinStream, message: StoredMessage, following: Following): void {
    if (this.#followed.get(mirror) !== following) return;
    if (!this.#hub.jetStream.copy(mirror, message)) {
      // After the hub's restart it asks again from its own end.
      this.#datacenter.jetStream.followers.delete(following);
      this.#followed.delete(mirror);
      return;
    }
    following.ahead--;
    this.#datacenter.enter(() => following.pump());
  }
}
