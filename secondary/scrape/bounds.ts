// What one scrape may bring: bounds of the machine, the same for every target. The operator's own limits are in limit.ts and
// guard.ts.

import { assert } from "#/lib/assert/assert.ts";
import { KiB } from "#/lib/bytes/units.ts";

/**
 * Distinct series that are learnt of one scrape; those beyond it are refused. Learning them takes about 0.5 s of the event loop
 * and 100 MB, which is what the other targets can bear.
 */
export const seriesPerScrapeMax = 100_000;

/** Of one scrape, comments and repeated series included: a `# HELP` and a `# TYPE` for every other series. */
export const linesPerScrapeMax = 2 * seriesPerScrapeMax;

/**
 * Heads never seen before, of one scrape of a target that was read before: 10 µs each. Beyond it only what the target had is
 * read, so that a flood never holds up the others for longer than a quarter of a second; the rest waits for the next look.
 */
export const newHeadsPerLookMax = 20_000;

/** Of one scrape of which only the series are read that were there before: half a µs each, and nothing is kept of the others. */
export const linesSievedMax = 500_000;
assert(linesSievedMax >= linesPerScrapeMax, "what can be learnt can be sieved");

/** Name and labels of one series, or one comment: VictoriaMetrics cuts a label at 4 KiB, and sixteen of these are enough. */
export const headBytesMax = 64 * KiB;
