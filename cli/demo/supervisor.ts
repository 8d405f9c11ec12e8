// Starts and ends the demo's processes, in order, and hurts them on request.

import { join } from "node:path";
import { Child, type ChildCommand } from "#/cli/demo/child.ts";
import { logFile, natsConfigFile, processDir } from "#/cli/demo/files.ts";
import { rotateLogs } from "#/cli/demo/logs.ts";
import type { Network } from "#/cli/demo/network.ts";
import { type DemoPlan, fleetFileBase, type PlannedProcess, type Role } from "#/cli/demo/plan.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";

/** Paths of what others made. */
export interface DemoTools {
  readonly natsServer: string;
  readonly nodeExporter: string | undefined;
  readonly setpriv: string | undefined;
}

/** Whoever sends ends before whoever receives, so that nothing is on its way when the logs go. */
const endOrder: readonly (readonly Role[])[] = [
  ["secondary"],
  ["primary", "global", "node-exporter", "fleet"],
  ["nats"],
];
/** For each of the three steps. */
const endGraceMs = 5000;
const rotateEveryMs = 30_000;

/**
 * Options of Node for the demo's own programs. There are many small ones on one machine: a small young generation and a
 * reluctant heap take a tenth off their memory and, at this load, cost no CPU (measured).
 */
export const nodeOptions: readonly string[] = [...process.execArgv, "--max-semi-space-size=2", "--optimize-for-size"];

const mainFile = join(import.meta.dirname, "..", "main.ts");

export class Supervisor {
  readonly plan: DemoPlan;
  readonly network: Network;
  readonly children: ReadonlyMap<string, Child>;
  readonly #rotation: Timer;

  constructor(options: {
    readonly plan: DemoPlan;
    readonly network: Network;
    readonly tools: DemoTools;
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly clock: Clock;
    readonly onEvent: (sentence: string) => void;
  }) {
    const { plan, tools, clock, onEvent } = options;
    this.plan = plan;
    this.network = options.network;
    // Ours, should this run below systemd: the children must neither claim its socket nor its journal.
    const { NOTIFY_SOCKET: _socket, WATCHDOG_USEC: _watchdog, JOURNAL_STREAM: _journal, ...inherited } = options.env;
    // glibc gives each thread an arena of its own, and a process here has eleven threads: two arenas do.
    const env = { MALLOC_ARENA_MAX: "2", ...inherited };
    this.children = new Map(
      plan.processes.map((planned) => [
        planned.name,
        new Child({
          name: planned.name,
          command: commandOf(planned, plan, tools),
          logFile: logFile(plan, planned.name),
          env,
          setpriv: tools.setpriv,
          clock,
          onEvent,
        }),
      ]),
    );
    this.#rotation = clock.every(rotateEveryMs, () => {
      // A log that cannot be shortened is tried again the next time.
      void rotateLogs(plan.processes.map(({ name }) => logFile(plan, name))).catch(() => undefined);
    });
  }

  start(which: (planned: PlannedProcess) => boolean): void {
    for (const planned of this.plan.processes) if (which(planned)) this.children.get(planned.name)!.start();
  }

  /** False when there is no such process, or it does not run. */
  kill(name: string, { hold }: { readonly hold: boolean }): boolean {
    const child = this.children.get(name);
    if (child?.pid === undefined) return false;
    if (hold) child.hold();
    else child.crash();
    return true;
  }

  /** Joins what was cut, starts what is held down, and lets go on what is paused. */
  heal(): void {
    this.network.heal();
    for (const child of this.children.values()) {
      child.release();
      child.resume();
    }
  }

  async end(): Promise<void> {
    this.#rotation.cancel();
    this.network.heal();
    for (const step of endOrder) {
      const names = this.plan.processes.filter(({ role }) => step.includes(role)).map(({ name }) => name);
      await Promise.all(names.map((name) => this.children.get(name)!.end(endGraceMs)));
    }
    await this.network.close();
  }

  /** The last resort, when this process ends without having ended them. */
  killAll(): void {
    for (const child of this.children.values()) child.crash();
  }
}

function commandOf(planned: PlannedProcess, plan: DemoPlan, tools: DemoTools): ChildCommand {
  const { name, role } = planned;
  const heliograph = (...args: string[]) => ({
    program: process.execPath,
    args: [...nodeOptions, mainFile, ...args],
  });
  switch (role) {
    case "nats":
      return { program: tools.natsServer, args: ["-c", natsConfigFile(plan, name)] };
    case "global":
    case "primary":
    case "secondary":
      return heliograph(role, "--topology", plan.topologyFile, "--name", name, "--data", processDir(plan, name));
    case "fleet":
      return heliograph(
        "fleet",
        ...["--targets", String(plan.targets), "--rows", String(plan.rows)],
        ...["--port", String(plan.fleet.port), "--first-address", plan.fleet.firstAddress],
        ...["--file-sd", fleetFileBase(plan.dataDir), "--split", String(plan.datacenters.length)],
        ...["--control", `127.0.0.1:${plan.fleet.controlPort}`],
      );
    case "node-exporter":
      return {
        program: tools.nodeExporter!,
        // Those two look for what a machine without systemd, and without such a folder, does not have.
        args: [
          `--web.listen-address=127.0.0.1:${plan.nodeExporterPort}`,
          ...["--no-collector.systemd", "--no-collector.textfile"],
        ],
      };
    default:
      return role satisfies never;
  }
}
