// Runs groups on every core, and watches them: a thread that is at one step for too long hangs, and is ended.

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { secondMs } from "#/lib/bytes/units.ts";
import { answers } from "#/test/fuzz/answer.ts";
import { expositions } from "#/test/fuzz/exposition.ts";
import type { Fuzzed } from "#/test/fuzz/fuzz.ts";
import type { GroupResult } from "#/test/fuzz/group.ts";

export const targetNames = ["exposition", "answer"] as const;
export type TargetName = (typeof targetNames)[number];

export interface GroupTask {
  readonly name: TargetName;
  readonly seed: number;
  readonly inputs: number;
}

/** What is fuzzed differs in its steps, which nobody but itself looks into. */
export function targetNamed<T>(name: TargetName, use: <Step>(fuzzed: Fuzzed<Step>) => T): T {
  switch (name) {
    case "exposition":
      return use(expositions);
    case "answer":
      return use(answers);
    default:
      return name satisfies never;
  }
}

/** An input takes a tenth of a millisecond; on a machine that is busy with other things it may have to wait for its turn. */
export const stepMsMax = 20 * secondMs;
const lookEveryMs = secondMs;

/** Hands out what `next` gives until it gives no more. Throws when a thread hangs or dies. */
export async function runGroups(
  next: () => GroupTask | undefined,
  onResult: (task: GroupTask, result: GroupResult) => void,
  jobs = availableParallelism(),
): Promise<void> {
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      const progress = new SharedArrayBuffer(4);
      const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: progress });
      try {
        for (let task = next(); task; task = next()) onResult(task, await ask(worker, task, new Int32Array(progress)));
      } finally {
        await worker.terminate();
      }
    }),
  );
}

function ask(worker: Worker, task: GroupTask, progress: Int32Array): Promise<GroupResult> {
  const { promise, reject, resolve } = Promise.withResolvers<GroupResult>();
  const group = `the group ${task.name} ${task.seed}`;
  let seen = Atomics.load(progress, 0);
  let seenMs = performance.now();
  const watch = setInterval(() => {
    const now = Atomics.load(progress, 0);
    if (now !== seen) [seen, seenMs] = [now, performance.now()];
    else if (performance.now() - seenMs > stepMsMax) {
      reject(new Error(`${group} hangs: no step ended within ${stepMsMax / secondMs} s`));
    }
  }, lookEveryMs);
  const onError = (error: Error) => reject(new Error(`${group} died: ${error.message}`, { cause: error }));
  const onExit = (code: number) => reject(new Error(`${group} died: its thread ended with code ${code}`));
  worker.once("message", resolve);
  worker.once("error", onError);
  worker.once("exit", onExit);
  worker.postMessage(task);
  return promise.finally(() => {
    clearInterval(watch);
    worker.off("message", resolve);
    worker.off("error", onError);
    worker.off("exit", onExit);
  });
}
