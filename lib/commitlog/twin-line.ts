// A line of the simulated network: what TCP makes of a path that is slow, cut or reset.
//
// TCP repeats what does not arrive, so a cut holds messages back and loses none as long as both ends believe in the
// connection; when one gives up, what was still under way is gone, and nobody knows how much of it had arrived. Messages of
// one connection never overtake each other.

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

/** Any number of connections may use one line. Its figures may be changed at any time. */
export class TwinLine {
  delayMs: number;
  jitterMs: number;
  bytesPerSecondMax: number;

  constructor({ delayMs = 0.2, jitterMs = 0.1, bytesPerSecondMax = 0 }: TwinLineOptions) {
    this.delayMs = delayMs;
    this.jitterMs = jitterMs;
    this.bytesPerSecondMax = bytesPerSecondMax;
  }

  /** Silently: neither end hears of it. */
  cut(_direction: LineDirection | "both" = "both"): void {
    throw new Error("not yet");
  }

  heal(): void {
    throw new Error("not yet");
  }

  /** Every connection over it breaks now, at both ends; what is under way is lost. */
  reset(): void {
    throw new Error("not yet");
  }
}
