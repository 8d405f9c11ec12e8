// A thread that runs one group after the other, as pool.ts asks it to.

import { parentPort, workerData } from "node:worker_threads";
import { runGroup } from "#/test/fuzz/group.ts";
import { type GroupTask, targetNamed } from "#/test/fuzz/pool.ts";

const progress = new Int32Array(workerData as SharedArrayBuffer);

parentPort!.on("message", ({ inputs, name, seed }: GroupTask) => {
  parentPort!.postMessage(targetNamed(name, (fuzzed) => runGroup(fuzzed, { seed, inputs, progress })));
});
