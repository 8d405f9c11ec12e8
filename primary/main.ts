// `heliograph primary`: the only file of this tier that reads arguments, environment, signals and the real clock.

import { randomUUID } from "node:crypto";
import { dirname, resolve } from "node:path";
import { openBackChannel } from "#/lib/commitlog/backchannel.ts";
import { openDatacenterLog } from "#/lib/commitlog/datacenter.ts";
import { createHttpServer } from "#/lib/http/server.ts";
import { systemDisk } from "#/lib/journal/disk.ts";
import { openLeaseStore } from "#/lib/pair/kv.ts";
import { leaseLengthMs } from "#/lib/pair/lease.ts";
import { type ProcessContext, runService, type Service } from "#/lib/supervision/process.ts";
import { exposeProcess, systemProcessProbe } from "#/lib/telemetry/process.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { servePrimary } from "#/lib/wire/grpc.ts";
import { connectNats } from "#/lib/wire/jetstream.ts";
import { readTls } from "#/lib/wire/tls.ts";
import { systemDisk as discoveryDisk } from "#/primary/discover/disk.ts";
import { startPrimary } from "#/primary/primary.ts";
import { findPrimary } from "#/topology/find.ts";
import { readPassword } from "#/topology/nats.ts";
import { loadForProcess } from "#/topology/process.ts";
import { durationMs, sizeBytes } from "#/topology/schema.ts";

export function main(argv: readonly string[]): Promise<number> {
  return runService({ tier: "primary", argv, env: process.env, start });
}

async function start(context: ProcessContext): Promise<Service> {
  const { clock, dataDir, log, name, random } = context;
  const { topology, found } = await loadForProcess(context, (topology) => findPrimary(topology, name));
  const { datacenter, primary } = found;
  const metrics = createRegistry({ tier: "primary" });
  exposeProcess(metrics, { tier: "primary", name }, systemProcessProbe());
  const tls = topology.tls.primary && (await readTls(topology.tls.primary, name));
  const { nats } = datacenter;
  const password = nats.password_file && (await readPassword(nats.password_file));
  const link = connectNats({
    servers: nats.servers,
    ...(password && { user: nats.user, password }),
    ...(tls && { tls }),
    name,
    clock,
    random,
    log,
  });
  const running = await startPrimary({
    topology,
    topologyDir: dirname(resolve(context.topologyFile)),
    datacenter,
    primary,
    dataDir,
    disk: systemDisk(),
    discoveryDisk,
    http: createHttpServer,
    clock,
    random,
    log,
    metrics,
    commitLog: openDatacenterLog({
      link,
      datacenter: datacenter.name,
      limits: {
        bytesMax: sizeBytes(nats.log_bytes_max),
        ageMaxMs: durationMs(nats.log_age_max),
        replicas: nats.replicas,
      },
      outlastsPowerCuts: nats.replicas > 1,
      clock,
      log,
      metrics,
    }),
    logConnected: () => link.connected,
    backChannel: openBackChannel({ link, datacenter: datacenter.name, log, metrics }),
    leaseStore: openLeaseStore({
      link,
      bucket: "heliograph",
      key: `primary-${datacenter.name}`,
      replicas: nats.replicas,
    }),
    leaseMs: leaseLengthMs(nats.replicas),
    incarnation: randomUUID(),
    reread: async () => (await loadForProcess(context, (topology) => findPrimary(topology, name))).topology,
    serve: (handlers) => servePrimary({ listen: primary.grpc.listen, ...(tls && { tls }), handlers, log }),
  });
  return {
    healthy: () => running.healthy(),
    ready: () => running.ready(),
    async reload() {
      await running.reload();
    },
    async close() {
      await running.close();
      await link.close();
    },
  };
}
