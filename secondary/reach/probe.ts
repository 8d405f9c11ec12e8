// Whether targets can be reached from here: a real fetch, of which only counts whether a byte came. For another secondary's sake, or
// to know about ourselves.

import { KiB, secondMs } from "#/lib/bytes/units.ts";
import type { Target } from "#/lib/model/target.ts";
import { type Fetcher, isUnreached } from "#/secondary/scrape/fetch.ts";

/** A verdict is waited for, and a target that needs longer for its first byte is rare. */
export const probeMsMax = 3 * secondMs;
/** Nobody reads the body. */
const bodyBytesMax = 16 * KiB;

/** Of each whether it was reached. All at once: there are `reachSampleMax` at most. */
export async function probe(
  fetcher: Fetcher,
  targets: readonly Target[],
  signal: AbortSignal,
): Promise<readonly boolean[]> {
  const answers = targets.map(async ({ options, timeoutMs, url }) => {
    const request = { url, timeoutMs: Math.min(timeoutMs, probeMsMax), bodyBytesMax, http: options.http };
    const fetched = await fetcher.fetch(request, signal);
    if (fetched.ok) fetched.release?.();
    return !isUnreached(fetched);
  });
  return await Promise.all(answers);
}
