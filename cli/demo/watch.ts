// Looks at the running demo: what it still waits for, what the globals say of the data centres, and what the processes cost.

import type { ChildState } from "#/cli/demo/child.ts";
import { costOf, type ProcessCost } from "#/cli/demo/memory.ts";
import type { PlannedProcess, Role } from "#/cli/demo/plan.ts";
import type { Supervisor } from "#/cli/demo/supervisor.ts";
import { call, getJson } from "#/cli/http.ts";
import { readAnswer } from "#/cli/query/table.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { FederationStatus, StatusAnswer } from "#/lib/model/status.ts";

/** What a process uses now. */
export interface Usage {
  readonly memoryBytes: number;
  /** Share of one core since the look before. */
  readonly cpuShare: number;
}

export interface ProcessView extends Usage {
  readonly name: string;
  readonly role: Role;
  readonly datacenter: string;
  readonly pid: number | undefined;
  readonly state: ChildState;
  readonly starts: number;
  readonly httpUrl: string;
  readonly readyUrl: string;
}

export interface DemoView {
  /** How long it took; undefined while it is not ready yet. */
  readonly readyAfterMs: number | undefined;
  /** While it is not ready. */
  readonly waitingFor: readonly string[];
  readonly cutOff: readonly string[];
  /** As a global tells it; undefined while none answers. */
  readonly status: FederationStatus | undefined;
  readonly processes: readonly ProcessView[];
  /** The supervisor's own, which carries the relays. */
  readonly own: Usage;
}

const lookEveryMs = 1000;
/** Reading what a process costs walks its page tables. */
const costEveryMs = 5000;
/** A process on this machine that does not answer by then is not ready. */
const answerMsMax = 2000;

export class Watch {
  readonly #supervisor: Supervisor;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #readyNames = new Set<string>();
  /** By process id. */
  #costs: ReadonlyMap<number, { cost: ProcessCost; cpuShare: number }> = new Map();
  readonly #onLook: () => void;
  #waitingFor: readonly string[] = ["its processes"];
  #readyAfterMs: number | undefined;
  #status: FederationStatus | undefined;
  #costsAtMs = Number.NEGATIVE_INFINITY;

  /** `startedMs`: monotonic time at which the demo began. */
  constructor(options: {
    readonly supervisor: Supervisor;
    readonly clock: Clock;
    readonly startedMs: number;
    readonly onLook: () => void;
  }) {
    this.#supervisor = options.supervisor;
    this.#clock = options.clock;
    this.#startedMs = options.startedMs;
    this.#onLook = options.onLook;
  }

  /** Looks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#readyAfterMs === undefined) await this.#lookReady();
      await this.#lookStatus();
      if (this.#clock.monotonicMs() - this.#costsAtMs >= costEveryMs) await this.#lookCosts();
      if (signal.aborted) return;
      this.#onLook();
      await this.#clock.sleep(this.#readyAfterMs === undefined ? lookEveryMs / 4 : lookEveryMs, signal);
    }
  }

  view(): DemoView {
    const { plan, children, network } = this.#supervisor;
    return {
      readyAfterMs: this.#readyAfterMs,
      waitingFor: this.#waitingFor,
      cutOff: network.cutOff(),
      status: this.#status,
      processes: plan.processes.map(({ name, role, datacenter, httpUrl, readyUrl }) => {
        const child = children.get(name)!;
        return {
          name,
          role,
          datacenter,
          pid: child.pid,
          state: child.state,
          starts: child.starts,
          httpUrl,
          readyUrl,
          ...this.#usageOf(child.pid),
        };
      }),
      own: this.#usageOf(process.pid),
    };
  }

  #usageOf(pid: number | undefined): Usage {
    const known = pid === undefined ? undefined : this.#costs.get(pid);
    return { memoryBytes: known?.cost.memoryBytes ?? 0, cpuShare: known?.cpuShare ?? 0 };
  }

  async #lookReady(): Promise<void> {
    const { plan } = this.#supervisor;
    const waiting = (await Promise.all(plan.processes.map((planned) => this.#whyNotReady(planned)))).filter(
      (reason) => reason !== undefined,
    );
    if (waiting.length === 0) {
      for (const { name, httpUrl } of plan.processes.filter(({ role }) => role === "global")) {
        const reason = await this.#whyCountsDiffer(name, httpUrl);
        if (reason !== undefined) waiting.push(reason);
      }
    }
    this.#waitingFor = waiting;
    if (waiting.length === 0) this.#readyAfterMs = this.#clock.monotonicMs() - this.#startedMs;
  }

  async #whyNotReady({ name, readyUrl }: PlannedProcess): Promise<string | undefined> {
    if (this.#readyNames.has(name)) return undefined;
    try {
      const { status, body } = await call(readyUrl, { timeoutMs: answerMsMax });
      if (status === 200) this.#readyNames.add(name);
      return status === 200 ? undefined : `${name} (${body.trim()})`;
    } catch {
      // It does not listen yet, which is all there is to say.
      return name;
    }
  }

  /** The promise of the ready line: a global knows every target of every data centre. */
  async #whyCountsDiffer(name: string, httpUrl: string): Promise<string | undefined> {
    const { datacenters } = this.#supervisor.plan;
    try {
      const form = { query: "count by (datacenter) (up)" };
      const answer = readAnswer((await call(`${httpUrl}/api/v1/query`, { form, timeoutMs: answerMsMax })).body);
      if (answer?.status !== "success" || answer.data.resultType !== "vector") return `${name} to answer a query`;
      const counts = new Map(answer.data.result.map(({ metric, value }) => [metric.datacenter, Number(value[1])]));
      const short = datacenters
        .filter((datacenter) => counts.get(datacenter.name) !== datacenter.targets)
        .map((datacenter) => `${counts.get(datacenter.name) ?? 0} of ${datacenter.targets} in ${datacenter.name}`);
      return short.length === 0 ? undefined : `all targets at ${name} (${short.join(", ")})`;
    } catch {
      // It answered that it is ready a moment ago; the next look will tell.
      return `${name} to answer a query`;
    }
  }

  /** The leader is asked first, because it is the one whose word counts. */
  async #lookStatus(): Promise<void> {
    const globals = this.#supervisor.plan.processes.filter(({ role }) => role === "global");
    const leader = this.#status?.leader;
    for (const { httpUrl } of globals.toSorted((a, b) => Number(b.name === leader) - Number(a.name === leader))) {
      try {
        const answer = await getJson<StatusAnswer>(`${httpUrl}/api/v1/datacenters`, { timeoutMs: answerMsMax });
        this.#status = answer.data;
        return;
      } catch {
        // Starting, or just killed: ask the other one.
      }
    }
    this.#status = undefined;
  }

  async #lookCosts(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const passedSeconds = (nowMs - this.#costsAtMs) / 1000;
    this.#costsAtMs = nowMs;
    const costs = new Map<number, { cost: ProcessCost; cpuShare: number }>();
    for (const pid of [process.pid, ...[...this.#supervisor.children.values()].map((child) => child.pid)]) {
      const cost = pid === undefined ? undefined : await costOf(pid);
      if (pid === undefined || cost === undefined) continue;
      const before = this.#costs.get(pid)?.cost.cpuSeconds ?? cost.cpuSeconds;
      costs.set(pid, { cost, cpuShare: (cost.cpuSeconds - before) / passedSeconds });
    }
    this.#costs = costs;
  }
}
