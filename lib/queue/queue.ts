// A bounded first-in-first-out between a producer that may not wait and a consumer that may.
//
// `offer` says no when it is full; what happens then is the producer's to decide and to count.

export class BoundedQueue<T> {
  readonly #items: T[] = [];
  readonly #depthMax: number;
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(options: { readonly depthMax: number }) {
    this.#depthMax = options.depthMax;
  }

  get depth(): number {
    return this.#items.length;
  }

  /** False when the queue is full or closed: the item was not taken. */
  offer(item: T): boolean {
    if (this.#closed || this.#items.length >= this.#depthMax) return false;
    this.#items.push(item);
    this.#wake?.();
    return true;
  }

  /** The next item, or undefined once the queue is closed and empty. One waiting consumer at a time. */
  async take(): Promise<T | undefined> {
    while (this.#items.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    return this.#items.shift();
  }

  /** No more offers; what is in it can still be taken. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }
}
