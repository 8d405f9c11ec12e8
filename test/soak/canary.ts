// A process that does nothing but look at the clock: when it comes late, the machine had no time for anybody.
//
// Started with an IPC channel; asked for `pauses` it says when and for how long it was held up since it was asked last.

/** As often as the scheduler of a secondary wakes. */
const everyMs = 20;
/** Held up for longer than this is a pause. */
const pauseMsMin = 60;

export interface Pause {
  /** Wall clock. */
  readonly fromMs: number;
  readonly untilMs: number;
}

let pauses: Pause[] = [];
let lastMs = performance.timeOrigin + performance.now();
setInterval(() => {
  const nowMs = performance.timeOrigin + performance.now();
  if (nowMs - lastMs > everyMs + pauseMsMin) pauses.push({ fromMs: lastMs, untilMs: nowMs });
  lastMs = nowMs;
}, everyMs);
process.on("message", () => {
  process.send!(pauses);
  pauses = [];
});
process.on("disconnect", () => process.exit());
