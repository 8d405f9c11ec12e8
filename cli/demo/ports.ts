// Are the ports free that the demo wants? Asked before anything starts, so that the answer can name the port and who has it.

import { readdir, readFile, readlink } from "node:fs/promises";
import { createServer } from "node:net";
import type { DemoPlan } from "#/cli/demo/plan.ts";

export interface TakenPort {
  readonly port: number;
  readonly use: string;
  /** The process that has it, when that can be seen. */
  readonly holder: string | undefined;
}

export async function takenPorts(plan: DemoPlan): Promise<readonly TakenPort[]> {
  const wanted = [
    { host: "127.0.0.1", port: plan.controlPort, use: "the demo's own control" },
    { host: plan.fleet.firstAddress, port: plan.fleet.port, use: "the simulated servers" },
    ...plan.relays.map(({ name, listenPort }) => ({ host: "127.0.0.1", port: listenPort, use: `the relay ${name}` })),
    ...plan.processes.flatMap(({ name, ports }) =>
      ports.map(({ port, use }) => ({ host: "127.0.0.1", port, use: `${name}, ${use}` })),
    ),
  ];
  const taken: TakenPort[] = [];
  for (const { host, port, use } of wanted) {
    if (!(await isFree(host, port))) taken.push({ port, use, holder: await holderOf(port) });
  }
  return taken;
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}

/** Enough of a command line to know it again. */
const commandShownMax = 70;

/** `process 1234: nats-server -c hub.conf`, by way of /proc; undefined when it is another user's. */
async function holderOf(port: number): Promise<string | undefined> {
  const inode = await listeningInode(port);
  if (inode === undefined) return undefined;
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    // Processes come and go, and other users' files are closed to us: then it is not this one.
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "");
      if (target !== `socket:[${inode}]`) continue;
      const command = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0").join(" ").trim();
      const shown = command.length > commandShownMax ? `${command.slice(0, commandShownMax)}…` : command;
      return `process ${pid}: ${shown}`;
    }
  }
  return undefined;
}

async function listeningInode(port: number): Promise<string | undefined> {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const lines = (await readFile(table, "utf8").catch(() => "")).split("\n").slice(1);
    for (const line of lines) {
      // local address, remote address, state (0A: listening), …, inode in the tenth column (proc(5)).
      const columns = line.trim().split(/\s+/);
      if (columns[1]?.endsWith(`:${hex}`) && columns[3] === "0A") return columns[9];
    }
  }
  return undefined;
}
