// A process of the simulated world: it has a clock of its own machine, it can be paused, and it dies without a farewell.
//
// Whatever reaches it from outside (a timer, a message, an answer of the disk) comes in through `enter`. A paused process is
// told later, in the same order, and a dead one never, so that all its promises simply stand still for good.

import { onAbort } from "#/lib/clock/abort.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Handle, Scheduler } from "#/test/sim/scheduler.ts";

/** Wall time at the beginning of the world: 2026-01-01T00:00:00Z. */
export const worldBeganMs = 1_767_225_600_000;

/** Timers are due when the machine's own clock has come so close. */
const timerSlackMs = 1e-6;

/** A machine's clocks. The monotonic one never jumps, however its speed changes; the wall clock has an error besides. */
export class MachineClock {
  offsetMs: number;
  readonly #scheduler: Scheduler;
  #drift: number;
  /** By the world's time, since when it runs at its present speed, and what it showed then. */
  #sinceMs: number;
  #shownMs: number;

  /** `drift`: how much faster than the world it runs, as a share. */
  constructor(options: { readonly scheduler: Scheduler; readonly offsetMs: number; readonly drift: number }) {
    this.#scheduler = options.scheduler;
    this.offsetMs = options.offsetMs;
    this.#drift = options.drift;
    this.#sinceMs = options.scheduler.nowMs;
    this.#shownMs = options.scheduler.nowMs;
  }

  /** From now on it runs that much faster than before. */
  bend(drift: number): void {
    this.#shownMs = this.monotonicMs();
    this.#sinceMs = this.#scheduler.nowMs;
    this.#drift += drift;
  }

  monotonicMs(): number {
    return this.#shownMs + (this.#scheduler.nowMs - this.#sinceMs) * (1 + this.#drift);
  }

  nowMs(): number {
    return worldBeganMs + this.monotonicMs() + this.offsetMs;
  }

  /** Calls back when the machine's own clock has come there; somewhat late when it was bent meanwhile, as timers are. */
  after(delayMs: number, callback: () => void): Handle {
    return new MachineTimer(this, delayMs, callback);
  }

  /** Calls back when it must be about that time. */
  at(monotonicMs: number, callback: () => void): Handle {
    return this.#scheduler.after((monotonicMs - this.monotonicMs()) / (1 + this.#drift), callback);
  }
}

class MachineTimer implements Handle {
  #handle: Handle;

  constructor(machine: MachineClock, delayMs: number, callback: () => void) {
    const dueMs = machine.monotonicMs() + Math.max(0, delayMs);
    const onTime = () => {
      if (dueMs - machine.monotonicMs() > timerSlackMs) this.#handle = machine.at(dueMs, onTime);
      else callback();
    };
    this.#handle = machine.at(dueMs, onTime);
  }

  cancel(): void {
    this.#handle.cancel();
  }
}

export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #scheduler: Scheduler;
  readonly #onDeath: (() => void)[] = [];
  #backlog: (() => void)[] = [];
  #paused = false;
  #dead = false;

  constructor(options: { readonly name: string; readonly scheduler: Scheduler; readonly machine: MachineClock }) {
    this.name = options.name;
    this.#scheduler = options.scheduler;
    this.clock = this.#clockOf(options.machine);
  }

  get dead(): boolean {
    return this.#dead;
  }

  get paused(): boolean {
    return this.#paused;
  }

  enter(run: () => void): void {
    if (this.#dead) return;
    if (this.#paused) this.#backlog.push(run);
    else run();
  }

  /** A time of the world, not of this machine: disks and wires do not know its clock. */
  wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#scheduler.after(delayMs, () => this.enter(resolve)));
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused || this.#dead) return;
    this.#paused = false;
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const run of backlog) this.#scheduler.after(0, () => this.enter(run));
  }

  kill(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#backlog = [];
    for (const callback of this.#onDeath) callback();
  }

  /** What others notice: connections that break. */
  onDeath(callback: () => void): void {
    this.#onDeath.push(callback);
  }

  #clockOf(machine: MachineClock): Clock {
    const after = (delayMs: number, callback: () => void): Timer => {
      let over = false;
      const run = () => {
        if (!over) callback();
      };
      const handle = machine.after(delayMs, () => this.enter(run));
      return {
        cancel() {
          over = true;
          handle.cancel();
        },
      };
    };
    return {
      nowMs: () => machine.nowMs(),
      monotonicMs: () => 5000 + machine.monotonicMs(),
      after,
      every(periodMs, callback) {
        let timer: Timer;
        const arm = () => {
          timer = after(Math.max(1, periodMs), () => {
            arm();
            callback();
          });
        };
        arm();
        return { cancel: () => timer.cancel() };
      },
      sleep(delayMs, signal) {
        return new Promise((resolve) => {
          if (signal?.aborted) return resolve();
          const timer = after(delayMs, done);
          const forget = signal && onAbort(signal, done);
          function done() {
            timer.cancel();
            forget?.();
            resolve();
          }
        });
      },
    };
  }
}
