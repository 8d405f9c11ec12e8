// A binary heap by due time: which of many targets comes next.

export class DueQueue<T extends { readonly dueMs: number }> {
  #heap: T[] = [];

  get first(): T | undefined {
    return this.#heap[0];
  }

  rebuild(items: Iterable<T>): void {
    this.#heap = [...items];
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  /** To be called when the first item's due time has grown. */
  moved(): void {
    this.#sink(0);
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const item = heap[from];
    if (!item) return;
    let at = from;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.dueMs < heap[child]!.dueMs) child++;
      if (heap[child]!.dueMs >= item.dueMs) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = item;
  }
}
