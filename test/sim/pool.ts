// Simulates seeds on every core: one process each, because a seed is one thread's work from its beginning to its end.

import { type ChildProcess, fork } from "node:child_process";
import { availableParallelism } from "node:os";
import type { FaultKind } from "#/test/sim/faults.ts";
import type { SimulationResult } from "#/test/sim/simulate.ts";

export interface Task {
  readonly seed: number;
  readonly minutes: number;
  /** The name of a planted bug. */
  readonly plant?: string;
  readonly shrinks?: boolean;
  readonly smallSpools?: boolean;
}

/** As it comes from one process to the other. */
export interface TaskResult {
  readonly cpuSeconds: number;
  readonly result: Omit<SimulationResult, "hits"> & { readonly hits: readonly (readonly [FaultKind, number])[] };
}

/** A process takes so many seeds and is then replaced: whatever a seed may leave behind does not add up. */
const tasksPerProcess = 50;

/**
 * A seed makes 4 GB of garbage, most of it at once: in a large nursery it dies before anybody looks at it. Each start of a
 * secondary reserves 60 MB for a kernel, which is no reason to look through the whole heap.
 */
const execArgv = [
  "--min-semi-space-size=128",
  "--max-semi-space-size=128",
  "--initial-heap-size=1000",
  "--external-memory-accounted-in-global-limit",
];

/** Hands out what `next` gives until it gives no more; `onResult` hears in the order in which they end. */
export function runTasks(
  next: () => Task | undefined,
  onResult: (task: Task, result: TaskResult) => void,
): Promise<void> {
  return runSeeds("./worker.ts", next, onResult);
}

/** The same for another worker: it answers each message with one. */
export async function runSeeds<T extends { readonly seed: number }, R>(
  worker: string,
  next: () => T | undefined,
  onResult: (task: T, result: R) => void,
): Promise<void> {
  const jobs = availableParallelism();
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      let child: ChildProcess | undefined;
      let left = 0;
      for (let task = next(); task; task = next()) {
        if (left-- === 0 || !child) {
          child?.kill();
          child = fork(new URL(worker, import.meta.url), { execArgv });
          left = tasksPerProcess - 1;
        }
        onResult(task, await ask<R>(child, task));
      }
      child?.kill();
    }),
  );
}

function ask<R>(child: ChildProcess, task: { readonly seed: number }): Promise<R> {
  return new Promise((resolve, reject) => {
    const onMessage = (result: unknown) => {
      child.off("exit", onExit);
      resolve(result as R);
    };
    const onExit = (code: number | null, signal: string | null) => {
      child.off("message", onMessage);
      reject(new Error(`seed ${task.seed}: its process ended with ${signal ?? code}`));
    };
    child.once("message", onMessage);
    child.once("exit", onExit);
    child.send(task);
  });
}
