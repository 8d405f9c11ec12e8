// `make bench-scrape`: what it costs to scrape 5,000 servers, for Heliograph's secondary and, one after the other on the very same
// targets, for vmagent and Prometheus' agent. Prints a table and writes JSON.
//
// Everything runs on loopback: the targets in one process, the contender, and whatever takes its samples. Of each contender only
// the process that scrapes is measured, by its user and system time over a steady window, so that other work on the machine
// disturbs little.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { addressOfTarget } from "#/cli/fleet/values.ts";
import type { Contender, Course } from "#/test/bench/scrape/contender.ts";
import { type Crew, openCrew } from "#/test/bench/scrape/crew.ts";
import { heliographContender, type SecondaryOptions } from "#/test/bench/scrape/heliograph.ts";
import { commitOf, descriptorsAllowed, machineOf } from "#/test/bench/scrape/machine.ts";
import { type Measurement, measure } from "#/test/bench/scrape/measure.ts";
import { prometheusContender, vmagentContender } from "#/test/bench/scrape/peers.ts";
import { type ScenarioReport, tableOf, verdictsOf } from "#/test/bench/scrape/report.ts";
import { groupsOf, type Scenario, scenarios, seriesKept, tlsServerName } from "#/test/bench/scrape/scenario.ts";
import { firstAddress, type TargetsReady } from "#/test/bench/scrape/targets.ts";
import { makeAuthority } from "#/test/support/certificates.ts";

const help = `make bench-scrape [SCENARIO=100@15,1000@15] [PEERS=vmagent,prometheus] [WINDOW=60] [WARMUP=40] [TARGETS=5000] [OUT=file.json]
  SCENARIO  of ${scenarios.map(({ name }) => name).join(", ")}; those without TLS unless given
  PEERS     of vmagent, prometheus, none; by default vmagent, and prometheus for 100@15
  WINDOW    seconds that are measured; WARMUP seconds before
  THREADS   of the secondary; 1 unless given
  PROFILE   a folder where the secondary leaves a CPU profile`;

/** Sockets of a target in one process, and files beside them. */
const descriptorsPerTarget = 2;
const descriptorsBeside = 500;

const say = (sentence: string) => void process.stderr.write(`${sentence}\n`);

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      scenario: { type: "string", default: "" },
      peers: { type: "string", default: "" },
      targets: { type: "string", default: "5000" },
      window: { type: "string", default: "60" },
      warmup: { type: "string", default: "40" },
      out: { type: "string", default: "" },
      profile: { type: "string", default: "" },
      threads: { type: "string", default: "1" },
      "node-options": { type: "string", default: "" },
      keep: { type: "boolean", default: false },
      "peers-only": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${help}\n`);
    return 0;
  }
  const wanted =
    values.scenario === "" ? scenarios.filter(({ tls }) => !tls).map(({ name }) => name) : values.scenario.split(",");
  const chosen = wanted.map((name) => scenarios.find((known) => known.name === name) ?? unknown("SCENARIO", name));
  const targets = Number(values.targets);
  checkDescriptors(targets);

  const dir = await mkdtemp(join(tmpdir(), "heliograph-bench-"));
  const crew = openCrew(dir);
  const interrupted = () => {
    void crew.close().then(() => process.exit(130));
  };
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);
  const reports: ScenarioReport[] = [];
  const result = () => ({
    at: new Date().toISOString(),
    commit: commitOf(),
    machine: machineOf(),
    command: `make bench-scrape SCENARIO=${wanted.join(",")} PEERS=${values.peers} WINDOW=${values.window} WARMUP=${values.warmup} TARGETS=${targets}`,
    scenarios: reports.map((report) => ({ ...report, verdicts: verdictsOf(report) })),
  });
  try {
    for (const scenario of chosen) {
      const contenders = contendersOf(scenario, values.peers, secondaryOptionsOf(values), values["peers-only"]);
      const report = await runScenario(scenario, contenders, { dir, targets, ...times(values) });
      reports.push(report);
      process.stdout.write(`\n${tableOf(report)}\n`);
      if (values.out !== "") {
        await mkdir(dirname(resolve(values.out)), { recursive: true });
        await writeFile(values.out, `${JSON.stringify(result(), null, 1)}\n`);
      }
    }
    process.stdout.write(`\n${machineOf()}\ncommit ${commitOf()}\n`);
    return reports.some(({ failed }) => Object.keys(failed).length > 0) ? 1 : 0;
  } finally {
    await crew.close();
    if (values.keep) say(`What every process said is in ${dir}.`);
    else await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  }
}

function times({ warmup, window }: { readonly warmup: string; readonly window: string }) {
  return { warmUpMs: Number(warmup) * 1000, windowMs: Number(window) * 1000 };
}

/** Of the secondary; no options of Node as it ships. */
function secondaryOptionsOf(values: {
  readonly profile: string;
  readonly "node-options": string;
  readonly threads: string;
}): SecondaryOptions {
  const profiled = `--cpu-prof --cpu-prof-dir=${resolve(values.profile)} --cpu-prof-interval=500`;
  const nodeOptions = [values["node-options"], values.profile === "" ? "" : profiled].join(" ").trim();
  return { threads: Number(values.threads), ...(nodeOptions !== "" && { env: { NODE_OPTIONS: nodeOptions } }) };
}

function contendersOf(
  scenario: Scenario,
  peers: string,
  secondary: SecondaryOptions,
  peersOnly: boolean,
): readonly Contender[] {
  const byName: Readonly<Record<string, Contender>> = { vmagent: vmagentContender, prometheus: prometheusContender };
  const usual = scenario.name === "100@15" ? ["vmagent", "prometheus"] : ["vmagent"];
  const names = peers === "" ? usual : peers.split(",").filter((name) => name !== "none");
  return [
    ...(peersOnly ? [] : [heliographContender(secondary)]),
    ...names.map((name) => byName[name] ?? unknown("PEERS", name)),
  ];
}

function unknown(option: string, name: string): never {
  throw new Error(`${option}: "${name}" is unknown.\n${help}`);
}

interface RunOptions {
  readonly dir: string;
  readonly targets: number;
  readonly warmUpMs: number;
  readonly windowMs: number;
}

async function runScenario(
  scenario: Scenario,
  contenders: readonly Contender[],
  { dir, targets, warmUpMs, windowMs }: RunOptions,
): Promise<ScenarioReport> {
  const own = join(dir, scenario.name);
  await mkdir(own);
  const crew: Crew = openCrew(own);
  const authority = scenario.tls && (await makeAuthority());
  try {
    const files = await authority?.issue("targets", undefined, `DNS:${tlsServerName}`);
    const program = join(import.meta.dirname, "targets.ts");
    const args = ["--max-semi-space-size=8", program, `--targets=${targets}`, `--recording=${scenario.recording}`];
    if (files) args.push(`--cert=${files.cert_file}`, `--key=${files.key_file}`);
    const server = crew.start("targets", process.execPath, args, { ipc: true });
    const ready = await server.message<TargetsReady>();
    const addresses = Array.from({ length: targets }, (_, i) => `${addressOfTarget(firstAddress, i)}:${ready.port}`);
    const measurements: Measurement[] = [];
    const failed: Record<string, string> = {};
    const kept = seriesKept(ready.heads);
    for (const contender of contenders) {
      say(`${scenario.name}: ${contender.name}, for ${(warmUpMs + windowMs) / 1000} s.`);
      const ownDir = join(own, contender.name);
      await mkdir(ownDir);
      const ownCrew = openCrew(ownDir);
      const groups = groupsOf(addresses);
      const course: Course = { crew: ownCrew, scenario, groups, targets, caFile: files?.ca_file, say };
      try {
        const options = { course, targets: server, addresses, series: ready.series, seriesKept: kept };
        const load = () => loadavg()[0]!;
        measurements.push(await measure(contender, { ...options, warmUpMs, windowMs, load }));
      } catch (error) {
        failed[contender.name] = (error as Error).message;
        say(`${contender.name} could not be measured: ${(error as Error).message}`);
      } finally {
        await ownCrew.close();
      }
    }
    const { bytes, changing, series } = ready;
    return { scenario, targets, series, seriesKept: kept, bodyBytes: bytes, changing, measurements, failed };
  } finally {
    await crew.close();
    await authority?.close();
  }
}

/** The targets need a listener and a connection each. */
function checkDescriptors(targets: number): void {
  const limit = descriptorsAllowed();
  const needed = targets * descriptorsPerTarget + descriptorsBeside;
  if (limit >= needed) return;
  throw new Error(`${targets} targets need ${needed} open files, and ${limit} are allowed: ulimit -n ${needed}`);
}
