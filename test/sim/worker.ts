// A process that simulates one seed after the other, as pool.ts asks it to.

import { secondMs } from "#/lib/bytes/units.ts";
import { plants } from "#/test/sim/planted.ts";
import type { Task, TaskResult } from "#/test/sim/pool.ts";
import { shrink } from "#/test/sim/shrink.ts";
import { type SimulationOptions, simulate } from "#/test/sim/simulate.ts";

const shrinkMsMax = 300 * secondMs;

// Ctrl-C reaches every process of the terminal: pool.ts decides.
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit());
process.on("message", (task: Task) => {
  void run(task).then((result) => process.send!(result));
});

async function run({ seed, minutes, plant: name, shrinks, smallSpools = false }: Task): Promise<TaskResult> {
  const before = process.cpuUsage();
  const plant = plants.find((each) => each.name === name);
  const options: SimulationOptions = { seed, minutes, smallSpools, ...(plant && { plant }) };
  const { hits, ...whole } = await simulate(options);
  let result: Omit<TaskResult["result"], "hits"> = whole;
  if (shrinks && result.violations.length > 0) {
    const untilMs = performance.now() + shrinkMsMax;
    result = await shrink(options, { hits, ...whole }, () => performance.now() < untilMs);
  }
  const { user, system } = process.cpuUsage(before);
  return { cpuSeconds: (user + system) / 1e6, result: { ...result, hits: [...hits] } };
}
