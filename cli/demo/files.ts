// Writes the demo's world into its data directory: secrets once, everything that follows from them at each start.

import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { DemoPlan } from "#/cli/demo/plan.ts";
import { assert } from "#/lib/assert/assert.ts";
import { parseTopology } from "#/topology/file.ts";
import { renderDatacenterConfig, renderHubConfig } from "#/topology/nats.ts";
import { formatProblem } from "#/topology/problem.ts";

/** In the data directory: where a script finds the running demo. */
export const controlFileName = "control.url";

export function logFile(plan: DemoPlan, processName: string): string {
  return join(plan.dataDir, "logs", `${processName}.log`);
}

export function natsConfigFile(plan: DemoPlan, processName: string): string {
  return join(plan.dataDir, "nats", `${processName}.conf`);
}

/** A process' own directory. */
export function processDir(plan: DemoPlan, processName: string): string {
  return join(plan.dataDir, processName);
}

/** The directory must exist. What was kept from an earlier run stays valid, because secrets and names stay. */
export async function writeDemoFiles(plan: DemoPlan): Promise<void> {
  for (const folder of ["logs", "nats", "secrets", "targets"]) {
    await mkdir(join(plan.dataDir, folder), { recursive: true, mode: 0o700 });
  }
  await writeFile(plan.topologyFile, plan.topologyText, { mode: 0o600 });
  const control = `http://127.0.0.1:${plan.controlPort}\n`;
  await writeFile(join(plan.dataDir, controlFileName), control, { mode: 0o600 });
  const { topology, problems } = parseTopology(plan.topologyText, "topology.yaml");
  assert(topology, `the demo's topology is right: ${problems.map(formatProblem).join("; ")}`);

  const secret = (name: string) => secretOf(join(plan.dataDir, "secrets", `${name}.password`));
  const leafPasswords: Record<string, string> = {};
  for (const { name } of plan.datacenters) leafPasswords[name] = await secret(`${name}-leaf`);
  const hub = renderHubConfig(topology, {
    listen: loopback(plan.hub.port),
    serverName: "hub-nats",
    leafListen: loopback(plan.hub.leafPort),
    // Each data centre joins by its own relay, and must not learn a way around it: this address leads nowhere.
    leafAdvertise: "127.0.0.1:9",
    monitor: loopback(plan.hub.monitorPort),
    storeDir: processDir(plan, "hub-nats"),
    globalPassword: await secret("hub"),
    leafPasswords,
  });
  await writeFile(natsConfigFile(plan, "hub-nats"), hub, { mode: 0o600 });
  for (const { name, natsPort, natsMonitorPort, leafRelayPort } of plan.datacenters) {
    const config = renderDatacenterConfig(topology, name, {
      listen: loopback(natsPort),
      serverName: `${name}-nats`,
      monitor: loopback(natsMonitorPort),
      storeDir: processDir(plan, `${name}-nats`),
      password: await secret(name),
      leafPassword: leafPasswords[name]!,
      leafServers: [loopback(leafRelayPort)],
    });
    await writeFile(natsConfigFile(plan, `${name}-nats`), config, { mode: 0o600 });
  }
}

/** The password in that file; one is made when there is no such file. */
async function secretOf(file: string): Promise<string> {
  try {
    await writeFile(file, `${randomBytes(24).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return (await readFile(file, "utf8")).trim();
}

function loopback(port: number): string {
  return `127.0.0.1:${port}`;
}
