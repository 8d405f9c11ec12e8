// Things that many targets share, found by their content, and kept only as long as some target keeps them.

/** Dead entries are looked for when the table has doubled since the last time, and not below this size. */
const sweepSizeMin = 1024;

export class Interned<T extends object> {
  readonly #entries = new Map<string, WeakRef<T>>();
  #sweepSize = sweepSizeMin;

  get(key: string): T | undefined {
    return this.#entries.get(key)?.deref();
  }

  set(key: string, value: T): void {
    this.#entries.set(key, new WeakRef(value));
    if (this.#entries.size < this.#sweepSize) return;
    for (const [stored, reference] of this.#entries) if (!reference.deref()) this.#entries.delete(stored);
    this.#sweepSize = Math.max(sweepSizeMin, this.#entries.size * 2);
  }
}

/** A cache that forgets what was not asked for during its last `entriesMax / 2` new entries or more. */
export class HalvedCache<T> {
  readonly #halfMax: number;
  #young = new Map<string, T>();
  #old = new Map<string, T>();

  constructor(options: { readonly entriesMax: number }) {
    this.#halfMax = Math.max(1, Math.floor(options.entriesMax / 2));
  }

  get(key: string): T | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: T): void {
    if (this.#young.size >= this.#halfMax && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}
