// `make soak`: a full secondary for half an hour, with one target in a hundred hostile. Nobody else may be scraped late, memory may
// not grow, and every failure must have a name. Prints tables, and ends with 1 when a bound is broken.
//
// A real secondary, primary and NATS server in processes of their own, as in the benchmarks (test/bench/scrape).

import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { addressOfTarget } from "#/cli/fleet/values.ts";
import { getJson } from "#/cli/http.ts";
import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { ActiveTarget } from "#/secondary/page/answer.ts";
import { costOf, openCrew, tailOf } from "#/test/bench/scrape/crew.ts";
import { startHeliograph } from "#/test/bench/scrape/heliograph.ts";
import { commitOf, machineOf } from "#/test/bench/scrape/machine.ts";
import { lateMs } from "#/test/bench/scrape/measure.ts";
import { groupsOf, type Scenario, scenarios } from "#/test/bench/scrape/scenario.ts";
import { type Arrivals, firstAddress, type TargetsReady } from "#/test/bench/scrape/targets.ts";
import type { Pause } from "#/test/soak/canary.ts";
import { firstHostileAddress, type HostileReady, hostileKinds, type KindName, kinds } from "#/test/soak/hostile.ts";
import {
  countFailures,
  type FailureSeen,
  type MemoryLook,
  punctualityOf,
  slopeBytesPerMinuteMax,
  slopeOf,
} from "#/test/soak/judge.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    targets: { type: "string", default: "5000" },
    scenario: { type: "string", default: "1000@15" },
    threads: { type: "string", default: "1" },
  },
});
const soakMs = Number(values.minutes) * minuteMs;
const targetCount = Number(values.targets);
const hostileCount = Math.max(1, Math.round(targetCount / 100));
/** The first scrape of each target is learnt, and the kernel and the compilers warm up. */
const warmUpMs = Math.min(2 * minuteMs, soakMs / 5);
/** Memory is judged by this last part. */
const slopeMs = Math.min(20 * minuteMs, (soakMs * 2) / 3);
const lookEveryMs = 5 * secondMs;
const failuresEveryMs = 15 * secondMs;
const saidEveryMs = 2 * minuteMs;
const timeoutMs = 30 * secondMs;

const say = (line: string) => void process.stdout.write(`${line}\n`);
const scenario = scenarios.find(({ name }) => name === values.scenario);
if (!scenario)
  throw new Error(`--scenario: expected one of ${scenarios.map(({ name }) => name)}, got ${values.scenario}`);
process.exitCode = await soak(scenario);

interface TargetsAnswer {
  readonly data: { readonly activeTargets: readonly ActiveTarget[] };
}

async function soak(scenario: Scenario): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-soak-"));
  const crew = openCrew(dir);
  process.once("SIGINT", () => void crew.close().then(() => process.exit(130)));
  try {
    const bench = join(import.meta.dirname, "..", "bench", "scrape", "targets.ts");
    const wellCount = targetCount - hostileCount;
    const node = ["--max-semi-space-size=8"];
    const args = [...node, bench, `--targets=${wellCount}`, `--recording=${scenario.recording}`];
    const well = crew.start("targets", process.execPath, args, { ipc: true });
    const { port, series } = await well.message<TargetsReady>();
    const hostileArgs = [join(import.meta.dirname, "hostile.ts"), `--count=${hostileCount}`];
    const hostile = crew.start("hostile", process.execPath, hostileArgs, { ipc: true });
    const { port: hostilePort } = await hostile.message<HostileReady>();
    const canary = crew.start("canary", process.execPath, [join(import.meta.dirname, "canary.ts")], { ipc: true });
    const addresses = Array.from({ length: wellCount }, (_, i) => `${addressOfTarget(firstAddress, i)}:${port}`);
    const kindOf = new Map<string, KindName>(
      hostileKinds(hostileCount).map((kind, i) => [`${addressOfTarget(firstHostileAddress, i)}:${hostilePort}`, kind]),
    );
    const groups = groupsOf([...addresses, ...kindOf.keys()]);
    const course = { crew, scenario, groups, targets: targetCount, caFile: undefined, say };
    const running = await startHeliograph(course, { threads: Number(values.threads) });
    try {
      say(`${wellCount} targets of ${series} series and ${hostileCount} hostile ones, for ${values.minutes} minutes.`);
      await sleep(warmUpMs);
      const dueMs = await running.dueMs!();
      await well.message<Arrivals>("arrivals");
      await canary.message<readonly Pause[]>("pauses");
      const before = await running.ownCount();
      const beganMs = performance.now();
      const times: number[][] = addresses.map(() => []);
      const pauses: Pause[] = [];
      const memory: MemoryLook[] = [];
      const failures: FailureSeen[] = [];
      const wellFailed = new Map<string, string>();
      let saidMs = beganMs;
      let lookedMs = Number.NEGATIVE_INFINITY;
      let loadMax = 0;
      const cpuBefore = costOf(running.pid).cpuUs;
      while (performance.now() - beganMs < soakMs - warmUpMs) {
        await sleep(lookEveryMs);
        const ended = running.ended() ?? well.ended() ?? hostile.ended();
        if (ended !== undefined) throw new Error(`a process ${ended}:\n${tailOf(running.logFile)}`);
        const nowMs = performance.now();
        const { residentBytes } = costOf(running.pid);
        memory.push({ timeMs: nowMs, residentBytes });
        loadMax = Math.max(loadMax, loadavg()[0]!);
        if (nowMs - lookedMs < failuresEveryMs) continue;
        lookedMs = nowMs;
        const find = encodeURIComponent(firstHostileAddress.split(".").slice(0, 2).join("."));
        for (const target of await targetsOf(`${running.page}/api/v1/targets?find=${find}`)) {
          const kind = kindOf.get(new URL(target.scrapeUrl).host);
          const outcome = target.heliograph.outcome as FailureSeen["outcome"] | null;
          if (kind && outcome) failures.push({ kind, outcome, error: target.lastError });
        }
        for (const condition of ["failing", "missed", "partial"]) {
          for (const target of await targetsOf(`${running.page}/api/v1/targets?show=${condition}`)) {
            const { host } = new URL(target.scrapeUrl);
            if (!kindOf.has(host)) wellFailed.set(host, `${target.heliograph.outcome}: ${target.lastError}`);
          }
        }
        pauses.push(...(await canary.message<readonly Pause[]>("pauses")));
        for (const [i, list] of (await well.message<Arrivals>("arrivals")).entries()) times[i]!.push(...list);
        if (nowMs - saidMs < saidEveryMs) continue;
        saidMs = nowMs;
        const minutes = ((nowMs - beganMs + warmUpMs) / minuteMs).toFixed(0);
        say(`  ${minutes} min: ${megabytes(residentBytes)} MB, load ${loadavg()[0]!.toFixed(1)}`);
      }
      const own = await running.ownCount();
      const cpuShare = (costOf(running.pid).cpuUs - cpuBefore) / 1000 / (performance.now() - beganMs);
      const { intervalMs } = scenario;
      const slotOf = (target: number, arrivalMs: number) => dueMs(addresses[target]!, arrivalMs);
      const seen = punctualityOf(times, slotOf, { intervalMs, lateMs, pauses });
      const late = seen.late - seen.lateByMachine;
      const missing = seen.missing - seen.missingByMachine;
      const pausedSeconds = pauses.reduce((sum, { fromMs, untilMs }) => sum + untilMs - fromMs, 0) / secondMs;
      const last = memory.filter(({ timeMs }) => timeMs >= memory.at(-1)!.timeMs - slopeMs);
      const slope = slopeOf(last);
      const counted = countFailures(failures);
      const residentMax = memory.reduce((most, { residentBytes }) => Math.max(most, residentBytes), 0);
      const bounds: readonly (readonly [what: string, value: string, bound: string, holds: boolean])[] = [
        [`scrapes later than ${lateMs} ms, among ${seen.due} of well targets`, `${late}`, "0", late === 0],
        ["their scrapes that never came", `${missing}`, "0", missing === 0],
        [
          `the same while the machine itself was held up (${pauses.length} times, ${pausedSeconds.toFixed(0)} s)`,
          `${seen.lateByMachine}, ${seen.missingByMachine}`,
          "",
          true,
        ],
        ["their scrapes that failed or were partial, when looked at", `${wellFailed.size}`, "0", wellFailed.size === 0],
        ["lateness, median and most, ms", `${seen.medianMs.toFixed(1)}, ${seen.mostMs.toFixed(0)}`, "", true],
        [
          `memory's slope over the last ${(slopeMs / minuteMs).toFixed(0)} minutes, MB a minute`,
          (slope / 1e6).toFixed(2),
          `${slopeBytesPerMinuteMax / 1e6}`,
          slope <= slopeBytesPerMinuteMax,
        ],
        [
          "memory at its end and most, MB",
          `${megabytes(memory.at(-1)!.residentBytes)}, ${megabytes(residentMax)}`,
          "",
          true,
        ],
        ["CPU, share of a core", cpuShare.toFixed(3), "", true],
        ["load of the machine, most", loadMax.toFixed(1), "", true],
        [
          "failures without a name, or of a kind that is not expected",
          `${unnamed(counted)}`,
          "0",
          unnamed(counted) === 0,
        ],
      ];
      say("\n| what | seen | bound |\n| --- | --- | --- |");
      for (const [what, value, bound, holds] of bounds)
        say(`| ${what} | ${value}${holds ? "" : " **broken**"} | ${bound} |`);
      say("\n| hostile | outcome | looks | what is said of it |\n| --- | --- | --- | --- |");
      for (const { isNamed, kind, outcome, seen, sentence } of counted) {
        say(
          `| ${kinds[kind].does} | ${outcome}${isNamed ? "" : " **unexpected**"} | ${seen} | ${sentence.replaceAll("|", "\\|")} |`,
        );
      }
      say(`\nas the secondary counts: ${JSON.stringify(own.failures)}, late ${own.late - before.late}`);
      for (const [host, why] of [...wellFailed].slice(0, 5)) say(`well target ${host}: ${why}`);
      say(`${machineOf()}\ncommit ${commitOf()}`);
      return bounds.every(([, , , holds]) => holds) ? 0 : 1;
    } finally {
      await running.close();
    }
  } finally {
    await crew.close();
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

function unnamed(counted: ReturnType<typeof countFailures>): number {
  return counted.reduce((sum, { isNamed, seen }) => sum + (isNamed ? 0 : seen), 0);
}

async function targetsOf(url: string): Promise<readonly ActiveTarget[]> {
  return (await getJson<TargetsAnswer>(url, { timeoutMs })).data.activeTargets;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
