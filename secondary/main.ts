// `heliograph secondary`: the only file of this tier that reads arguments, environment, signals and the real clock.

import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

import { createHttpServer } from "#/lib/http/server.ts";
import { type ProcessContext, runService, type Service, StartRefused } from "#/lib/supervision/process.ts";
import { exposeProcess, systemProcessProbe } from "#/lib/telemetry/process.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { connectPrimary } from "#/lib/wire/grpc.ts";
import { readTls } from "#/lib/wire/tls.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { countedFetches } from "#/secondary/scrape/http/meter.ts";
import { startSecondary } from "#/secondary/secondary.ts";
import { openSpoolStore, SpoolError, type SpoolStore } from "#/secondary/spool.ts";
import { findSecondary } from "#/topology/find.ts";
import { secretsOf } from "#/topology/http.ts";
import { loadForProcess } from "#/topology/process.ts";
import { addressOf, type Datacenter, type Topology } from "#/topology/schema.ts";

export function main(argv: readonly string[]): Promise<number> {
  return runService({ tier: "secondary", argv, env: process.env, start });
}

async function start(context: ProcessContext): Promise<Service> {
  const { clock, dataDir, log, name, random } = context;
  const { topology, found } = await loadForProcess(context, (topology) => findSecondary(topology, name));
  const { datacenter, secondary } = found;
  const metrics = createRegistry({ tier: "secondary" });
  exposeProcess(metrics, { tier: "secondary", name }, systemProcessProbe());
  const tls = topology.tls.secondary && (await readTls(topology.tls.secondary, name));
  return await startSecondary({
    datacenter: datacenter.name,
    name,
    primaries: datacenter.primaries.map(({ grpc }) => addressOf(grpc)),
    listen: secondary.http.listen,
    http: createHttpServer,
    store: await openStore(dataDir),
    clock,
    random,
    log,
    metrics,
    connect: (address) => connectPrimary({ address, ...(tls && { tls }), log }),
    fetcher: httpFetcher({
      clock,
      meter: countedFetches(metrics),
      secrets: scrapeSecrets(topology, datacenter),
      baseDir: dirname(resolve(context.topologyFile)),
      environment: {
        http: process.env.HTTP_PROXY || process.env.http_proxy,
        https: process.env.HTTPS_PROXY || process.env.https_proxy,
        no: process.env.NO_PROXY || process.env.no_proxy,
      },
    }),
  });
}

/** Secrets of the scrape configs of a data centre, by job and place. */
function scrapeSecrets(topology: Topology, datacenter: Datacenter) {
  const configs = [...topology.scrape_configs, ...datacenter.scrape_configs];
  const byJob = new Map(configs.map((config) => [config.job_name, secretsOf(config)]));
  return (job: string, place: string) => byJob.get(job)?.get(place);
}

/** The spool's own lock keeps a second process out of the directory. */
async function openStore(dataDir: string): Promise<SpoolStore> {
  try {
    await mkdir(dataDir, { recursive: true });
    return await openSpoolStore(join(dataDir, "spool"));
  } catch (error) {
    if (error instanceof SpoolError) throw new StartRefused("bad_data_directory", error.message, { cause: error });
    const { code, message } = error as NodeJS.ErrnoException;
    throw new StartRefused("bad_data_directory", `the data directory ${dataDir} cannot be used: ${code ?? message}`, {
      cause: error,
    });
  }
}
