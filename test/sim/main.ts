// Runs the simulator from the command line:
//
//     node test/sim/main.ts --seeds N [--seed FIRST] [--minutes M] [--seconds WALL] [--shrink] [--verbose] [--small-spools]
//     node test/sim/main.ts --planted [--seeds 200] [--only NAME]
//     SEED=n node test/sim/main.ts        tells the whole story of one seed

import { parseArgs } from "node:util";
import { secondMs } from "#/lib/bytes/units.ts";
import { describe, type FaultKind, faultKinds } from "#/test/sim/faults.ts";
import { plants } from "#/test/sim/planted.ts";
import { runTasks, type Task, type TaskResult } from "#/test/sim/pool.ts";
import { simulate } from "#/test/sim/simulate.ts";

const storyLines = 60;
const progressEveryMs = 30 * secondMs;
/** So much federation time meets every kind of fault. */
const hoursForAllFaults = 20;

/** What DESIGN.md promises and the code does not keep yet, so that the simulator does not ask for it. */
const notPromisedYet = [
  "a primary has what globals alone have (both primaries had missed it when the log lost it)",
  "a hole of what a spool without room dropped, because both primaries hold it, is filled before it is given up",
];

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    seed: { type: "string" },
    minutes: { type: "string" },
    seconds: { type: "string" },
    only: { type: "string" },
    shrink: { type: "boolean" },
    "small-spools": { type: "boolean" },
    planted: { type: "boolean" },
    verbose: { type: "boolean" },
  },
});
const wanted = process.env.SEED ?? values.seed;
const first = Number(wanted ?? Math.floor(Math.random() * 2 ** 31));
const smallSpools = values["small-spools"] ?? false;
const minutes = Number(values.minutes ?? 60);
const endMs = performance.now() + Number(values.seconds ?? Number.POSITIVE_INFINITY) * secondMs;

if (values.planted) await searchPlants(Number(values.seeds ?? 200));
else if (wanted !== undefined && values.seeds === undefined) await tellSeed();
else process.exitCode = await runSeeds(Number(values.seeds ?? 1));

async function runSeeds(seeds: number): Promise<number> {
  const hits = new Map<FaultKind, number>(faultKinds.map((kind) => [kind, 0]));
  const failed: number[] = [];
  const beganMs = performance.now();
  let saidMs = beganMs;
  let begun = 0;
  let done = 0;
  let faults = 0;
  let cpuSeconds = 0;
  let interruptedMs = Number.POSITIVE_INFINITY;
  process.on("SIGINT", () => {
    const nowMs = performance.now();
    if (nowMs - interruptedMs > secondMs) process.exit(130);
    if (interruptedMs < nowMs) return; // The same one, by way of make.
    interruptedMs = nowMs;
    say("interrupted: the account follows when the seeds under way have ended; once more ends it now");
  });
  const next = (): Task | undefined => {
    if (begun === seeds || performance.now() > Math.min(endMs, interruptedMs)) return undefined;
    return { seed: first + begun++, minutes, shrinks: values.shrink ?? false, smallSpools };
  };
  const hoursDone = () => (done * minutes) / 60;
  const take = ({ seed }: Task, { cpuSeconds: ofSeed, result }: TaskResult) => {
    done++;
    cpuSeconds += ofSeed;
    faults += result.faults.length;
    for (const [kind, count] of result.hits) hits.set(kind, hits.get(kind)! + count);
    if (values.verbose || result.violations.length > 0) say(lineOf(result));
    if (result.violations.length > 0) {
      failed.push(seed);
      tell(result);
    }
    if (performance.now() - saidMs < progressEveryMs) return;
    saidMs = performance.now();
    const leftMinutes = (((saidMs - beganMs) / done) * (seeds - done)) / (60 * secondMs);
    const perHour = (cpuSeconds / hoursDone()).toFixed(1);
    say(
      `${done} of ${seeds} seeds, ${failed.length} failed, ${perHour} CPU s an hour, ${leftMinutes.toFixed(0)} min left`,
    );
  };
  const bound = values.seconds ? `as many as ${values.seconds} s are enough for` : String(seeds);
  say(`simulating seeds from ${first} on: ${bound}, ${minutes} min of federation time each`);
  await runTasks(next, take);
  const minutesTaken = ((performance.now() - beganMs) / (60 * secondMs)).toFixed(1);
  say(
    `\n${done} seeds, ${first} to ${first + done - 1}: ${hoursDone().toFixed(1)} h of federation time and its healing`,
  );
  say(`${faults} faults, ${(faults / (hoursDone() * 60)).toFixed(2)} a minute`);
  say(
    `CPU ${cpuSeconds.toFixed(0)} s, ${(cpuSeconds / hoursDone()).toFixed(1)} s an hour; ${minutesTaken} min by the clock`,
  );
  say("faults that hit:");
  for (const [kind, count] of hits) say(`  ${kind.padEnd(18)} ${count}`);
  say("not promised yet, and so not asked for:");
  for (const each of notPromisedYet) say(`  ${each}`);
  say(failed.length === 0 ? "all promises held" : `FAILED seeds: ${failed.join(" ")}`);
  const idle = [...hits].filter(([, count]) => count === 0).map(([kind]) => kind);
  if (idle.length > 0 && hoursDone() >= hoursForAllFaults) {
    say(`never hit: ${idle.join(" ")}`);
    return 1;
  }
  return failed.length === 0 ? 0 : 1;
}

async function tellSeed(): Promise<void> {
  const { hits, ...result } = await simulate({ seed: first, minutes, smallSpools });
  say(lineOf({ ...result, hits: [...hits] }));
  for (const line of result.story) say(`  ${line}`);
  tell({ ...result, hits: [...hits], story: [] });
  process.exitCode = result.violations.length === 0 ? 0 : 1;
}

function lineOf({ counts, faults, seed, steps, violations }: TaskResult["result"]): string {
  const counted = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  const verdict = violations.length === 0 ? "ok" : "FAILED";
  return `seed ${seed}: ${verdict}, ${steps} steps, ${faults.length} faults, ${counted.join(", ")}`;
}

function tell({ faults, seed, story, violations }: TaskResult["result"]): void {
  say(`\nSEED=${seed} node test/sim/main.ts --minutes ${minutes}`);
  for (const { code, message, step, timeMs } of violations)
    say(`  step ${step}, ${timeMs.toFixed(0)} ms: ${code}: ${message}`);
  say("  faults:");
  for (const fault of faults) say(`    ${describe(fault)}`);
  for (const line of story.slice(-storyLines)) say(`  ${line}`);
}

async function searchPlants(seedsMax: number): Promise<void> {
  say("| planted bug | what it does | found after seeds | as |\n| --- | --- | --- | --- |");
  for (const plant of plants) {
    if (values.only !== undefined && plant.name !== values.only) continue;
    let begun = 0;
    let found: { readonly seeds: number; readonly seed: number; readonly code: string } | undefined;
    const next = (): Task | undefined =>
      found || begun === seedsMax || performance.now() > endMs
        ? undefined
        : { seed: first + begun++, minutes, plant: plant.name };
    // Two seeds may end in either order: the earlier one counts.
    await runTasks(next, ({ seed }, { result: { violations } }) => {
      const seeds = seed - first + 1;
      if (violations.length > 0 && (!found || seeds < found.seeds)) found = { seeds, seed, code: violations[0]!.code };
    });
    const as = found ? `${found.code} (seed ${found.seed})` : "-";
    say(`| ${plant.name} | ${plant.what} | ${found ? found.seeds : `not in ${begun}`} | ${as} |`);
    if (!found) process.exitCode = 1;
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
