// `heliograph secondary`: the only file of this tier that reads arguments, environment, signals and the real clock, but for the
// clock of a thread (thread/worker.ts).

import { mkdir, rename, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";

import { createHttpServer } from "#/lib/http/server.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { type ProcessContext, runService, type Service, StartRefused } from "#/lib/supervision/process.ts";
import { exposeProcess, systemProcessProbe } from "#/lib/telemetry/process.ts";
import { createRegistry, type Registry } from "#/lib/telemetry/registry.ts";
import { connectPrimary } from "#/lib/wire/grpc.ts";
import { readTls } from "#/lib/wire/tls.ts";
import { assignmentFile } from "#/secondary/assignment.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { countedFetches } from "#/secondary/scrape/http/meter.ts";
import { proxyEnvironmentOf } from "#/secondary/scrape/http/proxy.ts";
import { startSecondary } from "#/secondary/secondary.ts";
import { oneShard, type StartShards } from "#/secondary/shard.ts";
import { openSpoolStore, SpoolError, type SpoolStore } from "#/secondary/spool/store.ts";
import type { FetchSettings } from "#/secondary/thread/message.ts";
import { threadedShards } from "#/secondary/thread/shards.ts";
import { findSecondary } from "#/topology/find.ts";
import { secretsByJob } from "#/topology/http.ts";
import { loadForProcess } from "#/topology/process.ts";
import { addressOf, durationMs, type Secondary, sizeBytes } from "#/topology/schema.ts";

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
    shards: shardsOf(secondary, context, metrics, {
      secrets: secretsByJob([...topology.scrape_configs, ...datacenter.scrape_configs]),
      baseDir: dirname(resolve(context.topologyFile)),
      environment: proxyEnvironmentOf(process.env),
    }),
    spoolBytesMax: sizeBytes(secondary.spool_bytes_max),
    spoolAgeMsMax: durationMs(secondary.spool_age_max),
    drainBytesPerSecond: sizeBytes(secondary.backlog_rate_max),
    onAssignment: assignmentKeeper(dataDir, log),
  });
}

/** One thread more than the machine has cores for would only take turns with the others. */
function shardsOf(
  { cardinality_limit: cardinalityLimit, threads: wanted }: Secondary,
  { clock, log }: ProcessContext,
  metrics: Registry,
  fetching: FetchSettings,
): StartShards {
  const cores = availableParallelism();
  const threads = Math.min(wanted, cores);
  if (threads < wanted)
    log.warn({ threads: wanted, cores }, "This machine has fewer cores than threads were asked for.");
  if (threads > 1) {
    const onDeath = (error: Error) => {
      throw error;
    };
    return threadedShards({ threads, cardinalityLimit, fetching, onDeath });
  }
  const { baseDir, environment, secrets } = fetching;
  const fetcher = httpFetcher({
    clock,
    meter: countedFetches(metrics),
    secrets: (job, place) => secrets.get(job)?.get(place),
    baseDir,
    environment,
  });
  return oneShard({ fetcher, cardinalityLimit });
}

/**
 * Keeps the newest assignment beside the spool too, for `--dry-run`: the spool's lock lets nobody else read while we run. It is
 * a copy that nothing rests on, and may hold what only its owner should read.
 */
function assignmentKeeper(dataDir: string, log: Logger): (bytes: Uint8Array) => void {
  const path = join(dataDir, assignmentFile);
  let writing: Promise<void> = Promise.resolve();
  return (bytes) => {
    writing = writing
      .then(async () => {
        await writeFile(`${path}.new`, bytes, { mode: 0o600 });
        await rename(`${path}.new`, path);
      })
      .catch((error: unknown) => log.warn({ err: error, path }, "The copy of the assignment could not be written."));
  };
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
