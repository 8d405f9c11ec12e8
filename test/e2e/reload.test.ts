// A primary that reads its topology file again, by signal and by HTTP.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { call, getJson } from "#/cli/http.ts";
import { startTier } from "#/test/support/heliograph.ts";
import { natsServer, startNatsServer, testPassword } from "#/test/support/nats.ts";
import { freePort } from "#/test/support/port.ts";
import { openWorld, until } from "#/test/support/world.ts";
import { parseTopology } from "#/topology/file.ts";
import { renderDatacenterConfig } from "#/topology/nats.ts";

t.setTimeout(120_000);
const timeoutMs = 10_000;

t.test(
  "a changed topology file is taken over without a restart, and a wrong one changes nothing",
  { skip: natsServer.missing },
  async (t) => {
    const world = await openWorld(t);
    const [nats, http, grpc] = [await freePort(), await freePort(), await freePort()];
    const text = (more: {
      readonly targets: readonly string[];
      readonly capacity: number;
      readonly region?: string;
    }) => `
format_version: 1
federation: reload
global: { nats: { servers: ["nats://127.0.0.1:1"], leaf_servers: ["nats-leaf://127.0.0.1:1"] }, pair: [{ name: g1, http: { listen: "127.0.0.1:2" } }] }
scrape_configs: [{ job_name: node, static_configs: [{ targets: [${more.targets.map((each) => `"${each}"`).join(", ")}] }] }]
datacenters:
  - name: ams
    region: ${more.region ?? "eu"}
    nats: { servers: ["nats://127.0.0.1:${nats}"], password_file: password, log_bytes_max: 256MiB }
    primaries: [{ name: p1, http: { listen: "127.0.0.1:${http}" }, grpc: { listen: "127.0.0.1:${grpc}" } }]
    secondaries: [{ name: s1, capacity: ${more.capacity}, http: { listen: "127.0.0.1:3" } }]
`;
    const file = join(world.dir, "topology.yaml");
    await writeFile(join(world.dir, "password"), testPassword);
    const first = text({ targets: ["a:1"], capacity: 10 });
    await writeFile(file, first);
    const { topology } = parseTopology(first, "topology.yaml");
    const places = { listen: `127.0.0.1:${nats}`, storeDir: join(world.dir, "nats") };
    const passwords = { password: testPassword, leafPassword: "unused" };
    const config = renderDatacenterConfig(topology!, "ams", { ...places, ...passwords, leafServers: ["127.0.0.1:1"] });
    await startNatsServer(world, "nats", config);
    const primary = await startTier(world, "primary", "p1", file);
    const base = `http://127.0.0.1:${http}`;
    const metric = async (name: string) => {
      const { body } = await call(`${base}/metrics`, { timeoutMs });
      return Number(new RegExp(`^${name} (.*)$`, "m").exec(body)?.[1]);
    };
    const generation = async () => {
      interface Answer {
        readonly data: { readonly activeTargets: readonly unknown[] };
      }
      return (await getJson<Answer>(`${base}/api/v1/targets`, { timeoutMs })).data.activeTargets.length;
    };
    await until("a generation of 1 target", 30_000, async () => (await generation()) === 1 || undefined);

    await writeFile(file, text({ targets: ["a:1", "b:1"], capacity: 20 }));
    primary.process.kill("SIGHUP");
    await until("a generation of 2 targets", 10_000, async () => (await generation()) === 2 || undefined);
    t.equal(await metric("heliograph_config_last_reload_successful"), 1);

    await writeFile(file, text({ targets: ["a:1"], capacity: 0 }));
    const refused = await call(`${base}/-/reload`, { method: "POST", timeoutMs });
    t.equal(refused.status, 500);
    t.match(refused.body, /topology\.yaml:11:\d+: .*capacity/);
    t.equal(await metric("heliograph_config_last_reload_successful"), 0);
    t.equal(await generation(), 2);

    await writeFile(file, text({ targets: ["a:1", "b:1", "c:1"], capacity: 20, region: "us" }));
    const taken = await call(`${base}/-/reload`, { method: "POST", timeoutMs });
    t.equal(taken.status, 200);
    t.equal(taken.body, "Waits for a restart: datacenters[ams].region.\n");
    await until("a generation of 3 targets", 10_000, async () => (await generation()) === 3 || undefined);
    t.equal(await metric("heliograph_config_last_reload_successful"), 1);

    primary.process.kill("SIGTERM");
    t.equal(await primary.ended, 0, "it was the same process all the time");
  },
);
