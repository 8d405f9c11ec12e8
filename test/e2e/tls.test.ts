// A federation whose every connection between hosts shows a certificate, made as docs/operating/systemd.md makes it: the
// NATS configurations come from `heliograph topology nats`, the processes are real, and the paths in the topology file are
// relative to it. A secondary with the certificate of another stays outside.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import t from "tap";
import { call, getJson } from "#/cli/http.ts";
import { readAnswer } from "#/cli/query/table.ts";
import { findTool, ToolMissing } from "#/cli/tools.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import type { FederationStatus } from "#/lib/model/status.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { cleanEnv, heliograph, launcher } from "#/test/support/command.ts";
import { freePort } from "#/test/support/port.ts";

const clock = systemClock();
const timeoutMs = 2000;

/** Found, fetched, or the reason why there is none here. */
const natsServer = await findTool("nats-server", { onProgress: () => {} }).catch((error: unknown) => {
  if (error instanceof ToolMissing) return error;
  throw error;
});

async function until<T>(what: string, msMax: number, look: () => Promise<T | undefined>): Promise<T> {
  const endMs = performance.now() + msMax;
  for (;;) {
    const seen = await look().catch(() => undefined);
    if (seen !== undefined) return seen;
    if (performance.now() > endMs) throw new Error(`not within ${msMax / 1000} s: ${what}`);
    await clock.sleep(50);
  }
}

async function upAt(server: string): Promise<Record<string, string>> {
  const form = { query: "sum by (datacenter) (up)" };
  const answer = readAnswer((await call(`${server}/api/v1/query`, { form, timeoutMs })).body);
  if (answer?.status !== "success" || answer.data.resultType !== "vector") throw new Error("no vector");
  return Object.fromEntries(answer.data.result.map(({ metric, value }) => [metric.datacenter, value[1]]));
}

const skip = typeof natsServer === "string" ? false : natsServer.message;
t.test("samples go from target to global over mutual TLS, and no further without it", { skip }, async (t) => {
  const authority = await makeAuthority();
  const dir = authority.dir;
  const children: ChildProcess[] = [];
  const target = createServer((_request, response) => response.end("answer 42\n"));
  t.teardown(async () => {
    const running = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    const gone = running.map((child) => new Promise((resolve) => child.once("exit", resolve)));
    for (const child of running) child.kill("SIGKILL");
    await Promise.all(gone);
    target.close();
    target.closeAllConnections();
    await authority.close();
  });
  await new Promise<void>((resolve) => target.listen(0, "127.0.0.1", resolve));
  const targetAddress = `127.0.0.1:${(target.address() as AddressInfo).port}`;

  const identity = (tier: string, name: string) => `heliograph://test/${tier}/${name}`;
  await Promise.all([
    authority.issue("hub-nats", identity("nats", "hub-nats")),
    authority.issue("ams-nats", identity("nats", "ams-nats")),
    authority.issue("global-1", identity("global", "global-1")),
    authority.issue("ams-p1", identity("primary", "ams-p1")),
    authority.issue("ams-p2", identity("primary", "ams-p2")),
    authority.issue("ams-s1", identity("secondary", "ams-s1")),
    authority.issue("ams-s2", identity("secondary", "ams-s1")),
  ]);
  await mkdir(join(dir, "secrets"));
  for (const name of ["hub", "ams", "ams-leaf"]) {
    await writeFile(join(dir, "secrets", name), `${name}-${process.pid}\n`, { mode: 0o600 });
  }

  const address = Object.fromEntries(
    await Promise.all(
      ["hub", "leaf", "nats", "global", "p1", "p1g", "p2", "p2g", "s1", "s2"].map(
        async (what) => [what, `127.0.0.1:${await freePort()}`] as const,
      ),
    ),
  );
  const topologyFile = join(dir, "topology.yaml");
  await writeFile(
    topologyFile,
    `format_version: 1
federation: test
tls:
  global: &tls { ca_file: ca.pem, cert_file: "{name}.pem", key_file: "{name}.key" }
  primary: *tls
  secondary: *tls
scrape_defaults: { scrape_interval: 1s, scrape_timeout: 1s }
global:
  nats:
    servers: ["tls://${address.hub}"]
    leaf_servers: ["tls://${address.leaf}"]
    password_file: secrets/hub
  pair:
    - { name: global-1, http: { listen: "${address.global}" } }
datacenters:
  - name: ams
    region: eu
    nats:
      servers: ["tls://${address.nats}"]
      password_file: secrets/ams
      leaf_password_file: secrets/ams-leaf
      log_bytes_max: 256MiB
    primaries:
      - { name: ams-p1, http: { listen: "${address.p1}" }, grpc: { listen: "${address.p1g}" } }
      - { name: ams-p2, http: { listen: "${address.p2}" }, grpc: { listen: "${address.p2g}" } }
    secondaries:
      - { name: ams-s1, http: { listen: "${address.s1}" } }
      - { name: ams-s2, http: { listen: "${address.s2}" } }
scrape_configs:
  - job_name: test
    static_configs: [{ targets: ["${targetAddress}"] }]
`,
  );
  const checked = await heliograph(["topology", "check", topologyFile]);
  t.equal(checked.code, 0, checked.stderr);

  const logOf = (name: string) => join(dir, `${name}.log`);
  const start = async (name: string, program: string, args: readonly string[]) => {
    const log = await open(logOf(name), "a");
    children.push(spawn(program, args, { cwd: "/", env: cleanEnv(), stdio: ["ignore", log.fd, log.fd] }));
    await log.close();
  };
  const startNats = async (name: string, place: readonly string[]) => {
    const files = ["--tls-ca", "ca.pem", "--tls-cert", `${name}.pem`, "--tls-key", `${name}.key`].map((word) =>
      word.startsWith("--") ? word : join(dir, word),
    );
    const args = ["topology", "nats", topologyFile, ...place, "--store", join(dir, `${name}-store`), ...files];
    const made = await heliograph(args);
    t.equal(made.code, 0, made.stderr);
    await writeFile(join(dir, `${name}.conf`), made.stdout, { mode: 0o600 });
    await start(name, natsServer as string, ["--config", join(dir, `${name}.conf`)]);
  };
  const startTier = (tier: string, name: string) =>
    start(name, launcher, [tier, "--topology", topologyFile, "--name", name, "--data", join(dir, "data", name)]);

  // In any order: whoever is first waits for the others.
  await Promise.all([
    startTier("secondary", "ams-s1"),
    startTier("secondary", "ams-s2"),
    startTier("primary", "ams-p1"),
    startTier("primary", "ams-p2"),
    startTier("global", "global-1"),
    startNats("ams-nats", ["--datacenter", "ams"]),
    startNats("hub-nats", ["--hub"]),
  ]);

  const logs = async () =>
    (await Promise.all(["ams-s1", "ams-p1", "global-1"].map((name) => readFile(logOf(name), "utf8")))).join("\n");
  const servers = [address.global, address.p1, address.p2].map((server) => `http://${server}`);
  for (const server of servers) {
    const seen = await until(`up at ${server}`, 20_000, async () => {
      const found = await upAt(server);
      return found.ams === undefined ? undefined : found;
    }).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await logs()}`);
    });
    t.same(seen, { ams: "1" });
  }
  // The global may have asked a primary just before it listened; it asks again every two seconds.
  const status = await until("ams to be live, and both its primaries to answer", 10_000, async () => {
    const { data } = await getJson<{ data: FederationStatus }>(`${servers[0]}/api/v1/datacenters`, { timeoutMs });
    const ams = data.datacenters[0];
    return ams?.state === "live" && ams.primaries.every(({ reachable }) => reachable) ? ams : undefined;
  });
  t.same(
    status.primaries.map(({ name }) => name),
    ["ams-p1", "ams-p2"],
  );

  const refusal = await until("the refusal of ams-s2", 5000, async () =>
    (await readFile(logOf("ams-s2"), "utf8")).split("\n").find((line) => line.includes("A primary refuses us")),
  );
  t.match(
    JSON.parse(refusal).reason,
    /the certificate is of "heliograph:\/\/test\/secondary\/ams-s1", got a hello of "ams-s2"$/,
  );
  const spool = await call(`http://${address.s1}/metrics`, { timeoutMs });
  t.match(spool.body, /^heliograph_secondary_push_connected 1$/m);
});
