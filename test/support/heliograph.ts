// Heliograph's own processes, as systemd or a person would start them.

import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { DemoStatus } from "#/cli/drill/federation.ts";
import { call, getJson } from "#/cli/http.ts";
import { readAnswer } from "#/cli/query/table.ts";
import { launcher } from "#/test/support/command.ts";
import { type Program, until, type World } from "#/test/support/world.ts";

const timeoutMs = 5000;

/** A secondary, primary or global by the topology file; its data lie in the world's directory. */
export function startTier(
  world: World,
  tier: "secondary" | "primary" | "global",
  name: string,
  topologyFile: string,
  env?: Readonly<Record<string, string>>,
): Promise<Program> {
  const data = join(world.dir, "data", name);
  return world.start(name, launcher, [tier, "--topology", topologyFile, "--name", name, "--data", data], env);
}

export interface RunningDemo extends Program {
  readonly control: string;
  status(): Promise<DemoStatus>;
}

/** A small demo on free ports; resolves when it is ready. Started again on the same data it resumes. */
export async function startDemo(world: World, dataDir: string): Promise<RunningDemo> {
  await rm(join(dataDir, "control.url"), { force: true });
  const args = ["demo", "--data", dataDir, "--port-base", "0", "--targets", "20", "--rows", "40", "--interval", "2s"];
  // Whether the real node_exporter can be had is another test's affair.
  const program = await world.start("demo", launcher, [...args, "--no-node-exporter"]);
  const control = await until("the control address", 20_000, async () =>
    (await readFile(join(dataDir, "control.url"), "utf8")).trim(),
  );
  const status = () => getJson<DemoStatus>(`${control}/status`, { timeoutMs });
  await until("the demo to be ready", 60_000, async () => ((await status()).readyAfterMs ? true : undefined));
  return { ...program, control, status };
}

/** The values of an instant query by data centre. */
export async function valuesByDatacenter(server: string, query: string): Promise<Record<string, string>> {
  const answer = readAnswer((await call(`${server}/api/v1/query`, { form: { query }, timeoutMs })).body);
  if (answer?.status !== "success" || answer.data.resultType !== "vector") throw new Error("no vector");
  return Object.fromEntries(answer.data.result.map(({ metric, value }) => [metric.datacenter, value[1]]));
}
