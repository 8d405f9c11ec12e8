import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { systemClock } from "#/lib/clock/clock.ts";
import { openDatacenterLog } from "#/lib/commitlog/datacenter.ts";
import { openHubLog } from "#/lib/commitlog/hub.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { systemRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { connectNats } from "#/lib/wire/jetstream.ts";
import { readTls } from "#/lib/wire/tls.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { startNats, testTopology } from "#/test/support/nats.ts";
import { freePort } from "#/test/support/port.ts";
import { accountOf, hubUserOf, readPassword, renderDatacenterConfig, renderHubConfig } from "#/topology/nats.ts";

t.test("the log is carried between servers where every connection shows a certificate", async (t) => {
  const topology = testTopology(["ams-1"]);
  const authority = await makeAuthority();
  const issue = (name: string) => authority.issue(name, `heliograph://test/${name}`);
  const [hubFiles, datacenterFiles, primaryFiles, globalFiles] = await Promise.all(
    ["hub", "nats", "primary", "global"].map(issue),
  );
  const leafListen = `127.0.0.1:${await freePort()}`;
  const leafPassword = 'p@ss:/?#[] "word\\';
  const hub = await startNats((at) =>
    renderHubConfig(topology, {
      ...at,
      serverName: "hub-1",
      leafListen,
      leafAdvertise: leafListen,
      globalPassword: "g",
      leafPasswords: { "ams-1": leafPassword },
      tls: hubFiles!,
    }),
  );
  const datacenter = await startNats((at) =>
    renderDatacenterConfig(topology, "ams-1", {
      ...at,
      serverName: "ams-1-1",
      leafServers: [leafListen],
      password: "d",
      leafPassword,
      tls: datacenterFiles!,
    }),
  );
  const clock = systemClock();
  const log = silentLogger();
  const connectWith = async (url: string, user: string, password: string, files: typeof hubFiles) =>
    connectNats({
      servers: [url.replace("nats:", "tls:")],
      user,
      password,
      tls: await readTls(files!, user),
      name: user,
      clock,
      random: systemRandom(),
      log,
    });
  const primary = await connectWith(datacenter.url, "heliograph", "d", primaryFiles);
  const global = await connectWith(hub.url, hubUserOf("ams-1"), "g", globalFiles);
  const aborter = new AbortController();
  t.teardown(async () => {
    aborter.abort();
    await Promise.all([primary.close(), global.close()]);
    await Promise.all([hub.stop(), datacenter.stop(), authority.close()]);
  });
  while (!primary.connected) await clock.sleep(5);
  const shared = { datacenter: "ams-1", clock, log };
  const writer = openDatacenterLog({
    ...shared,
    link: primary,
    limits: { bytesMax: 1_000_000, ageMaxMs: 60_000, replicas: 1 },
    outlastsPowerCuts: false,
    metrics: createRegistry({ tier: "primary" }),
  });
  const entry = { kind: "heartbeat", origin: "p1", id: "1", payload: Buffer.from("hello") } as const;
  await writer.append(entry, aborter.signal);
  const reader = openHubLog({
    ...shared,
    link: global,
    domain: "ams-1",
    replicas: 1,
    metrics: createRegistry({ tier: "global" }),
  });
  for await (const { payload } of reader.read(undefined, aborter.signal)) {
    t.equal(Buffer.from(payload).toString(), "hello");
    break;
  }
});

t.test("a data centre has an account of its own, and permissions for its log alone", async (t) => {
  const topology = testTopology(["ams-1", "fra"]);
  const options = { listen: "127.0.0.1:4222", leafListen: "127.0.0.1:7422", storeDir: "/s", globalPassword: "g" };
  const config = renderHubConfig(topology, { ...options, leafPasswords: { "ams-1": "a", fra: "f" } });
  t.equal(accountOf("ams-1"), "DC_AMS_1");
  t.match(config, /^ {2}DC_AMS_1: \{$/m);
  const words = config.replaceAll(/\s+/g, " ");
  t.ok(
    words.includes(
      '{ user: "leaf-fra" password: "f" permissions: { ' +
        'publish: { allow: [ "$JSC.R.>" "dlv.fra.>" "_INBOX.>" ] } ' +
        'subscribe: { allow: [ "$JS.fra.API.CONSUMER.>" "$JS.fra.API.STREAM.INFO.>" "$JS.fra.API.STREAM.NAMES" ' +
        '"$JS.FC.>" "$JS.ACK.>" "wm.fra.>" ] } } }',
    ),
    config,
  );
  t.notMatch(config, "no_auth_user");
  t.throws(() => renderHubConfig(topology, { ...options, leafPasswords: { "ams-1": "a" } }), {
    code: "missing_password",
    message: "data centre fra has no password for the hub",
  });
  const wanted = { listen: "127.0.0.1:4222", storeDir: "/s", password: "d", leafPassword: "a" };
  t.throws(() => renderDatacenterConfig(topology, "ber", wanted), { code: "unknown_datacenter" });
});

t.test("a password is the first line of its file", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-password-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, "password");
  await writeFile(file, "correct horse\r\nanything\n");
  t.equal(await readPassword(file), "correct horse");
  await writeFile(file, "\n");
  await t.rejects(readPassword(file), { code: "empty_password" });
  await t.rejects(readPassword(join(dir, "none")), { code: "unreadable_password" });
});
