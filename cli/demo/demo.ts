// Runs the demo from its first check to its last process.

import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { complain, say } from "#/cli/command.ts";
import { setprivPath } from "#/cli/demo/child.ts";
import { demoControl } from "#/cli/demo/control.ts";
import { writeDemoFiles } from "#/cli/demo/files.ts";
import { keysOf } from "#/cli/demo/keys.ts";
import { startNetwork } from "#/cli/demo/network.ts";
import { type DemoPlan, type DemoSizes, planDemo, portSpan, secondariesMax } from "#/cli/demo/plan.ts";
import { takenPorts } from "#/cli/demo/ports.ts";
import { createScreen } from "#/cli/demo/screen.ts";
import { type DemoTools, nodeOptions, Supervisor } from "#/cli/demo/supervisor.ts";
import { Watch } from "#/cli/demo/watch.ts";
import { rowsMax, rowsMin } from "#/cli/fleet/rows.ts";
import { exitCodes, type ParsedOptions, UsageError } from "#/cli/options.ts";
import { stopAsked } from "#/cli/stop.ts";
import { findTool, ToolMissing } from "#/cli/tools.ts";
import { type Clock, systemClock } from "#/lib/clock/clock.ts";
import { lockDirectory } from "#/lib/journal/lock.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { systemRandom } from "#/lib/random/random.ts";
import { exposeProcess, systemProcessProbe } from "#/lib/telemetry/process.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";

/** Below the ports that the kernel hands out by itself (from 32768 on). */
const freeBaseMin = 15_000;
const freeBaseMax = 32_000;
const freeBaseTries = 50;
/** Another demo on the same ports takes all of them: a few tell enough. */
const takenShownMax = 3;

/** A few seconds are usual; a machine that needs longer has other troubles. */
const warmMsMax = 30_000;

/** Two secondaries a data centre could not take more between them. */
const targetsMax = 10_000;

export async function runDemo(options: ParsedOptions): Promise<number> {
  const clock = systemClock();
  const startedMs = clock.monotonicMs();
  const sizes = readSizes(options);
  const stop = stopAsked();
  const kept = options.text("data");
  if (kept === undefined) await removeLeftovers();
  const dataDir = kept === undefined ? await mkdtemp(join(tmpdir(), temporaryPrefix)) : resolve(kept);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = await lockDirectory(dataDir);
  try {
    const tools = await findTools(options.isSet("no-node-exporter"));
    if (!tools) return exitCodes.failed;
    const plan = await freePlan({ ...sizes, dataDir, withNodeExporter: tools.nodeExporter !== undefined });
    if (!plan) return exitCodes.failed;
    await writeDemoFiles(plan);
    return await runPlanned({ plan, tools, clock, startedMs, stop, kept: kept !== undefined });
  } finally {
    await lock.release();
    if (kept === undefined) await rm(dataDir, { recursive: true, force: true });
  }
}

const temporaryPrefix = "heliograph-demo-";

/** Temporary directories of demos that were killed before they could remove them: their locks name nobody who lives. */
async function removeLeftovers(): Promise<void> {
  for (const name of (await readdir(tmpdir())).filter((entry) => entry.startsWith(temporaryPrefix))) {
    const dir = join(tmpdir(), name);
    // One without a lock may be about to take it.
    if (!(await isThere(join(dir, "lock"), constants.R_OK | constants.W_OK))) continue;
    try {
      await lockDirectory(dir);
    } catch {
      // Its demo lives.
      continue;
    }
    await rm(dir, { recursive: true, force: true });
  }
}

async function runPlanned(options: {
  readonly plan: DemoPlan;
  readonly tools: DemoTools;
  readonly clock: Clock;
  readonly startedMs: number;
  readonly stop: Promise<unknown>;
  readonly kept: boolean;
}): Promise<number> {
  const { plan, tools, clock, startedMs, stop, kept } = options;
  const screen = createScreen({ output: process.stdout, now: () => clock.nowMs() });
  const env = { NODE_COMPILE_CACHE: join(plan.dataDir, "compile-cache"), ...process.env };
  const network = await startNetwork(plan.relays);
  const supervisor = new Supervisor({ plan, network, tools, env, clock, onEvent: (sentence) => screen.tell(sentence) });
  const killAll = () => supervisor.killAll();
  process.on("exit", killAll);

  const ending = new AbortController();
  let announced = false;
  const watch = new Watch({
    supervisor,
    clock,
    startedMs,
    onLook() {
      const view = watch.view();
      if (view.readyAfterMs !== undefined && !announced) {
        announced = true;
        screen.print(readyText(plan, view.readyAfterMs, kept));
      }
      screen.draw(view);
    },
  });
  const metrics = createRegistry({ tier: "tool" });
  exposeProcess(metrics, { tier: "tool", name: "demo" }, systemProcessProbe());
  const control = demoControl({ supervisor, watch, metrics, log: silentLogger() });
  const keys = keysOf({ input: process.stdin, supervisor, watch, tell: (sentence) => screen.tell(sentence) });
  try {
    await control.start();
    screen.tell(`Starting ${plan.processes.length} processes; their files and logs are in ${plan.dataDir}.`);
    supervisor.start(({ role }) => role === "nats" || role === "node-exporter");
    await warmCompileCache(env, clock);
    supervisor.start(() => true);
    const watching = watch.run(ending.signal);
    await Promise.race([stop, keys.quit]);
    ending.abort();
    await watching;
    screen.close();
    say("Ending: secondaries first, NATS last.");
    return exitCodes.ok;
  } finally {
    ending.abort();
    keys.close();
    screen.close();
    await supervisor.end();
    await control.close();
    process.off("exit", killAll);
  }
}

function readyText(plan: DemoPlan, readyAfterMs: number, kept: boolean): string {
  const urls = plan.processes.filter(({ role }) => role === "global" || role === "primary");
  return [
    `Ready after ${Math.round(readyAfterMs / 1000)} s.`,
    ...urls.map(({ name, httpUrl }) => `  ${name.padEnd(15)}${httpUrl}/`),
    `  ${"control".padEnd(15)}http://127.0.0.1:${plan.controlPort}/status`,
    `  ${"data".padEnd(15)}${plan.dataDir}${kept ? "" : " (removed at the end)"}`,
  ].join("\n");
}

function readSizes(options: ParsedOptions): Omit<DemoSizes, "dataDir" | "withNodeExporter"> {
  const intervalMs = options.durationMs("interval");
  if (intervalMs < 1000) throw new UsageError("--interval: expected at least 1s");
  return {
    portBase: options.whole("port-base", { min: 0, max: 65_535 - portSpan }),
    targets: options.whole("targets", { min: 2, max: targetsMax }),
    rows: options.whole("rows", { min: rowsMin, max: rowsMax }),
    interval: `${Math.round(intervalMs / 1000)}s`,
    secondaries: options.whole("secondaries", { min: 1, max: secondariesMax }),
    retention: `${Math.ceil(options.durationMs("retention") / 1000)}s`,
  };
}

/** Undefined when what cannot be missing is missing: it has been said what and why. */
async function findTools(withoutNodeExporter: boolean): Promise<DemoTools | undefined> {
  const onProgress = say;
  try {
    const natsServer = await findTool("nats-server", { onProgress });
    const nodeExporter = withoutNodeExporter ? undefined : await findNodeExporter(onProgress);
    const setpriv = (await isThere(setprivPath, constants.X_OK)) ? setprivPath : undefined;
    return { natsServer, nodeExporter, setpriv };
  } catch (error) {
    if (!(error instanceof ToolMissing)) throw error;
    complain(`heliograph demo: ${error.message}`);
    return undefined;
  }
}

async function findNodeExporter(onProgress: (sentence: string) => void): Promise<string | undefined> {
  try {
    return await findTool("prometheus-node-exporter", { onProgress });
  } catch (error) {
    if (!(error instanceof ToolMissing)) throw error;
    say(`Going on without a real node_exporter: ${error.message}.`);
    return undefined;
  }
}

function isThere(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

/** With a port base of 0, one whose ports are all free; undefined, and said why, when the wanted ones are not. */
async function freePlan(sizes: DemoSizes): Promise<DemoPlan | undefined> {
  if (sizes.portBase !== 0) {
    const plan = planDemo(sizes);
    const taken = await takenPorts(plan);
    if (taken.length === 0) return plan;
    for (const { port, use, holder } of taken.slice(0, takenShownMax)) {
      complain(`heliograph demo: port ${port} (${use}) is taken${holder ? ` by ${holder}` : ""}`);
    }
    if (taken.length > takenShownMax) complain(`… and ${taken.length - takenShownMax} more`);
    complain(`End what has them, or choose other ports: --port-base ${sizes.portBase + portSpan} (make run PORT=…)`);
    return undefined;
  }
  const random = systemRandom();
  for (let attempt = 0; attempt < freeBaseTries; attempt++) {
    const plan = planDemo({ ...sizes, portBase: freeBaseMin + random.below(freeBaseMax - freeBaseMin) });
    if ((await takenPorts(plan)).length === 0) return plan;
  }
  complain(`heliograph demo: no ${portSpan} free ports in a row were found between ${freeBaseMin} and ${freeBaseMax}`);
  return undefined;
}

/**
 * Loads once what a dozen processes will load side by side, so that they find it compiled and need not carry the means to strip
 * types: 300 MB together, and a third of the time.
 */
async function warmCompileCache(env: Readonly<Record<string, string | undefined>>, clock: Clock): Promise<void> {
  const root = join(import.meta.dirname, "..", "..");
  const urlOf = (module: string) => JSON.stringify(pathToFileURL(join(root, module)).href);
  const modules = ["secondary/main.ts", "primary/main.ts", "global/main.ts", "cli/fleet/fleet.ts"];
  // The overview loads every command.
  const script = `
    await Promise.all([${modules.map((module) => `import(${urlOf(module)})`).join(", ")}]);
    await (await import(${urlOf("cli/main.ts")})).main(["--help"]);
    process.exit(0);`;
  // With other options of Node there would be another cache.
  const child = spawn(process.execPath, [...nodeOptions, "--input-type=module", "-e", script], {
    env: { ...env },
    stdio: "ignore",
  });
  const timer = clock.after(warmMsMax, () => child.kill("SIGKILL"));
  // That it failed matters to nobody: then each process compiles for itself.
  await new Promise<void>((resolve) => {
    child.once("error", () => resolve());
    child.once("exit", () => resolve());
  });
  timer.cancel();
}
