// A clock that stands still until the test moves it, and then fires timers in the order in which they are due.

import type { Clock, Timer } from "#/lib/clock/clock.ts";

export interface ManualClock extends Clock {
  /** Moves both clocks on, firing what is due on the way and letting promises settle after each. */
  advance(byMs: number): Promise<void>;
  /** Steps the wall clock alone. */
  step(byMs: number): void;
}

/** Starts at that wall time; the monotonic clock starts at an unrelated number. */
export function manualClock(startMs = 1_700_000_000_000): ManualClock {
  let wallMs = startMs;
  let monotonicMs = 5000;
  let nextId = 0;
  const waiting = new Map<number, { dueMs: number; periodMs: number; callback: () => void }>();

  function schedule(delayMs: number, periodMs: number, callback: () => void): Timer {
    const id = nextId++;
    waiting.set(id, { dueMs: monotonicMs + Math.max(0, delayMs), periodMs, callback });
    return { cancel: () => void waiting.delete(id) };
  }

  const clock: ManualClock = {
    nowMs: () => wallMs,
    monotonicMs: () => monotonicMs,
    after: (delayMs, callback) => schedule(delayMs, 0, callback),
    every: (periodMs, callback) => schedule(periodMs, periodMs, callback),
    sleep(delayMs, signal) {
      return new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const timer = clock.after(delayMs, resolve);
        const aborted = () => {
          timer.cancel();
          resolve();
        };
        signal?.addEventListener("abort", aborted, { once: true });
      });
    },
    step(byMs) {
      wallMs += byMs;
    },
    async advance(byMs) {
      const untilMs = monotonicMs + byMs;
      await settle();
      for (;;) {
        const due = [...waiting].sort((a, b) => a[1].dueMs - b[1].dueMs || a[0] - b[0])[0];
        if (!due || due[1].dueMs > untilMs) break;
        const [id, timer] = due;
        wallMs += timer.dueMs - monotonicMs;
        monotonicMs = timer.dueMs;
        if (timer.periodMs > 0) timer.dueMs += timer.periodMs;
        else waiting.delete(id);
        timer.callback();
        await settle();
      }
      wallMs += untilMs - monotonicMs;
      monotonicMs = untilMs;
    },
  };
  return clock;
}

/** Several turns of the event loop: enough for chains of promises that wait for nothing outside. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}
