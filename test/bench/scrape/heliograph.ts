// Heliograph as it ships: a secondary with its spool on disk pushes over mTLS to a real primary with a real NATS server, in
// processes of their own. Between the two is a relay that counts the bytes.
//
// There is no hub and no global; a stand-in says on the back channel what a global would, so that batches become durable and
// leave the spool.

import { mkdir, rename, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { dirname, join } from "node:path";
import { call, getJson } from "#/cli/http.ts";
import { findTool } from "#/cli/tools.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import { openBackChannel } from "#/lib/commitlog/backchannel.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { durationText } from "#/lib/model/duration.ts";
import { slotAt, slotTimeMs } from "#/lib/model/target.ts";
import { systemRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { version } from "#/lib/telemetry/version.ts";
import { connectNats } from "#/lib/wire/jetstream.ts";
import { readTls } from "#/lib/wire/tls.ts";
import {
  type Contender,
  type Course,
  type OwnCount,
  type Running,
  samplesOf,
  type WireBytes,
} from "#/test/bench/scrape/contender.ts";
import { type Member, tailOf } from "#/test/bench/scrape/crew.ts";
import { scrapeConfigOf, type TargetGroup } from "#/test/bench/scrape/scenario.ts";
import { makeAuthority, type TestAuthority } from "#/test/support/certificates.ts";
import { launcher } from "#/test/support/command.ts";
import { freePort } from "#/test/support/port.ts";
import { until } from "#/test/support/world.ts";
import { parseTopology } from "#/topology/file.ts";
import { renderDatacenterConfig } from "#/topology/nats.ts";
import { formatProblem } from "#/topology/problem.ts";
import type { Topology } from "#/topology/schema.ts";

const timeoutMs = 10_000;
const startMsMax = 60_000;

const password = "heliograph-bench";
const names = {
  datacenter: "bench",
  primary: "bench-p1",
  secondary: "bench-s1",
  global: "bench-g1",
  nats: "bench-nats",
};

interface TargetsAnswer {
  readonly data: {
    readonly activeTargets: readonly { readonly scrapeUrl: string; readonly heliograph: { readonly id: string } }[];
  };
}

export interface SecondaryOptions {
  /** To profile it, say. */
  readonly env?: Readonly<Record<string, string>>;
  readonly threads?: number;
}

export function heliographContender(options: SecondaryOptions): Contender {
  return { name: "heliograph", start: (course) => startHeliograph(course, options) };
}

export interface RunningHeliograph extends Running {
  /** The URL of the secondary's page, without a path. */
  readonly page: string;
  ownCount(): Promise<OwnCount & { readonly late: number }>;
  /** Resolves when the secondary has other targets, so many. */
  retarget(groups: readonly TargetGroup[], targets: number): Promise<void>;
}

export async function startHeliograph(
  course: Course,
  { env: secondaryEnv, threads = 1 }: SecondaryOptions,
): Promise<RunningHeliograph> {
  const { crew, say, scenario } = course;
  const authority = await makeAuthority();
  const relay = await startRelay();
  const closers: (() => Promise<void>)[] = [() => authority.close(), () => relay.close()];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const ports = {
      nats: await freePort(),
      http: await freePort(),
      grpc: await freePort(),
      page: await freePort(),
    };
    relay.targetPort = ports.grpc;
    const topologyFile = join(crew.dir, "topology.yaml");
    const topology = await writeTopology(topologyFile, course, authority, { ...ports, relay: relay.port, threads });
    const member = (tier: string, name: string, env?: Readonly<Record<string, string>>): Member => {
      const args = [tier, "--topology", topologyFile, "--name", name, "--data", join(crew.dir, name)];
      const started = crew.start(name, launcher, args, env && { env });
      closers.push(() => started.end());
      return started;
    };
    closers.push(await startNats(course, topology, authority, ports.nats));
    closers.push(await standInForGlobal(authority, ports.nats));
    const primary = member("primary", names.primary);
    const page = `http://127.0.0.1:${ports.page}`;
    await until("the primary to be ready", startMsMax, async () => {
      const { status } = await call(`http://127.0.0.1:${ports.http}/-/ready`, { timeoutMs });
      return status === 200 ? true : undefined;
    }).catch((error: Error) => fail(error, primary));
    const secondary = member("secondary", names.secondary, secondaryEnv);
    const has = async (targets: number) => {
      await until(`${targets} targets at the secondary`, startMsMax, async () => {
        const { body } = await call(`${page}/metrics`, { timeoutMs });
        return samplesOf(body, "heliograph_secondary_targets").get("") === targets ? true : undefined;
      }).catch((error: Error) => fail(error, secondary));
    };
    await has(course.targets);
    say(`The secondary has its ${course.targets} targets.`);
    return {
      version,
      page,
      pid: secondary.pid,
      logFile: secondary.logFile,
      ended: () => secondary.ended() ?? primary.ended(),
      wireBytes: async () => relay.count(),
      async ownCount() {
        const { body } = await call(`${page}/metrics`, { timeoutMs });
        const outcomes = [...samplesOf(body, "heliograph_secondary_scrapes_total")]
          .map(([labels, count]) => [/outcome="(.*)"/.exec(labels)?.[1] ?? labels, count] as const)
          .filter(([outcome]) => outcome !== "stored");
        const failed = outcomes.reduce((sum, [, count]) => sum + count, 0);
        const late = samplesOf(body, "heliograph_secondary_late_scrapes_total").get("") ?? 0;
        return { failed, late, failures: Object.fromEntries(outcomes) };
      },
      async dueMs() {
        const { data } = await getJson<TargetsAnswer>(`${page}/api/v1/targets`, { timeoutMs });
        const { intervalMs } = scenario;
        const slots = new Map(
          data.activeTargets.map(({ heliograph: { id }, scrapeUrl }) => [new URL(scrapeUrl).host, { id, intervalMs }]),
        );
        return (address, beganMs) => {
          const target = slots.get(address)!;
          // A few ms early is its slot too.
          return slotTimeMs(target, slotAt(target, beganMs + earlyMs));
        };
      },
      async retarget(groups, targets) {
        await writeTargets(crew.dir, groups);
        await has(targets);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Scrapes that are due soon are begun together, so that some begin before their slot. */
const earlyMs = 20;

function fail(error: Error, { logFile, name, ended }: Member): never {
  throw new Error(`${error.message} (${name} ${ended() ?? "runs"}):\n${tailOf(logFile)}`, { cause: error });
}

async function writeTopology(
  file: string,
  { caFile, crew, groups, scenario }: Course,
  authority: TestAuthority,
  given: {
    readonly nats: number;
    readonly http: number;
    readonly grpc: number;
    readonly page: number;
    readonly relay: number;
    readonly threads: number;
  },
): Promise<Topology> {
  const identity = (tier: string, name: string) => authority.issue(name, `heliograph://bench/${tier}/${name}`);
  const { ca_file } = await identity("primary", names.primary);
  await identity("secondary", names.secondary);
  await identity("global", names.global);
  const files = { ca_file, cert_file: join(authority.dir, "{name}.pem"), key_file: join(authority.dir, "{name}.key") };
  const passwordFile = join(authority.dir, "password");
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  const interval = durationText(scenario.intervalMs);
  const loopback = (port: number) => `127.0.0.1:${port}`;
  const described = {
    format_version: 1,
    federation: "bench",
    tls: { global: files, primary: files, secondary: files },
    scrape_defaults: { scrape_interval: interval, scrape_timeout: scenario.intervalMs < 10_000 ? interval : "10s" },
    head_retention: "10m",
    global: {
      nats: { servers: ["tls://127.0.0.1:9"], leaf_servers: ["tls://127.0.0.1:9"], password_file: passwordFile },
      pair: [{ name: names.global, http: { listen: loopback(9) } }],
    },
    datacenters: [
      {
        name: names.datacenter,
        region: "bench",
        nats: {
          servers: [`tls://${loopback(given.nats)}`],
          password_file: passwordFile,
          leaf_password_file: passwordFile,
          log_bytes_max: "4GiB",
        },
        primaries: [
          {
            name: names.primary,
            http: { listen: loopback(given.http) },
            grpc: { listen: loopback(given.grpc), address: loopback(given.relay) },
          },
        ],
        secondaries: [
          { name: names.secondary, capacity: 100_000, threads: given.threads, http: { listen: loopback(given.page) } },
        ],
        scrape_configs: [{ ...scrapeConfigOf(caFile), file_sd_configs: [{ files: [targetsFile(crew.dir)] }] }],
      },
    ],
  };
  const text = JSON.stringify(described);
  await writeFile(file, text);
  await writeTargets(crew.dir, groups);
  const { problems, topology } = parseTopology(text, file);
  if (!topology) throw new Error(`the topology is wrong:\n${problems.map(formatProblem).join("\n")}`);
  return topology;
}

function targetsFile(dir: string): string {
  return join(dir, "targets", "node.json");
}

/** It appears whole, because it is watched. */
async function writeTargets(dir: string, groups: readonly TargetGroup[]): Promise<void> {
  const file = targetsFile(dir);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, JSON.stringify(groups));
  await rename(`${file}.new`, file);
}

async function startNats({ crew, say }: Course, topology: Topology, authority: TestAuthority, port: number) {
  const program = await findTool("nats-server", { onProgress: say });
  const storeDir = join(crew.dir, names.nats);
  await mkdir(storeDir);
  const config = renderDatacenterConfig(topology, names.datacenter, {
    listen: `127.0.0.1:${port}`,
    serverName: names.nats,
    storeDir,
    tls: await authority.issue(names.nats, `heliograph://bench/nats/${names.nats}`),
    password,
    leafPassword: password,
  });
  const file = join(crew.dir, "nats.conf");
  await writeFile(file, config, { mode: 0o600 });
  const server = crew.start(names.nats, program, ["--config", file]);
  return () => server.end();
}

async function standInForGlobal(authority: TestAuthority, natsPort: number): Promise<() => Promise<void>> {
  const file = (name: string) => join(authority.dir, name);
  const tls = await readTls(
    { ca_file: file("ca.pem"), cert_file: file(`${names.global}.pem`), key_file: file(`${names.global}.key`) },
    names.global,
  );
  const link = connectNats({
    servers: [`tls://127.0.0.1:${natsPort}`],
    user: "heliograph",
    password,
    tls,
    name: names.global,
    clock: systemClock(),
    random: systemRandom(),
    log: silentLogger(),
  });
  const channel = openBackChannel({
    link,
    datacenter: names.datacenter,
    log: silentLogger(),
    metrics: createRegistry({ tier: "global" }),
  });
  channel.subscribe((heard) => {
    if (heard.tier === "primary") {
      channel.publish({ ...heard, replica: names.global, tier: "global", secondaries: [], leaseToken: 0 });
    }
  });
  return () => link.close();
}

interface CountingRelay {
  readonly port: number;
  targetPort: number;
  /** Since the last time. */
  count(): WireBytes;
  close(): Promise<void>;
}

/** Whoever connects is connected on, and what passes is counted: TLS records and all. */
async function startRelay(): Promise<CountingRelay> {
  let [out, back] = [0, 0];
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: "127.0.0.1", port: relay.targetPort, noDelay: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.on("error", () => socket.destroy());
    }
    near.on("data", (bytes) => (out += bytes.length));
    far.on("data", (bytes) => (back += bytes.length));
    near.pipe(far);
    far.pipe(near);
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const relay: CountingRelay = {
    port: (server.address() as AddressInfo).port,
    targetPort: 0,
    count() {
      const counted = { out, back, payload: out };
      [out, back] = [0, 0];
      return counted;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return relay;
}
