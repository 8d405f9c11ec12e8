// How many queries are worked on at once; the others wait in the order in which they came.

import { ApiError } from "#/lib/query/errors.ts";

export class Gate {
  readonly #atOnceMax: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  constructor(options: { readonly atOnceMax: number; readonly waitingMax: number }) {
    this.#atOnceMax = options.atOnceMax;
    this.#waitingMax = options.waitingMax;
  }

  /** Runs `work` when there is room; not at all when the signal is aborted by then. Throws ApiError when too many wait. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#enter(signal);
    try {
      return await work();
    } finally {
      this.#inside--;
      this.#waiting.shift()?.();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    if (this.#inside >= this.#atOnceMax) {
      if (this.#waiting.length >= this.#waitingMax) {
        throw new ApiError("unavailable", `too many queries: ${this.#inside} run and ${this.#waiting.length} wait`);
      }
      if (signal.aborted) throw signal.reason;
      await new Promise<void>((resolve, reject) => {
        const enter = () => {
          signal.removeEventListener("abort", leave);
          resolve();
        };
        const leave = () => {
          this.#waiting.splice(this.#waiting.indexOf(enter), 1);
          reject(signal.reason);
        };
        this.#waiting.push(enter);
        signal.addEventListener("abort", leave, { once: true });
      });
    }
    this.#inside++;
  }
}
