// Time as a part that is handed in: the tiers never ask the operating system for it.
//
// Two clocks, because they answer different questions. Wall time is what samples carry and what people read; it may step.
// Monotonic time measures leases and timeouts; it never goes backwards and never jumps.

import { onAbort } from "#/lib/clock/abort.ts";

/** A pending callback. Cancelling twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall time in ms since the Unix epoch, with a fraction. It may step in either direction. */
  nowMs(): number;
  /** Monotonic time in ms from an arbitrary origin, with a fraction. */
  monotonicMs(): number;
  /** Calls back once after `delayMs` of monotonic time. The process is kept alive while it waits. */
  after(delayMs: number, callback: () => void): Timer;
  /** Calls back every `periodMs` until cancelled. A late tick is not made up for. */
  every(periodMs: number, callback: () => void): Timer;
  /** Resolves after `delayMs`, or at once when the signal aborts; it never rejects, so look at the signal afterwards. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** Node refuses longer timers (2^31 − 1 ms) by firing them at once. */
const timerDelayMsMax = 2_147_483_647;

/** The real clock, for `main.ts` alone. */
export function systemClock(): Clock {
  const clock: Clock = {
    nowMs: () => performance.timeOrigin + performance.now() + wallStepMs(),
    monotonicMs: () => performance.now(),
    after(delayMs, callback) {
      const handle = setTimeout(callback, Math.min(Math.max(0, delayMs), timerDelayMsMax));
      return { cancel: () => clearTimeout(handle) };
    },
    every(periodMs, callback) {
      const handle = setInterval(callback, Math.min(Math.max(1, periodMs), timerDelayMsMax));
      return { cancel: () => clearInterval(handle) };
    },
    sleep(delayMs, signal) {
      return new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const timer = clock.after(delayMs, done);
        const forget = signal && onAbort(signal, done);
        function done() {
          timer.cancel();
          forget?.();
          resolve();
        }
      });
    },
  };
  return clock;
}

/** `performance` does not follow a wall clock that was set after the process started; `Date.now` does, in whole ms. */
function wallStepMs(): number {
  const driftMs = Date.now() - (performance.timeOrigin + performance.now());
  return Math.abs(driftMs) > 2 ? driftMs : 0;
}
