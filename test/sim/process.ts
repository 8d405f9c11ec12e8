// A process of the simulated world: it has a clock of its own machine, it can be paused, and it dies without a farewell.
//
// Whatever reaches it from outside (a timer, a message, an answer of the disk) comes in through `enter`. A paused process is
// told later, in the same order, and a dead one never, so that all its promises simply stand still for good.

import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";

/** Wall time at the beginning of the world: 2026-01-01T00:00:00Z. */
export const worldBeganMs = 1_767_225_600_000;

/** What a machine's clock does to all processes on it. */
export interface MachineClock {
  /** The wall clock's error. */
  offsetMs: number;
  /** How much faster than the world it runs. Fixed, so that a timer's length is known when it is set. */
  readonly drift: number;
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
    this.clock = this.#makeClock(options.machine);
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

  #makeClock(machine: MachineClock): Clock {
    const scheduler = this.#scheduler;
    const rate = 1 + machine.drift;
    const after = (delayMs: number, callback: () => void): Timer => {
      let over = false;
      const handle = scheduler.after(Math.max(0, delayMs) / rate, () => {
        this.enter(() => {
          if (!over) callback();
        });
      });
      return {
        cancel() {
          over = true;
          handle.cancel();
        },
      };
    };
    return {
      nowMs: () => worldBeganMs + scheduler.nowMs * rate + machine.offsetMs,
      monotonicMs: () => 5000 + scheduler.nowMs * rate,
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
          function done() {
            timer.cancel();
            signal?.removeEventListener("abort", done);
            resolve();
          }
          signal?.addEventListener("abort", done, { once: true });
        });
      },
    };
  }
}
