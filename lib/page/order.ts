// Long lists in order, without holding up the event loop: runs are sorted one by one and merged two by two, and the loop is let
// go in between.

export interface Rank {
  /** Descending. */
  readonly weight: number;
  /** Ascending where weights are equal. */
  readonly key: string | number;
}

export function compareRanks(a: Rank, b: Rank): number {
  return b.weight - a.weight || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

/** Sorted runs become one, two at a time, with a pause before each level. */
export async function mergeRuns<R extends Rank>(
  runs: readonly (readonly R[])[],
  pause: () => Promise<unknown>,
): Promise<readonly R[]> {
  let level = runs;
  while (level.length > 1) {
    await pause();
    const next: (readonly R[])[] = [];
    for (let i = 0; i < level.length; i += 2) next.push(merged(level[i]!, level[i + 1] ?? []));
    level = next;
  }
  return level[0] ?? [];
}

function merged<R extends Rank>(a: readonly R[], b: readonly R[]): readonly R[] {
  const both: R[] = [];
  let ofA = 0;
  let ofB = 0;
  while (ofA < a.length && ofB < b.length) {
    both.push(compareRanks(a[ofA]!, b[ofB]!) <= 0 ? a[ofA++]! : b[ofB++]!);
  }
  while (ofA < a.length) both.push(a[ofA++]!);
  while (ofB < b.length) both.push(b[ofB++]!);
  return both;
}
