// `make bench-limit`: how many targets one secondary carries before the first scrape begins over 250 ms after its slot, as it counts
// itself. The number goes up by steps while it runs, is halved in between when it was too high, and what bounds it is told.
//
// Every second by default, because at 15 s a process' open files end before a core does.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { addressOfTarget } from "#/cli/fleet/values.ts";
import { costOf, type Member, openCrew, type ProcessCost } from "#/test/bench/scrape/crew.ts";
import { startHeliograph } from "#/test/bench/scrape/heliograph.ts";
import { commitOf, descriptorsAllowed, machineOf } from "#/test/bench/scrape/machine.ts";
import { groupsOf, type Scenario, scenarios } from "#/test/bench/scrape/scenario.ts";
import type { TargetsReady } from "#/test/bench/scrape/targets.ts";

const { values } = parseArgs({
  options: {
    scenario: { type: "string", default: "100@1" },
    step: { type: "string", default: "2500" },
    window: { type: "string", default: "20" },
    warmup: { type: "string", default: "15" },
    threads: { type: "string", default: "1" },
  },
});

/** Of a secondary: for its spool, its streams, its page. */
const descriptorsBeside = 300;
/** Not worth another window. */
const precision = 500;
/** A process has a listener and a connection a target. */
const targetsPerProcess = Math.floor((descriptorsAllowed() - descriptorsBeside) / 2);

interface Step {
  readonly targets: number;
  readonly late: number;
  readonly failed: number;
  readonly mainShare: number;
  /** Of the thread that has most to do; the main one where there is but one. */
  readonly busiestShare: number;
  readonly cpuShare: number;
  readonly machineIdleShare: number;
  readonly usPerScrape: number;
}

const say = (sentence: string) => void process.stdout.write(`${sentence}\n`);

const scenario = scenarios.find(({ name }) => name === values.scenario);
if (!scenario)
  throw new Error(`SCENARIO: expected one of ${scenarios.map(({ name }) => name)}, got ${values.scenario}`);
await limit(scenario);

async function limit(scenario: Scenario): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-limit-"));
  const crew = openCrew(dir);
  process.once("SIGINT", () => void crew.close().then(() => process.exit(130)));
  try {
    const targetsMax = descriptorsAllowed() - descriptorsBeside;
    const addresses = await startTargets(scenario, targetsMax, (name, args) =>
      crew.start(name, process.execPath, args, { ipc: true }),
    );
    const stepTargets = Number(values.step);
    const heliograph = await startHeliograph(
      {
        crew,
        scenario,
        groups: groupsOf(addresses.slice(0, stepTargets)),
        targets: stepTargets,
        caFile: undefined,
        say,
      },
      { threads: Number(values.threads) },
    );
    try {
      let good: Step | undefined;
      let bad: Step | undefined;
      for (let next = stepTargets; ; ) {
        await heliograph.retarget(groupsOf(addresses.slice(0, next)), next);
        await sleep(Number(values.warmup) * 1000);
        const step = await look(heliograph, next, scenario.intervalMs);
        say(told(step));
        if (step.late > 0) bad = step;
        else good = step;
        const between = bad ? Math.round(((good?.targets ?? 0) + bad.targets) / 2 / precision) * precision : 0;
        next = bad ? between : Math.min(next + stepTargets, targetsMax);
        if (next === good?.targets || next === bad?.targets || next === 0) break;
      }
      say(verdict(good, bad, targetsMax, scenario));
      say(`${machineOf()}\ncommit ${commitOf()}`);
    } finally {
      await heliograph.close();
    }
  } finally {
    await crew.close();
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function startTargets(
  scenario: Scenario,
  targets: number,
  start: (name: string, args: readonly string[]) => Member,
): Promise<readonly string[]> {
  const program = join(import.meta.dirname, "targets.ts");
  const addresses: string[] = [];
  for (let from = 0, part = 0; from < targets; from += targetsPerProcess, part++) {
    const count = Math.min(targetsPerProcess, targets - from);
    const first = `127.${90 + part}.0.1`;
    const args = [program, `--targets=${count}`, `--first=${first}`, `--recording=${scenario.recording}`];
    const { port } = await start(`targets-${part}`, args).message<TargetsReady>();
    for (let i = 0; i < count; i++) addresses.push(`${addressOfTarget(first, i)}:${port}`);
  }
  return addresses;
}

async function look(
  heliograph: Awaited<ReturnType<typeof startHeliograph>>,
  targets: number,
  intervalMs: number,
): Promise<Step> {
  const windowMs = Number(values.window) * 1000;
  const before = { own: await heliograph.ownCount(), cost: costOf(heliograph.pid), machine: await machineTimes() };
  await sleep(windowMs);
  const after = { own: await heliograph.ownCount(), cost: costOf(heliograph.pid), machine: await machineTimes() };
  const us = (of: (cost: ProcessCost) => number) => of(after.cost) - of(before.cost);
  const cpuUs = us(({ cpuUs }) => cpuUs);
  const busiestUs = Math.max(...[...after.cost.threadsUs].map(([id, us]) => us - (before.cost.threadsUs.get(id) ?? 0)));
  return {
    targets,
    late: after.own.late - before.own.late,
    failed: after.own.failed - before.own.failed,
    mainShare: us(({ mainUs }) => mainUs) / 1000 / windowMs,
    busiestShare: busiestUs / 1000 / windowMs,
    cpuShare: cpuUs / 1000 / windowMs,
    machineIdleShare: (after.machine.idle - before.machine.idle) / (after.machine.all - before.machine.all),
    usPerScrape: cpuUs / ((targets * windowMs) / intervalMs),
  };
}

/** Of all processors together, in ticks (proc(5)). */
async function machineTimes(): Promise<{ readonly idle: number; readonly all: number }> {
  const [, ...times] = (await readFile("/proc/stat", "latin1")).split("\n")[0]!.split(/ +/).map(Number);
  return { idle: times[3]!, all: times.slice(0, 8).reduce((sum, time) => sum + time, 0) };
}

function told(step: Step): string {
  const { busiestShare, cpuShare, failed, late, machineIdleShare, mainShare, targets, usPerScrape } = step;
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  return `${targets} targets: ${late} late, ${failed} failed; ${percent(mainShare)} of a core in the main thread, ${percent(busiestShare)} in the busiest, ${percent(cpuShare)} in all, ${usPerScrape.toFixed(1)} µs a scrape; the machine is ${percent(machineIdleShare)} idle`;
}

function verdict(
  good: Step | undefined,
  bad: Step | undefined,
  targetsMax: number,
  { intervalMs, name }: Scenario,
): string {
  const every = `every ${intervalMs / 1000} s (${name})`;
  if (!good) return `No step was without late scrapes ${every}.`;
  const carried = `${good.targets} targets ${every} are carried`;
  if (!bad) return `${carried}; a process may not have more than ${targetsMax} connections here (ulimit -n).`;
  const bound =
    bad.busiestShare > 0.9
      ? `the core of the ${bad.busiestShare > bad.mainShare ? "busiest" : "main"} thread is full`
      : bad.machineIdleShare < 0.1
        ? `the machine's ${cpus().length} cores are full, of which the secondary has ${bad.cpuShare.toFixed(2)}: the rest is targets, primary, log and other work`
        : "the event loop stood still for over 250 ms, with time to spare on the core";
  return `${carried}, and ${bad.targets} are not: ${bound}.`;
}
