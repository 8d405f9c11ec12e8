// The keys that hurt and heal the demo.

import type { ReadStream } from "node:tty";
import type { Supervisor } from "#/cli/demo/supervisor.ts";
import type { Watch } from "#/cli/demo/watch.ts";
import { askToDrain } from "#/cli/secondary/drain.ts";
import { secondMs } from "#/lib/bytes/units.ts";

const drainMsMax = 15 * secondMs;

export interface Keys {
  /** Resolves when somebody wants to end. */
  readonly quit: Promise<void>;
  close(): void;
}

export function keysOf(options: {
  readonly input: ReadStream;
  readonly supervisor: Supervisor;
  readonly watch: Watch;
  readonly tell: (sentence: string) => void;
}): Keys {
  const { input, supervisor, watch, tell } = options;
  const { plan, network } = supervisor;
  // Without a terminal nobody presses keys, and standard input may be anything.
  if (!input.isTTY) return { quit: new Promise(() => {}), close() {} };

  function cutNext(): string {
    const cutOff = network.cutOff();
    const next = plan.datacenters.find(({ name }) => !cutOff.includes(name));
    if (!next) return "Every data centre is cut off already; h heals.";
    network.cut(next.name);
    return `${next.name} is cut off: bytes stop, connections stay.`;
  }

  function killSecondary(): string {
    const next = watch.view().processes.find(({ role, pid }) => role === "secondary" && pid !== undefined);
    if (!next) return "No secondary is left; h starts them again.";
    supervisor.kill(next.name, { hold: true });
    return `${next.name} is killed; the other one takes its targets.`;
  }

  function killLeader(): string {
    const { processes, status } = watch.view();
    const globals = processes.filter(({ role, pid }) => role === "global" && pid !== undefined);
    const leader = globals.find(({ name }) => name === status?.leader) ?? globals[0];
    if (!leader) return "No global runs.";
    supervisor.kill(leader.name, { hold: false });
    return `${leader.name}, which led, is killed.`;
  }

  let drained = "";
  /** The first secondary; and when it is drained, lets it have targets again. */
  async function drainOrBack(): Promise<string> {
    const { processes } = watch.view();
    const wanted = drained === "";
    const secondary = processes.find(({ name, role }) => role === "secondary" && (wanted || name === drained))!;
    const primaries = processes.filter(({ datacenter, role }) => {
      return role === "primary" && datacenter === secondary.datacenter;
    });
    const asked = { name: secondary.name, wanted, force: false, timeoutMs: drainMsMax };
    const answer = await askToDrain(
      primaries.map(({ httpUrl }) => httpUrl),
      asked,
    );
    if ("reasons" in answer)
      return `${secondary.name} is not ${wanted ? "" : "un"}drained: ${answer.reasons.join("; ")}`;
    drained = wanted ? secondary.name : "";
    if (wanted) return `${secondary.name} is drained: the other one has its targets, and no slot is missed.`;
    return `${secondary.name} has ${answer.targets} targets again.`;
  }

  let wantQuit: () => void = () => {};
  const quit = new Promise<void>((resolve) => {
    wantQuit = resolve;
  });
  function onKeys(keys: Buffer): void {
    for (const key of keys.toString("latin1").toLowerCase()) {
      if (key === "c") tell(cutNext());
      else if (key === "k") tell(killSecondary());
      else if (key === "g") tell(killLeader());
      else if (key === "d") {
        // It takes a second: the generation is written before it rules.
        drainOrBack().then(tell, (error: unknown) => tell(`Nobody could be asked: ${String(error)}`));
      } else if (key === "h") {
        supervisor.heal();
        tell("Healed: links are open, and what was down starts.");
      } else if (key === "q" || key === "\x03" || key === "\x04") wantQuit();
    }
  }
  input.setRawMode(true);
  input.resume();
  input.on("data", onKeys);
  return {
    quit,
    close() {
      input.off("data", onKeys);
      if (!input.destroyed) input.setRawMode(false);
      input.pause();
    },
  };
}
