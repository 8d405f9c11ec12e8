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

/** A cache that forgets what was not asked for while half of `weightMax` or more came anew. */
export class HalvedCache<T> {
  readonly #halfMax: number;
  #young = new Map<string, { readonly value: T; readonly weight: number }>();
  #old = new Map<string, { readonly value: T; readonly weight: number }>();
  #youngWeight = 0;

  constructor(options: { readonly weightMax: number }) {
    this.#halfMax = Math.max(1, Math.floor(options.weightMax / 2));
  }

  get(key: string): T | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young.value;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old.value, old.weight);
    return old?.value;
  }

  /** What alone weighs more than half of what may be kept is not kept. */
  set(key: string, value: T, weight = 1): void {
    const before = this.#young.get(key)?.weight ?? 0;
    if (weight > this.#halfMax) return;
    if (this.#youngWeight - before + weight > this.#halfMax) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngWeight = 0;
    } else this.#youngWeight -= before;
    this.#young.set(key, { value, weight });
    this.#youngWeight += weight;
  }
}
