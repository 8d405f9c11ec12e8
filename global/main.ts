// `heliograph global`: the only file of this tier that reads arguments, environment, signals and the real clock.

import { randomUUID } from "node:crypto";
import { startGlobal } from "#/global/global.ts";
import { fetchStatus } from "#/global/probe.ts";
import { registerWeb } from "#/global/web/serve.ts";
import { openBackChannel } from "#/lib/commitlog/backchannel.ts";
import { openHubLog } from "#/lib/commitlog/hub.ts";
import { createHttpServer } from "#/lib/http/server.ts";
import { systemDisk } from "#/lib/journal/disk.ts";
import { openLeaseStore } from "#/lib/pair/kv.ts";
import { leaseLengthMs } from "#/lib/pair/lease.ts";
import { type ProcessContext, runService, type Service } from "#/lib/supervision/process.ts";
import { exposeProcess, systemProcessProbe } from "#/lib/telemetry/process.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { connectNats, type NatsLink } from "#/lib/wire/jetstream.ts";
import { readTls } from "#/lib/wire/tls.ts";
import { findGlobal } from "#/topology/find.ts";
import { hubLeaseUser, hubUserOf, readPassword } from "#/topology/nats.ts";
import { loadForProcess } from "#/topology/process.ts";

export function main(argv: readonly string[]): Promise<number> {
  return runService({ tier: "global", argv, env: process.env, start });
}

async function start(context: ProcessContext): Promise<Service> {
  const { clock, dataDir, log, name, random } = context;
  const { topology } = await loadForProcess(context, (topology) => findGlobal(topology, name));
  const metrics = createRegistry({ tier: "global" });
  exposeProcess(metrics, { tier: "global", name }, systemProcessProbe());
  const tls = topology.tls.global && (await readTls(topology.tls.global, name));
  const { nats } = topology.global;
  const password = nats.password_file && (await readPassword(nats.password_file));
  const links: NatsLink[] = [];
  const connectAs = (user: string) => {
    const link = connectNats({
      servers: nats.servers,
      ...(password && { user, password }),
      ...(tls && { tls }),
      name: `${name}/${user}`,
      clock,
      random,
      log: log.child({ account: user }),
    });
    links.push(link);
    return link;
  };
  const leaseLink = connectAs(hubLeaseUser);
  const running = await startGlobal({
    topology,
    name,
    dataDir,
    disk: systemDisk(),
    http: createHttpServer,
    web: (app) => registerWeb(app, { log }),
    clock,
    random,
    log,
    metrics,
    hub: (datacenter) => {
      const link = connectAs(hubUserOf(datacenter.name));
      return {
        log: openHubLog({
          link,
          datacenter: datacenter.name,
          domain: datacenter.nats.domain ?? datacenter.name,
          replicas: nats.replicas,
          clock,
          log: log.child({ datacenter: datacenter.name }),
          metrics,
        }),
        backChannel: openBackChannel({ link, datacenter: datacenter.name, log, metrics }),
        connected: () => link.connected,
      };
    },
    leaseStore: openLeaseStore({ link: leaseLink, bucket: "heliograph", key: "global", replicas: nats.replicas }),
    leaseMs: leaseLengthMs(nats.replicas),
    incarnation: randomUUID(),
    probe: fetchStatus,
  });
  return {
    healthy: () => running.healthy(),
    ready: () => running.ready(),
    async close() {
      await running.close();
      await Promise.all(links.map((link) => link.close()));
    },
  };
}
