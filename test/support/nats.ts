// Real nats-servers for tests: on free ports, in folders that go away, killed by the pid that was started.

import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findTool } from "#/cli/tools.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { systemRandom } from "#/lib/random/random.ts";
import { connectNats, type NatsLink } from "#/lib/wire/jetstream.ts";
import { freePort } from "#/test/support/port.ts";
import { toolOrReason } from "#/test/support/tool.ts";
import type { Program, World } from "#/test/support/world.ts";
import { hubUserOf, renderDatacenterConfig, renderHubConfig } from "#/topology/nats.ts";
import { type Topology, topologySchema } from "#/topology/schema.ts";

export const natsServer = await toolOrReason("nats-server");

/** In an end-to-end test's world. It may still be starting: whoever needs it waits, as in a real data centre. */
export async function startNatsServer(world: World, name: string, config: string): Promise<Program> {
  const file = join(world.dir, `${name}.conf`);
  await writeFile(file, config, { mode: 0o600 });
  return world.start(name, natsServer.path, ["--config", file]);
}

export interface TestNats {
  readonly url: string;
  readonly address: string;
  readonly dir: string;
  /** kill -9 */
  kill(): Promise<void>;
  /** After `kill`, on the same port and store. */
  start(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Ends the server and removes its folder. */
  stop(): Promise<void>;
}

/** For waiting without letting anything else run. */
const idle = new Int32Array(new SharedArrayBuffer(4));

/** Whether every thread of the process stands still (proc(5): state T). */
function isStopped(pid: number | undefined): boolean {
  if (pid === undefined) return true;
  return readdirSync(`/proc/${pid}/task`).every((thread) =>
    / T /.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, "latin1").replace(/^.*\)/, "")),
  );
}

/** A test that dies leaves no server behind. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts a server with the configuration that `render` makes for a free client port and a store folder. */
export async function startNats(
  render: (at: { readonly listen: string; readonly storeDir: string }) => string,
): Promise<TestNats> {
  const program = await findTool("nats-server", { onProgress: () => {} });
  const dir = await mkdtemp(join(tmpdir(), "heliograph-nats-"));
  const address = `127.0.0.1:${await freePort()}`;
  const configFile = join(dir, "nats.conf");
  const logFile = join(dir, "nats.log");
  await writeFile(configFile, render({ listen: address, storeDir: join(dir, "store") }));
  let child: ChildProcess | undefined;
  let exited: Promise<void> = Promise.resolve();
  const server: TestNats = {
    url: `nats://${address}`,
    address,
    dir,
    async start() {
      const log = await open(logFile, "a");
      const started = spawn(program, ["-c", configFile], { stdio: ["ignore", log.fd, log.fd] });
      await log.close();
      child = started;
      running.add(started);
      exited = new Promise((resolve) => {
        started.on("exit", () => {
          running.delete(started);
          resolve();
        });
      });
      for (let attempt = 0; !(await accepts(address)); attempt++) {
        if (attempt > 200 || started.exitCode !== null) {
          throw new Error(`nats-server did not start:\n${await readFile(logFile, "utf8").catch(() => "no log")}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    },
    async kill() {
      child?.kill("SIGKILL");
      await exited;
    },
    pause() {
      child?.kill("SIGSTOP");
      // The signal is only sent: on a busy machine a thread may still answer before it stops.
      for (let waits = 0; waits < 2000 && !isStopped(child?.pid); waits++) Atomics.wait(idle, 0, 0, 1);
    },
    resume: () => void child?.kill("SIGCONT"),
    async stop() {
      await server.kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

export const testPassword = 'a password with "quotes", \\ and $dollars';

/** A topology of data centres with one secondary each; nothing of it listens. */
export function testTopology(datacenters: readonly string[]): Topology {
  return topologySchema.parse({
    format_version: 1,
    federation: "test",
    global: {
      nats: { servers: ["nats://127.0.0.1:1"], leaf_servers: ["nats-leaf://127.0.0.1:1"] },
      pair: [{ name: "global-1", http: { listen: "127.0.0.1:1" } }],
    },
    datacenters: datacenters.map((name) => ({
      name,
      region: "test",
      nats: { servers: ["nats://127.0.0.1:1"], log_bytes_max: "256MiB" },
      primaries: [{ name: `${name}-p1`, http: { listen: "127.0.0.1:1" }, grpc: { listen: "127.0.0.1:1" } }],
      secondaries: [{ name: `${name}-s1`, http: { listen: "127.0.0.1:1" } }],
    })),
  });
}

/** A hub, and where data centres join it. */
export async function startHub(topology: Topology): Promise<TestNats & { readonly leafAddress: string }> {
  const leafAddress = `127.0.0.1:${await freePort()}`;
  // It leads nowhere: otherwise a server whose relay is cut would go around it.
  const leafAdvertise = `127.0.0.1:${await freePort()}`;
  const leafPasswords = Object.fromEntries(
    topology.datacenters.map(({ name }) => [name, `${testPassword} of ${name}`]),
  );
  const server = await startNats((at) =>
    renderHubConfig(topology, {
      ...at,
      leafListen: leafAddress,
      leafAdvertise,
      globalPassword: testPassword,
      leafPasswords,
    }),
  );
  return Object.assign(server, { leafAddress });
}

/** A data centre's own server, joined to the hub at `leafAddress` (or at a relay before it). */
export function startDatacenter(topology: Topology, name: string, leafAddress: string): Promise<TestNats> {
  return startNats((at) =>
    renderDatacenterConfig(topology, name, {
      ...at,
      password: testPassword,
      leafPassword: `${testPassword} of ${name}`,
      leafServers: [leafAddress],
    }),
  );
}

export function connectAs(server: TestNats, user: string, password = testPassword): NatsLink {
  return connectNats({
    servers: [server.url],
    user,
    password,
    name: `test ${user}`,
    clock: systemClock(),
    random: systemRandom(),
    log: silentLogger(),
  });
}

export const connectPrimaries = (server: TestNats) => connectAs(server, "heliograph");
export const connectGlobal = (hub: TestNats, datacenter: string) => connectAs(hub, hubUserOf(datacenter));

function accepts(address: string): Promise<boolean> {
  const [host, port] = address.split(":");
  return new Promise((resolve) => {
    const socket = connect(Number(port), host);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
