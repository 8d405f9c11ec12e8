// A line of the simulated network: what TCP makes of a path that is slow, cut or reset.
//
// TCP repeats what does not arrive, so a cut holds messages back and loses none as long as both ends believe in the
// connection. An end that gives up does not take back what it sent: that may still arrive after a heal, long after its sender
// tried something else. Only a reset loses what is under way. Messages of one connection never overtake each other.

import type { Clock } from "#/lib/clock/clock.ts";
import type { Random } from "#/lib/random/random.ts";

/** `up`: from the client to the server, from a data centre to the hub. `down`: the way back. */
export type LineDirection = "up" | "down";

export interface TwinLineOptions {
  /** The network's own time: no pause of a process stops it. */
  readonly clock: Clock;
  readonly random: Random;
  readonly delayMs?: number;
  readonly jitterMs?: number;
  /** 0: no limit. */
  readonly bytesPerSecondMax?: number;
}

/** Shares of the messages that meet it, on lines where it is asked for: worse than TCP, as a slow consumer's server may be. */
export interface Mishaps {
  readonly loss: number;
  readonly duplicate: number;
  /** Up to `mishapDelayMsMax` late, so that later ones may come before it. */
  readonly reorder: number;
}

export const noMishaps: Mishaps = { loss: 0, duplicate: 0, reorder: 0 };
const mishapDelayMsMax = 300;

/** TCP's repetitions grow rarer during a cut: so long after a heal the next one may come. */
const repetitionDelayMsMax = 1000;

/** Any number of connections may use one line. Its figures may be changed at any time. */
export class TwinLine {
  delayMs: number;
  jitterMs: number;
  bytesPerSecondMax: number;
  mishaps = noMishaps;
  /** How many messages met each. */
  readonly hits = { loss: 0, duplicate: 0, reorder: 0 };
  readonly clock: Clock;
  readonly random: Random;
  readonly #isCut = { up: false, down: false };
  readonly #wires = new Set<Wire>();

  constructor({ clock, random, delayMs = 0.2, jitterMs = 0.1, bytesPerSecondMax = 0 }: TwinLineOptions) {
    this.clock = clock;
    this.random = random;
    this.delayMs = delayMs;
    this.jitterMs = jitterMs;
    this.bytesPerSecondMax = bytesPerSecondMax;
  }

  /** Silently: neither end hears of it. */
  cut(direction: LineDirection | "both" = "both"): void {
    if (direction !== "down") this.#isCut.up = true;
    if (direction !== "up") this.#isCut.down = true;
  }

  heal(): void {
    this.#isCut.up = false;
    this.#isCut.down = false;
    for (const wire of this.#wires) wire.flush();
  }

  /** Every connection over it breaks now, at both ends; what is under way is lost. */
  reset(): void {
    for (const wire of [...this.#wires]) wire.reset();
  }

  isCut(direction: LineDirection | "both"): boolean {
    if (direction === "both") return this.#isCut.up || this.#isCut.down;
    return this.#isCut[direction];
  }

  /** Somebody has a connection over it. */
  get busy(): boolean {
    return this.#wires.size > 0;
  }

  /** One connection's two ways. `onReset` is called once, at either end's reset. */
  open(onReset: () => void): Wire {
    const wire = new Wire(this, () => {
      this.#wires.delete(wire);
      onReset();
    });
    this.#wires.add(wire);
    return wire;
  }

  forget(wire: Wire): void {
    this.#wires.delete(wire);
  }
}

interface Way {
  /** When the last message arrives: none comes before it. */
  lastDueMs: number;
  /** Not arrived yet; a message that cannot arrive holds back those behind it. */
  readonly waiting: { deliver: (() => void) | undefined; due: boolean }[];
}

export class Wire {
  readonly #line: TwinLine;
  readonly #onReset: () => void;
  readonly #ways: Record<LineDirection, Way> = {
    up: { lastDueMs: 0, waiting: [] },
    down: { lastDueMs: 0, waiting: [] },
  };
  #isReset = false;
  #isClosed = false;

  constructor(line: TwinLine, onReset: () => void) {
    this.#line = line;
    this.#onReset = onReset;
  }

  send(direction: LineDirection, bytes: number, deliver: () => void): void {
    if (this.#isReset) return;
    const { clock, random, delayMs, jitterMs, bytesPerSecondMax } = this.#line;
    const way = this.#ways[direction];
    const nowMs = clock.monotonicMs();
    const sendingMs = bytesPerSecondMax > 0 ? (bytes / bytesPerSecondMax) * 1000 : 0;
    way.lastDueMs = Math.max(way.lastDueMs + sendingMs, nowMs + delayMs + sendingMs + jitterMs * random.next());
    this.#arrive(direction, { deliver, due: false }, way.lastDueMs - nowMs);
  }

  /** As `send`, for a message that may meet the line's mishaps. */
  sendLoose(direction: LineDirection, bytes: number, deliver: () => void): void {
    const { clock, hits, mishaps, random } = this.#line;
    if (mishaps === noMishaps) {
      this.send(direction, bytes, deliver);
      return;
    }
    const send = () => this.send(direction, bytes, deliver);
    const late = () => void clock.after(random.next() * mishapDelayMsMax, send);
    const meets = (mishap: keyof Mishaps) => {
      if (mishaps[mishap] === 0 || random.next() >= mishaps[mishap]) return false;
      hits[mishap]++;
      return true;
    };
    if (meets("loss")) return;
    if (meets("duplicate")) late();
    if (meets("reorder")) late();
    else send();
  }

  /** What the line held back during a cut goes on. */
  flush(): void {
    const { random } = this.#line;
    for (const direction of ["up", "down"] as const) {
      const { waiting } = this.#ways[direction];
      if (waiting.some(({ due }) => due)) {
        const delayMs = random.next() * repetitionDelayMsMax;
        this.#line.clock.after(delayMs, () => this.#deliver(direction));
      }
    }
  }

  /** One end gave up or died: what it had sent may still arrive, and what was coming back will not be heard. */
  close(): void {
    this.#isClosed = true;
    this.#forgetWhenEmpty();
  }

  /** Of what is under way in that direction, nothing arrives. */
  drop(direction: LineDirection): void {
    for (const message of this.#ways[direction].waiting) message.deliver = undefined;
  }

  reset(): void {
    if (this.#isReset) return;
    this.#isReset = true;
    this.drop("up");
    this.drop("down");
    this.#onReset();
  }

  #arrive(direction: LineDirection, message: Way["waiting"][number], delayMs: number): void {
    this.#ways[direction].waiting.push(message);
    this.#line.clock.after(delayMs, () => {
      message.due = true;
      this.#deliver(direction);
    });
  }

  #deliver(direction: LineDirection): void {
    if (this.#line.isCut(direction)) return;
    const { waiting } = this.#ways[direction];
    while (waiting[0]?.due) waiting.shift()!.deliver?.();
    this.#forgetWhenEmpty();
  }

  #forgetWhenEmpty(): void {
    const { up, down } = this.#ways;
    if (this.#isClosed && up.waiting.length === 0 && down.waiting.length === 0) this.#line.forget(this);
  }
}
