// How large what is encoded here may be. Readers check each of these before they allocate anything, so that corrupt or hostile
// bytes cost no more than honest ones.

import { assert } from "#/lib/assert/assert.ts";
import { GiB, KiB, MiB, minuteMs } from "#/lib/bytes/units.ts";

/** A whole batch: what a message of the log may have (docs/formats/batch.md). */
export const batchBytesMax = 4 * MiB;

/** A batch's body before compression, as writers make it: with zstd's worst case (1/256 more) and a header it still fits. */
export const batchBodyBytesWritten = batchBytesMax - 64 * KiB;

/** The same, as readers take it: room for later writers that count on compression. */
export const batchBodyBytesMax = 16 * MiB;

/** The largest window that a zstd frame may ask a reader to keep (2^23 = 8 MiB). Level 3, ours, asks for 2 MiB. */
export const zstdWindowLogMax = 23;

/** Names of data centres, secondaries and primaries, in bytes of UTF-8. */
export const nameBytesMax = 255;

/** Scrapes of one batch: those of ten full secondaries in one interval. */
export const batchScrapesMax = 50_000;

/** Ranges of dropped batches that one batch tells of: more wait for the next. 17 kB at most. */
export const batchDroppedMax = 256;

/** The canonical bytes of a layout: as much as an exposition has by default at most. */
export const layoutBytesMax = 64 * MiB;

/** Rows of one layout: five bytes each, keyframed, still fit into a batch. */
export const layoutRowsMax = 700_000;

/** What a layout takes in a reader's memory, roughly: its text, and the objects of its rows and labels. */
export function layoutMemoryBytes(textBytes: number, rows: number, labels: number): number {
  return textBytes + rows * layoutRowMemoryBytes + labels * layoutLabelMemoryBytes;
}
export const layoutRowMemoryBytes = 64;
export const layoutLabelMemoryBytes = 48;

/** All layouts whose rows one batch brings: 600,000 rows with four labels each. */
export const batchLayoutMemoryMax = 256 * MiB;

/** All layouts that a run refers to: 5,000 targets of 1,000 series each, no two alike, and as much again. */
export const runLayoutMemoryMax = 2 * GiB;

/** A layout above this is compressed by itself, so that the body's size is known when the scrape is added. */
export const layoutBytesPlainMax = 4 * KiB;

/** Targets and rows that a run refers to: 3 full secondaries (5,000 × 1,000) in one shard. 9 bytes a row: 144 MiB. */
export const runTargetsMax = 200_000;
export const runRowsMax = 16_000_000;

/** Slot time between two keyframes of a target: how long a hole can hide it, against what a keyframe costs (0.04 bytes a sample). */
export const keyframeEveryMs = 5 * minuteMs;

/** A writer forgets targets that it has not seen for so long, and announces them anew when they come back. */
export const targetForgottenByWriterMs = 30 * minuteMs;

/** A reader keeps them longer, so that it never forgets what the writer still refers to. */
export const targetForgottenByReaderMs = 60 * minuteMs;

/** A whole generation: it is one message of the log too. */
export const generationBytesMax = 4 * MiB;

/** A generation's body before compression: about 100 bytes a target. */
export const generationBodyBytesMax = 32 * MiB;

/** Targets of one data centre: 50 full secondaries. */
export const generationTargetsMax = 250_000;

/** Why a generation was made: a person reads no more. */
export const causesMax = 16;

/** Labels of all targets of a generation. */
export const generationLabelsMax = 5_000_000;

assert(batchBodyBytesWritten <= batchBodyBytesMax, "a reader takes what a writer makes");
assert(
  batchBodyBytesWritten * (1 + 1 / 256) + 8 * KiB < batchBytesMax,
  "a body that does not compress fits into its batch",
);
assert(layoutRowsMax * 5 <= batchBodyBytesWritten, "a keyframe of the largest layout fits into a batch");
assert(
  layoutMemoryBytes(layoutBytesMax, layoutRowsMax, layoutRowsMax * 3) <= batchLayoutMemoryMax,
  "a batch holds the largest layout",
);
assert(targetForgottenByWriterMs < targetForgottenByReaderMs, "a reader never forgets what its writer refers to");
assert(keyframeEveryMs < targetForgottenByWriterMs, "a living target is keyframed before it is forgotten");
