// A broken invariant is a bug of ours, not of the world: it ends the process, and the supervisor starts it again.

export class BrokenInvariant extends Error {
  override readonly name = "BrokenInvariant";
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new BrokenInvariant(`BUG: ${message}`);
}
