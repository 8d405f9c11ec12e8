// The last word of each secondary: when a primary heard it, and which one. It is remembered also when the stream has ended, because
// then it is most asked for.

import type { Clock } from "#/lib/clock/clock.ts";

/** Who was heard by whom: the secondaries whose streams end at a primary, as that primary said `ageMs` ago. */
export interface HeardByPrimary {
  readonly primary: string;
  readonly ageMs: number;
  readonly secondaries: readonly { readonly name: string; readonly ageMs: number }[];
}

export interface LastWord {
  readonly ageMs: number;
  readonly primary: string;
}

export class LastWords {
  readonly #clock: Clock;
  readonly #known: () => readonly string[];
  readonly #heard: () => Iterable<HeardByPrimary>;
  /** By name, on the monotonic clock. */
  readonly #words = new Map<string, { readonly heardMs: number; readonly primary: string }>();

  constructor(options: {
    readonly clock: Clock;
    /** The data centre's, from the topology; others are not remembered. */
    readonly known: () => readonly string[];
    readonly heard: () => Iterable<HeardByPrimary>;
  }) {
    this.#clock = options.clock;
    this.#known = options.known;
    this.#heard = options.heard;
  }

  /** Call it about once a second: what was said in between two calls, and is not said any more, is not learnt. */
  listen(): void {
    const nowMs = this.#clock.monotonicMs();
    const known = new Set(this.#known());
    for (const { ageMs: saidMs, primary, secondaries } of this.#heard()) {
      for (const { ageMs, name } of secondaries) {
        const heardMs = nowMs - saidMs - ageMs;
        if (known.has(name) && heardMs > (this.#words.get(name)?.heardMs ?? Number.NEGATIVE_INFINITY)) {
          this.#words.set(name, { heardMs, primary });
        }
      }
    }
    for (const name of this.#words.keys()) if (!known.has(name)) this.#words.delete(name);
  }

  /** By name; who was never heard is not among them. */
  words(): ReadonlyMap<string, LastWord> {
    this.listen();
    const nowMs = this.#clock.monotonicMs();
    return new Map(
      [...this.#words].map(([name, { heardMs, primary }]) => [name, { ageMs: Math.max(0, nowMs - heardMs), primary }]),
    );
  }
}
