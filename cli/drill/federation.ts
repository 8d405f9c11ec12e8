// The demo that the drill hurts, as its control address tells of it.

import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setprivPath } from "#/cli/demo/child.ts";
import { controlFileName } from "#/cli/demo/files.ts";
import type { CutDirection } from "#/cli/demo/network.ts";
import type { PlannedDatacenter } from "#/cli/demo/plan.ts";
import type { DemoView, ProcessView } from "#/cli/demo/watch.ts";
import { addressOfTarget } from "#/cli/fleet/values.ts";
import { CallError, call, getJson } from "#/cli/http.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { StatusAnswer } from "#/lib/model/status.ts";

/** What `/status` of the demo's control answers. */
export interface DemoStatus extends DemoView {
  readonly datacenters: readonly PlannedDatacenter[];
  readonly fleet: {
    readonly firstAddress: string;
    readonly port: number;
    readonly controlPort: number;
    readonly targets: number;
    readonly rows: number;
  };
  readonly interval: string;
  readonly dataDir: string;
}

/** A cold start on a slow machine, with everything still to be fetched. */
const readyMsMax = 300_000;
/**
 * After kill -9 the supervisor pauses 5 s at most, and the process replays its journal. That is a few seconds; on a machine that
 * is busy with other things it is as long as they let it take.
 */
const backMsMax = 180_000;
const pollMs = 250;
/** Whoever is asked again and again may miss an answer. */
const answerMsMax = 5000;
/** Whoever is asked once may be slow. */
const orderMsMax = 60_000;

export type DrillErrorCode = "demo_failed" | "not_back" | "unknown_process" | "interrupted";

export class DrillError extends Error {
  override readonly name = "DrillError";
  readonly code: DrillErrorCode;

  constructor(code: DrillErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export class Federation {
  readonly #control: string;
  readonly #clock: Clock;
  readonly #kills = new Map<string, number>();

  constructor(control: string, clock: Clock) {
    this.#control = control.replace(/\/+$/, "");
    this.#clock = clock;
  }

  /** How often each process was ended here. */
  get kills(): ReadonlyMap<string, number> {
    return this.#kills;
  }

  status(): Promise<DemoStatus> {
    return getJson<DemoStatus>(`${this.#control}/status`, { timeoutMs: orderMsMax });
  }

  async untilReady(): Promise<DemoStatus> {
    const ready = await this.until(readyMsMax, async () => {
      const status = await this.status();
      return status.readyAfterMs === undefined ? undefined : status;
    });
    if (!ready)
      throw new DrillError("demo_failed", `the demo at ${this.#control} was not ready in ${readyMsMax / 1000} s`);
    return ready;
  }

  /** Ends the process like a crash, and waits until it is ready again; how long that took, in ms. */
  async killAndWait(name: string): Promise<number> {
    const { starts } = await this.process(name);
    const killedMs = this.#clock.monotonicMs();
    await this.kill(name);
    await this.untilBack(name, starts + 1);
    return this.#clock.monotonicMs() - killedMs;
  }

  /** Like a crash; with `hold` it stays down until `start`. One that is down just now is waited for. Throws DrillError. */
  async kill(name: string, { hold = false } = {}): Promise<void> {
    const killed = await this.until(backMsMax, async () => {
      const answer = await this.#post(`/kill?process=${name}&hold=${hold}`);
      return (JSON.parse(answer) as { killed: boolean }).killed || undefined;
    });
    if (!killed) throw new DrillError("not_back", `${name} did not run within ${backMsMax / 1000} s, to be killed`);
    this.#kills.set(name, (this.#kills.get(name) ?? 0) + 1);
  }

  /** Until a process that was killed with `hold` is down. Throws DrillError. */
  async untilHeld(name: string): Promise<void> {
    const held = await this.until(backMsMax, async () =>
      (await this.process(name)).state === "held" ? true : undefined,
    );
    if (!held) throw new DrillError("demo_failed", `${name} was not down ${backMsMax / 1000} s after kill -9`);
  }

  async start(name: string): Promise<void> {
    await this.#post(`/start?process=${name}`);
  }

  async pause(name: string): Promise<void> {
    await this.#post(`/pause?process=${name}`);
  }

  async resume(name: string): Promise<void> {
    await this.#post(`/resume?process=${name}`);
  }

  /** Waits until the process runs for at least the `starts`th time and is ready. Throws DrillError. */
  async untilBack(name: string, starts: number): Promise<void> {
    let last = "it was not started again";
    const back = await this.until(backMsMax, async () => {
      const { pid, starts: startsNow, readyUrl } = await this.process(name);
      if (pid === undefined || startsNow < starts) return undefined;
      last = `nothing answered at ${readyUrl}`;
      const { status, body } = await call(readyUrl, { timeoutMs: answerMsMax });
      last = `it answered ${status} ${body.slice(0, 200).trim()}`;
      return status === 200 ? true : undefined;
    });
    if (!back) throw new DrillError("not_back", `${name} was not ready again within ${backMsMax / 1000} s: ${last}`);
  }

  async cut(datacenter: string, direction: CutDirection = "both"): Promise<void> {
    await this.#post(`/cut?datacenter=${datacenter}&direction=${direction}`);
  }

  /** Replaces all faults of the simulated servers. */
  async setTargetFaults({ fleet }: DemoStatus, faults: readonly string[]): Promise<void> {
    const query = new URLSearchParams(faults.map((fault) => ["set", fault]));
    const url = `http://127.0.0.1:${fleet.controlPort}/faults?${query}`;
    const { status, body } = await call(url, { method: "POST", timeoutMs: orderMsMax });
    if (status !== 200) throw new DrillError("demo_failed", `the fleet answered ${status} to ${url}: ${body}`);
  }

  /** How many scrapes its faults have spoiled since the fleet started. */
  async spoiled({ fleet }: DemoStatus): Promise<number> {
    const url = `http://127.0.0.1:${fleet.controlPort}/faults`;
    return (await getJson<{ spoiled: number }>(url, { timeoutMs: orderMsMax })).spoiled;
  }

  async heal(): Promise<void> {
    await this.#post("/heal");
  }

  /** Undoes whatever was done. */
  async leave(): Promise<void> {
    await this.heal();
    await this.setTargetFaults(await this.status(), []);
  }

  /** What each global says of the data centre; undefined for one that does not answer. */
  async statesOf(datacenter: string): Promise<readonly (string | undefined)[]> {
    const globals = (await this.status()).processes.filter(({ role }) => role === "global");
    return Promise.all(
      globals.map(async ({ httpUrl }) => {
        const url = `${httpUrl}/api/v1/datacenters`;
        const answer = await getJson<StatusAnswer>(url, { timeoutMs: answerMsMax }).catch(() => undefined);
        return answer?.data.datacenters.find(({ name }) => name === datacenter)?.state;
      }),
    );
  }

  /** Asks again and again until there is an answer, or undefined after that long. Who cannot be reached has none yet. */
  async until<T>(msMax: number, ask: () => Promise<T | undefined>): Promise<T | undefined> {
    const endMs = this.#clock.monotonicMs() + msMax;
    for (;;) {
      const answer = await ask().catch((error: unknown) => {
        if (!(error instanceof CallError)) throw error;
        return undefined;
      });
      if (answer !== undefined || this.#clock.monotonicMs() >= endMs) return answer;
      await this.#clock.sleep(pollMs);
    }
  }

  async process(name: string): Promise<ProcessView> {
    const { processes } = await this.status();
    const found = processes.find((process) => process.name === name);
    if (found) return found;
    const known = processes.map((process) => process.name).join(", ");
    throw new DrillError("unknown_process", `there is no process ${name}; known: ${known}`);
  }

  async #post(path: string): Promise<string> {
    const { status, body } = await call(this.#control + path, { method: "POST", timeoutMs: orderMsMax });
    if (status !== 200) throw new DrillError("demo_failed", `the demo answered ${status} to ${path}: ${body}`);
    return body;
  }
}

/** Simulated servers that this secondary scrapes now, by number. */
export async function targetsOwnedBy(secondary: ProcessView, { fleet }: DemoStatus): Promise<ReadonlySet<number>> {
  interface Answer {
    readonly data: { readonly activeTargets: readonly { readonly scrapeUrl: string }[] };
  }
  const { data } = await getJson<Answer>(`${secondary.httpUrl}/api/v1/targets`, { timeoutMs: orderMsMax });
  const urls = new Set(data.activeTargets.map(({ scrapeUrl }) => scrapeUrl));
  const owned = new Set<number>();
  for (let target = 0; target < fleet.targets; target++) {
    if (urls.has(`http://${instanceOf(target, fleet)}/metrics`)) owned.add(target);
  }
  return owned;
}

/** The `instance` label of a simulated server. */
export function instanceOf(target: number, fleet: DemoStatus["fleet"]): string {
  return `${addressOfTarget(fleet.firstAddress, target)}:${fleet.port}`;
}

export interface OwnDemo {
  readonly dataDir: string;
  /** Its control address. Throws DrillError when it does not come up. */
  control(): Promise<string>;
  /** Ends it and everything that it started. */
  close(): Promise<void>;
}

/** Where the drill's own demo lives: the wanted directory, or a new one. */
export async function makeDataDir(wanted: string | undefined): Promise<string> {
  if (wanted === undefined) return mkdtemp(join(tmpdir(), "heliograph-drill-"));
  await mkdir(resolve(wanted), { recursive: true });
  return resolve(wanted);
}

/** A demo of the drill's own; what it prints goes to `demo.log` in its data directory. */
export async function startOwnDemo(options: {
  readonly dataDir: string;
  readonly args: readonly string[];
  readonly clock: Clock;
}): Promise<OwnDemo> {
  const { dataDir } = options;
  await rm(join(dataDir, controlFileName), { force: true });
  const main = join(import.meta.dirname, "..", "main.ts");
  const log = openSync(join(dataDir, "demo.log"), "a");
  const command = [process.execPath, ...process.execArgv, main, "demo", "--data", dataDir, ...options.args];
  // Should this process be killed, the kernel asks the demo to end.
  if (existsSync(setprivPath)) command.unshift(setprivPath, "--pdeathsig", "TERM", "--");
  const [program, ...args] = command;
  const child = spawn(program!, args, { stdio: ["ignore", log, log], detached: true });
  closeSync(log);
  let ended = false;
  const gone = new Promise<void>((done) => {
    child.once("error", () => done());
    child.once("exit", () => done());
  }).then(() => {
    ended = true;
  });
  // However this process ends, the demo must end too.
  const endNow = () => child.kill("SIGTERM");
  process.on("exit", endNow);
  return {
    dataDir,
    async control() {
      for (;;) {
        if (ended) throw new DrillError("demo_failed", `the demo ended; see ${join(dataDir, "demo.log")}`);
        const url = await readFile(join(dataDir, controlFileName), "utf8").catch(() => undefined);
        if (url !== undefined) return url.trim();
        await options.clock.sleep(pollMs);
      }
    },
    async close() {
      child.kill("SIGTERM");
      await gone;
      process.off("exit", endNow);
    },
  };
}
