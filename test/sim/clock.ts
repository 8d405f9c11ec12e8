// The time of the world itself, which no pause stops and no step moves: networks and disks live by it.

import { onAbort } from "#/lib/clock/abort.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { worldBeganMs } from "#/test/sim/process.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";

export function worldClock(scheduler: Scheduler): Clock {
  const clock: Clock = {
    nowMs: () => worldBeganMs + scheduler.nowMs,
    monotonicMs: () => scheduler.nowMs,
    after: (delayMs, callback) => scheduler.after(delayMs, callback),
    every(periodMs, callback) {
      let next = scheduler.after(periodMs, tick);
      function tick() {
        next = scheduler.after(periodMs, tick);
        callback();
      }
      return { cancel: () => next.cancel() };
    },
    sleep(delayMs, signal) {
      return new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const done = () => {
          timer.cancel();
          forget?.();
          resolve();
        };
        const timer = scheduler.after(delayMs, done);
        const forget = signal && onAbort(signal, done);
      });
    },
  };
  return clock;
}
