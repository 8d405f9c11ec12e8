// The package has no types of its own; these are of the part that ring.ts uses.

declare module "consistent-hash" {
  class ConsistentHash {
    constructor(options: { readonly range: number });
    /** Adds a node with the given points. */
    add(node: string, count: number, points: number[]): this;
    /** The first distinct nodes from the key's place on; null when there is none. */
    get(key: string, count: number): string[] | null;
  }
  export = ConsistentHash;
}
