// Fuzzes from the command line:
//
//     node test/fuzz/main.ts [--inputs N | --seconds S] [--seed N] [--only exposition]
//     node test/fuzz/main.ts --group SEED --only exposition        repeats one group, as a finding names it
//
// A run is a list of groups, each with a seed of its own that follows from the run's.

import { parseArgs } from "node:util";
import { MiB, secondMs } from "#/lib/bytes/units.ts";
import { seededRandom } from "#/lib/random/random.ts";
import type { GroupResult } from "#/test/fuzz/group.ts";
import { type GroupTask, runGroups, type TargetName, targetNames } from "#/test/fuzz/pool.ts";

/** Enough for caches to fill, few enough to repeat in some seconds. */
const inputsPerGroup = 20_000;
/** Of all threads together, caches of 131,072 heads included. */
const residentBytesMax = 1536 * MiB;
const progressEveryMs = 30 * secondMs;

const { values } = parseArgs({
  options: {
    inputs: { type: "string" },
    seconds: { type: "string" },
    seed: { type: "string" },
    only: { type: "string" },
    group: { type: "string" },
  },
});
const names = targetNames.filter((name) => values.only === undefined || name === values.only);
if (names.length === 0) throw new Error(`expected one of ${targetNames.join(", ")}, got ${values.only}`);
const seed = Number(values.seed || Math.floor(Math.random() * 2 ** 31));
const secondsMax = Number(values.seconds ?? Number.POSITIVE_INFINITY) / names.length;
const inputsMax = Number(values.inputs ?? (values.seconds ? Number.POSITIVE_INFINITY : 1_000_000));

for (const name of names) if (!(await fuzz(name))) process.exitCode = 1;

async function fuzz(name: TargetName): Promise<boolean> {
  say(values.group ? `fuzzing ${name}, group ${values.group}` : `fuzzing ${name}, SEED=${seed}`);
  const random = seededRandom(seed);
  const beganMs = performance.now();
  const cpuBefore = process.cpuUsage();
  const counts = new Map<string, number>();
  let saidMs = beganMs;
  let begun = 0;
  let inputs = 0;
  let steps = 0;
  let slowestMs = 0;
  let residentBytes = 0;
  let isWell = true;
  const next = (): GroupTask | undefined => {
    const isOver = begun >= inputsMax || performance.now() - beganMs > secondsMax * secondMs;
    if (isOver || !isWell || (values.group && begun > 0)) return undefined;
    // A share of seconds is small, and its groups are too.
    const size = Math.min(
      inputsPerGroup,
      inputsMax - begun,
      secondsMax === Number.POSITIVE_INFINITY ? inputsPerGroup : 2000,
    );
    const group = values.group ? Number(values.group) : random.below(2 ** 32);
    begun += size;
    return { name, seed: group, inputs: values.group ? inputsPerGroup : size };
  };
  const onResult = (task: GroupTask, result: GroupResult) => {
    inputs += result.inputs;
    steps += result.steps;
    slowestMs = Math.max(slowestMs, result.slowestMs);
    residentBytes = Math.max(residentBytes, process.memoryUsage.rss());
    for (const [what, count] of Object.entries(result.counts)) counts.set(what, (counts.get(what) ?? 0) + count);
    if (result.finding) {
      isWell = false;
      tellFinding(task, result.finding);
    }
    if (performance.now() - saidMs < progressEveryMs) return;
    saidMs = performance.now();
    say(`  ${inputs} inputs, ${Math.round(inputs / ((saidMs - beganMs) / secondMs))} a second`);
  };
  await runGroups(next, onResult);
  if (residentBytes > residentBytesMax) {
    isWell = false;
    say(`expected at most ${residentBytesMax / MiB} MiB of memory, got ${Math.round(residentBytes / MiB)}`);
  }
  const { system, user } = process.cpuUsage(cpuBefore);
  const seconds = ((performance.now() - beganMs) / secondMs).toFixed(0);
  say(
    `${name}: ${inputs} inputs (${steps} with those that came again) in ${seconds} s, CPU ${((user + system) / 1e6).toFixed(0)} s`,
  );
  say(`  ${[...counts].map(([what, count]) => `${what} ${count}`).join(", ")}`);
  say(`  the slowest took ${slowestMs.toFixed(0)} ms; memory ${Math.round(residentBytes / MiB)} MiB`);
  say(isWell ? "  no crash, no hang, no disagreement" : "  FAILED");
  return isWell;
}

function tellFinding(
  { name, seed: group }: GroupTask,
  { difference, isMinimised, steps }: NonNullable<GroupResult["finding"]>,
) {
  say(`\nFOUND by node test/fuzz/main.ts --only ${name} --group ${group}\n  ${difference}`);
  say(isMinimised ? "  shown by:" : "  shown only by the whole group; its last steps:");
  for (const step of steps) say(`    ${step}`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
