// A federation whose every connection between hosts shows a certificate, made as docs/operating/systemd.md makes it: the
// NATS configurations come from `heliograph topology nats`, the processes are real, and the paths in the topology file are
// relative to it. A secondary with the certificate of another stays outside. One of the targets wants a certificate and a password
// too, which stands in the topology file and shows up nowhere else.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import t, { type Test } from "tap";
import { call, getJson } from "#/cli/http.ts";
import type { FederationStatus } from "#/lib/model/status.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { heliograph } from "#/test/support/command.ts";
import { startTier, valuesByDatacenter } from "#/test/support/heliograph.ts";
import { natsServer, startNatsServer } from "#/test/support/nats.ts";
import { nodeExporter, startNodeExporter } from "#/test/support/node-exporter.ts";
import { freePort } from "#/test/support/port.ts";
import { openWorld, until } from "#/test/support/world.ts";

const timeoutMs = 2000;

const skip = natsServer.missing || nodeExporter.missing;
t.test("samples go from target to global over mutual TLS, and no further without it", { skip }, async (t) => {
  const authority = await makeAuthority();
  const dir = authority.dir;
  t.teardown(() => authority.close());
  const world = await openWorld(t);
  const targetAddress = await startNodeExporter(world);

  const identity = (tier: string, name: string) => `heliograph://test/${tier}/${name}`;
  await Promise.all([
    authority.issue("hub-nats", identity("nats", "hub-nats")),
    authority.issue("ams-nats", identity("nats", "ams-nats")),
    authority.issue("global-1", identity("global", "global-1")),
    authority.issue("ams-p1", identity("primary", "ams-p1")),
    authority.issue("ams-p2", identity("primary", "ams-p2")),
    authority.issue("ams-s1", identity("secondary", "ams-s1")),
    authority.issue("ams-s2", identity("secondary", "ams-s1")),
    authority.issue("guarded", undefined),
    authority.issue("scrape", undefined),
  ]);
  const [guardedPort, askedWith] = await startGuarded(t, dir);
  await mkdir(join(dir, "secrets"));
  await writeFile(join(dir, "secrets/key"), "key-1\n");
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
  - job_name: guarded
    scheme: https
    basic_auth: { username: scrape, password: ${secret} }
    http_headers: { X-Key: { files: [secrets/key] } }
    tls_config: { ca_file: ca.pem, cert_file: scrape.pem, key_file: scrape.key }
    static_configs: [{ targets: ["127.0.0.1:${guardedPort}"] }]
`,
  );
  const checked = await heliograph(["topology", "check", topologyFile]);
  t.equal(checked.code, 0, checked.stderr);

  const startNats = async (name: string, place: readonly string[]) => {
    const files = ["--tls-ca", "ca.pem", "--tls-cert", `${name}.pem`, "--tls-key", `${name}.key`].map((word) =>
      word.startsWith("--") ? word : join(dir, word),
    );
    const args = ["topology", "nats", topologyFile, ...place, "--store", join(world.dir, `${name}-store`), ...files];
    const made = await heliograph(args);
    t.equal(made.code, 0, made.stderr);
    await startNatsServer(world, name, made.stdout);
  };

  // In any order: whoever is first waits for the others.
  const tiers = await Promise.all([
    startTier(world, "secondary", "ams-s1", topologyFile),
    startTier(world, "secondary", "ams-s2", topologyFile),
    startTier(world, "primary", "ams-p1", topologyFile),
    startTier(world, "primary", "ams-p2", topologyFile),
    startTier(world, "global", "global-1", topologyFile),
    startNats("ams-nats", ["--datacenter", "ams"]),
    startNats("hub-nats", ["--hub"]),
  ]);

  const refused = tiers[1];
  const servers = [address.global, address.p1, address.p2].map((server) => `http://${server}`);
  for (const server of servers) {
    const seen = await until(`up at ${server}`, 20_000, async () => {
      const found = await valuesByDatacenter(server, "sum by (datacenter) (up)");
      return found.ams === "2" ? found : undefined;
    });
    t.same(seen, { ams: "2" });
  }
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
    (await refused.log()).split("\n").find((line) => line.includes("A primary refuses us")),
  );
  t.match(
    JSON.parse(refusal).reason,
    /the certificate is of "heliograph:\/\/test\/secondary\/ams-s1", got a hello of "ams-s2"$/,
  );
  const spool = await call(`http://${address.s1}/metrics`, { timeoutMs });
  t.match(spool.body, /^heliograph_secondary_push_connected 1$/m);

  t.same([...askedWith], [`scrape Basic ${Buffer.from(`scrape:${secret}`).toString("base64")} key-1`]);
  const paths = ["/metrics", "/targets", "/api/v1/targets", "/api/v1/status/config"];
  const shown = await Promise.all(
    [...servers, `http://${address.s1}`].flatMap((server) =>
      paths.map(async (path) => (await call(`${server}${path}`, { timeoutMs })).body),
    ),
  );
  const logs = await Promise.all(tiers.map((tier) => (tier ? tier.log() : "")));
  t.ok(shown.some((body) => body.includes("guarded")) && logs.some((log) => log.includes("generation")));
  for (const text of [...shown, ...logs]) t.notMatch(text, new RegExp(`${secret}|${btoa(`scrape:${secret}`)}`));
});

const secret = "correct-horse-battery";

/** A target that wants a certificate of the authority; and what it was asked with. */
async function startGuarded(t: Test, dir: string): Promise<readonly [port: number, askedWith: ReadonlySet<string>]> {
  const read = (name: string) => readFile(join(dir, name));
  const [ca, cert, key] = await Promise.all(["ca.pem", "guarded.pem", "guarded.key"].map(read));
  const askedWith = new Set<string>();
  const server = createServer(
    { ca: ca!, cert: cert!, key: key!, requestCert: true, rejectUnauthorized: true },
    (request, answer) => {
      const { subject } = (request.socket as TLSSocket).getPeerCertificate();
      askedWith.add(`${subject.CN} ${request.headers.authorization} ${request.headers["x-key"]}`);
      answer.end("guarded 1\n");
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return [(server.address() as AddressInfo).port, askedWith];
}
