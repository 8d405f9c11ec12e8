// Layouts by their ids, as long as someone else holds them: so that the runs of two shards, or of one before and after a
// restart, share the rows that they have in common.

import type { Layout } from "#/lib/model/layout.ts";

export class LayoutCache {
  readonly #layouts = new Map<string, WeakRef<Layout>>();

  get(id: string): Layout | undefined {
    return this.#layouts.get(id)?.deref();
  }

  add(layout: Layout): void {
    if (this.get(layout.id) === undefined) this.#layouts.set(layout.id, new WeakRef(layout));
  }

  /** Forgets the ids of those that nobody holds any more. Call it now and then. */
  sweep(): void {
    for (const [id, layout] of this.#layouts) if (layout.deref() === undefined) this.#layouts.delete(id);
  }
}
