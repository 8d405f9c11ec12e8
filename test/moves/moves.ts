// Four secondaries, each lost or emptied in a way of its own, on real processes; and then each target's slots, counted.
//
// One is killed, one stopped, one cut off from both primaries though it goes on scraping, and one drained. What a primary has of
// `up` afterwards must have a sample for every slot of every target, but for the slots that promise 3 gives away, and none twice.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readUp } from "#/cli/drill/readback.ts";
import { countSlots } from "#/cli/drill/slots.ts";
import { addressOfTarget } from "#/cli/fleet/values.ts";
import { call, getJson } from "#/cli/http.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import { presenceLeaseMs } from "#/primary/presence.ts";
import { launcher } from "#/test/support/command.ts";
import { startTier } from "#/test/support/heliograph.ts";
import { startNatsServer } from "#/test/support/nats.ts";
import { freePort } from "#/test/support/port.ts";
import { type Relay, startRelay } from "#/test/support/relay.ts";
import { until, type World } from "#/test/support/world.ts";
import { parseTopology } from "#/topology/file.ts";
import { renderDatacenterConfig } from "#/topology/nats.ts";

/** From the end of a lost secondary's lease until others scrape what it had, once they hear of it. */
export const handoverMsMax = 2.5 * secondMs;

const firstAddress = "127.66.0.1";
const password = "moves";
const answerMsMax = 30_000;
const names = ["s1", "s2", "s3", "s4"] as const;

export interface MovesOptions {
  readonly targets: number;
  readonly rows: number;
  readonly intervalMs: number;
  /** For so long a secondary is away. */
  readonly awayMs: number;
  readonly say: (line: string) => void;
}

export interface MovesRow {
  readonly what: string;
  /** How many targets it had. */
  readonly targets: number;
  /** Slots of those targets without a sample. */
  readonly missing: number;
  /** Of one target. */
  readonly missingMost: number;
  readonly allowed: number;
}

export interface MovesResult {
  readonly rows: readonly MovesRow[];
  /** Of all targets, over the whole time. */
  readonly slots: number;
  readonly stored: number;
  readonly failed: number;
  readonly missing: number;
  /** Missing beside everything that was done. */
  readonly unexplained: readonly string[];
  readonly doubled: number;
  /** Generations that were written. */
  readonly generations: number;
}

/** The world's processes are left to it. */
export async function runMoves(world: World, options: MovesOptions): Promise<MovesResult> {
  const relays: Relay[] = [];
  try {
    return await moves(world, options, relays);
  } finally {
    for (const relay of relays) await relay.close();
  }
}

async function moves(world: World, options: MovesOptions, relays: Relay[]): Promise<MovesResult> {
  const { awayMs, intervalMs, say } = options;
  const place = await begin(world, options, relays);
  const { primaries, secondaries } = place;
  const settle = () => sleep(3 * intervalMs);
  const owned = async () => {
    const found = new Map<string, Set<string>>();
    for (const name of names) found.set(name, await targetsOf(place.pages.get(name)!));
    return found;
  };
  await settle();
  const fromMs = Date.now();
  await settle();
  const events: {
    readonly what: string;
    readonly had: Set<string>;
    readonly atMs: number;
    readonly untilMs: number;
    readonly allowed: number;
  }[] = [];
  const slotsMax = Math.ceil((presenceLeaseMs(intervalMs) + handoverMsMax) / intervalMs);
  const event = async (what: string, name: string, allowed: number, act: () => Promise<void>) => {
    const had = (await owned()).get(name)!;
    const atMs = Date.now();
    await act();
    await settle();
    events.push({ what, had, atMs, untilMs: Date.now(), allowed });
    say(`${what}: it had ${had.size} targets.`);
  };

  await event("s1 killed (SIGKILL)", "s1", slotsMax, async () => {
    secondaries.get("s1")!.process.kill("SIGKILL");
    await sleep(awayMs);
  });
  secondaries.set("s1", await startTier(world, "secondary", "s1", place.topologyFiles.get("s1")!));
  await untilShared(place.pages, options.targets);
  await event("s2 stopped (SIGSTOP)", "s2", slotsMax, async () => {
    secondaries.get("s2")!.process.kill("SIGSTOP");
    await sleep(awayMs);
    secondaries.get("s2")!.process.kill("SIGCONT");
  });
  await untilShared(place.pages, options.targets);
  await event("s3 cut off from the primaries", "s3", slotsMax, async () => {
    for (const relay of relays) relay.cut();
    await sleep(awayMs);
    for (const relay of relays) relay.heal();
  });
  await untilShared(place.pages, options.targets);
  await event("s4 drained", "s4", 0, async () => {
    await drain(primaries, "s4", "drain");
    await until(
      "s4 to be empty",
      10_000,
      async () => (await targetsOf(place.pages.get("s4")!)).size === 0 || undefined,
    );
  });
  await event("s4 undrained", "s4", 0, () => drain(primaries, "s4", "undrain"));
  await untilShared(place.pages, options.targets);
  await settle();
  const untilMs = Date.now() - 2 * intervalMs;

  const series = await readUp(primaries[0]!, { fromMs, untilMs });
  const perEvent = events.map(() => ({ missing: 0, most: 0 }));
  const sums = { slots: 0, stored: 0, failed: 0, missing: 0, doubled: 0 };
  const unexplained: string[] = [];
  for (let target = 0; target < options.targets; target++) {
    const instance = `${addressOfTarget(firstAddress, target)}:${place.fleetPort}`;
    const up = series.get(instance) ?? [];
    const counts = countSlots({ target, up, rows: new Map() }, [], { fromMs, untilMs, intervalMs });
    sums.slots += counts.slots;
    sums.failed += counts.failedMs.length;
    sums.stored += counts.told - counts.failedMs.length;
    sums.missing += counts.missingMs.length;
    sums.doubled += counts.doubledMs.length;
    const missing = events.map(() => 0);
    for (const timeMs of counts.missingMs) {
      const at = events.findIndex(({ atMs, had, untilMs: endMs }) => {
        return had.has(instance) && timeMs > atMs - intervalMs && timeMs < endMs;
      });
      if (at < 0) unexplained.push(`${instance} at ${new Date(timeMs).toISOString()}`);
      else missing[at]!++;
    }
    for (const [i, count] of missing.entries()) {
      perEvent[i]!.missing += count;
      perEvent[i]!.most = Math.max(perEvent[i]!.most, count);
    }
  }
  const generations = await generationOf(primaries[0]!);
  const rows = events.map(({ allowed, had, what }, i) => {
    return { what, targets: had.size, missing: perEvent[i]!.missing, missingMost: perEvent[i]!.most, allowed };
  });
  return { rows, ...sums, unexplained, generations };
}

/** What a run breaks of its promises, a sentence each. */
export function breachesOf(result: MovesResult): readonly string[] {
  const breaches = result.rows.flatMap(({ allowed, missingMost, targets, what }) => [
    ...(missingMost > allowed ? [`${what}: a target missed ${missingMost} slots, allowed are ${allowed}`] : []),
    ...(targets === 0 && !what.includes("undrained") ? [`${what}: it had no targets, so nothing is proved`] : []),
  ]);
  const { unexplained } = result;
  if (unexplained.length > 0) {
    const examples = unexplained.slice(0, 5).join(", ");
    breaches.push(`${unexplained.length} slots are missing beside everything that was done: ${examples}`);
  }
  if (result.doubled > 0) breaches.push(`${result.doubled} slots are there twice`);
  if (result.failed > 0) breaches.push(`${result.failed} slots say that a target was down, and none was`);
  const sum = result.stored + result.failed + result.missing;
  if (sum !== result.slots) breaches.push(`${result.slots} slots were due, and stored, failed and missing are ${sum}`);
  return breaches;
}

async function begin(world: World, { intervalMs, rows, targets }: MovesOptions, relays: Relay[]) {
  const list = join(world.dir, "fleet.json");
  const fleet = ["fleet", "--targets", String(targets), "--rows", String(rows), "--port", "0", "--file-sd", list];
  await world.start("fleet", launcher, [...fleet, "--first-address", firstAddress]);
  const fleetPort = await until("the fleet", 30_000, async () => {
    const [group] = await readJson<readonly { readonly targets: readonly string[] }[]>(list);
    return Number(group!.targets[0]!.split(":")[1]);
  });
  const ports = new Map<string, number>();
  for (const name of ["nats", "p1", "p2", "p1-grpc", "p2-grpc", ...names]) ports.set(name, await freePort());
  const at = (name: string) => `127.0.0.1:${ports.get(name)}`;
  const passwordFile = join(world.dir, "password");
  await writeFile(passwordFile, password);
  for (const name of ["p1-grpc", "p2-grpc"]) relays.push(await startRelay(at(name)));
  /** `addresses`: by which a secondary finds the primaries. */
  const topologyOf = (addresses: readonly string[]) => `
format_version: 1
federation: moves
scrape_defaults: { scrape_interval: ${intervalMs}ms, scrape_timeout: ${Math.min(intervalMs, 2000)}ms }
global: { nats: { servers: ["nats://127.0.0.1:1"], leaf_servers: ["nats-leaf://127.0.0.1:1"] }, pair: [{ name: g1, http: { listen: "127.0.0.1:1" } }] }
scrape_configs:
  - job_name: fleet
    file_sd_configs: [{ files: [fleet.json] }]
datacenters:
  - name: ams
    region: eu
    nats: { servers: ["nats://${at("nats")}"], password_file: password, log_bytes_max: 1GiB }
    primaries:
      - { name: p1, http: { listen: "${at("p1")}" }, grpc: { listen: "${at("p1-grpc")}", address: "${addresses[0]}" } }
      - { name: p2, http: { listen: "${at("p2")}" }, grpc: { listen: "${at("p2-grpc")}", address: "${addresses[1]}" } }
    secondaries:
${names.map((name) => `      - { name: ${name}, capacity: ${targets}, http: { listen: "${at(name)}" } }`).join("\n")}
`;
  const topologyFiles = new Map<string, string>();
  for (const name of ["p1", "p2", ...names]) {
    const addresses = name === "s3" ? relays.map(({ address }) => address) : [at("p1-grpc"), at("p2-grpc")];
    const file = join(world.dir, name === "s3" ? "topology-s3.yaml" : "topology.yaml");
    await writeFile(file, topologyOf(addresses));
    topologyFiles.set(name, file);
  }
  const { topology, problems } = parseTopology(topologyOf([at("p1-grpc"), at("p2-grpc")]), "topology.yaml");
  if (!topology) throw new Error(`the drill's own topology is wrong: ${JSON.stringify(problems)}`);
  const config = renderDatacenterConfig(topology, "ams", {
    listen: at("nats"),
    storeDir: join(world.dir, "nats"),
    password,
    leafPassword: "nobody listens there",
    leafServers: ["127.0.0.1:1"],
  });
  await startNatsServer(world, "nats", config);
  for (const name of ["p1", "p2"]) await startTier(world, "primary", name, topologyFiles.get(name)!);
  const secondaries = new Map<string, Awaited<ReturnType<typeof startTier>>>();
  for (const name of names) {
    secondaries.set(name, await startTier(world, "secondary", name, topologyFiles.get(name)!));
  }
  const pages = new Map(names.map((name) => [name as string, `http://${at(name)}`]));
  await untilShared(pages, targets);
  return {
    fleetPort,
    pages,
    primaries: [`http://${at("p1")}`, `http://${at("p2")}`],
    secondaries,
    topologyFiles,
  };
}

/** Instances that it scrapes now. */
async function targetsOf(page: string): Promise<Set<string>> {
  interface Answer {
    readonly data: { readonly activeTargets: readonly { readonly scrapeUrl: string }[] };
  }
  const { data } = await getJson<Answer>(`${page}/api/v1/targets`, { timeoutMs: answerMsMax });
  return new Set(data.activeTargets.map(({ scrapeUrl }) => new URL(scrapeUrl).host));
}

/** Each has a share, and each target one owner. */
async function untilShared(pages: ReadonlyMap<string, string>, targets: number): Promise<void> {
  await until("every secondary to have its share", 60_000, async () => {
    const all = await Promise.all([...pages.values()].map((page) => targetsOf(page)));
    const sum = all.reduce((count, each) => count + each.size, 0);
    return (sum === targets && all.every(({ size }) => size > 0)) || undefined;
  });
}

/** As `heliograph secondary drain` does: whoever has the say. */
async function drain(primaries: readonly string[], name: string, how: "drain" | "undrain"): Promise<void> {
  const answers: string[] = [];
  for (const primary of primaries) {
    const path = `${primary}/api/v1/secondaries/${name}/${how}`;
    const { body, status } = await call(path, { method: "POST", timeoutMs: answerMsMax });
    if (status === 200) return;
    answers.push(body);
  }
  throw new Error(`nobody would ${how} ${name}: ${answers.join("; ")}`);
}

async function generationOf(primary: string): Promise<number> {
  const { body } = await call(`${primary}/metrics`, { timeoutMs: answerMsMax });
  return Number(/^heliograph_primary_generation (\d+)/m.exec(body)?.[1]);
}

async function readJson<T>(file: string): Promise<T> {
  return JSON.parse(await readFile(file, "utf8")) as T;
}
