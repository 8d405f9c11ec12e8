// One global of the pair, composed from parts that are handed in: each data centre's log as it arrives at the hub, the lease
// store, its disk and its clock. Both globals read and keep everything; the lease decides only which one acts for the pair.

import { join } from "node:path";
import { PrimaryProbe, type ProbeFetch } from "#/global/probe.ts";
import { DatacenterStates } from "#/global/state.ts";
import { assignedSourcesOf, heardOf, statusOf } from "#/global/status.ts";
import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { BackChannel, LogReader } from "#/lib/commitlog/commitlog.ts";
import type { HttpFront, HttpServer } from "#/lib/http/server.ts";
import type { Disk } from "#/lib/journal/disk.ts";
import type { LedgerSource } from "#/lib/ledger/account.ts";
import { LedgerBook } from "#/lib/ledger/book.ts";
import { meterLedger } from "#/lib/ledger/meter.ts";
import { registerLedger } from "#/lib/ledger/routes.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { reportVersion } from "#/lib/model/report.ts";
import type { SampleSource } from "#/lib/model/source.ts";
import type { StatusAnswer } from "#/lib/model/status.ts";
import { registerAssignedPages } from "#/lib/page/assigned/routes.ts";
import { Lease } from "#/lib/pair/lease.ts";
import type { LeaseStore } from "#/lib/pair/store.ts";
import { registerPrometheusApi } from "#/lib/query/api.ts";
import type { Random } from "#/lib/random/random.ts";
import type { NewDecoder } from "#/lib/replica/options.ts";
import { Replica } from "#/lib/replica/replica.ts";
import { Head } from "#/lib/store/head.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { addressOf, type Datacenter, durationMs, type Topology } from "#/topology/schema.ts";

/** How often data centres are told how far this global has come; their secondaries' spools wait for it. */
const reportMs = secondMs;

/** How often old samples are let go. */
const trimMs = minuteMs;

/** One data centre as the hub shows it. */
export interface HubView {
  readonly log: LogReader;
  readonly backChannel: BackChannel;
  /** Whether the hub can be reached now, in the account of this data centre. */
  readonly connected: () => boolean;
}

export interface GlobalParts {
  readonly topology: Topology;
  readonly name: string;
  readonly dataDir: string;
  readonly disk: Disk;
  /** What reads the runs; a RunDecoder when absent. */
  readonly newDecoder?: NewDecoder;
  readonly http: HttpFront;
  /** Adds the page's routes before the front listens. */
  readonly web: (app: HttpServer["app"]) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly hub: (datacenter: Datacenter) => HubView;
  readonly leaseStore: LeaseStore;
  readonly leaseMs: number;
  /** Another one each time the process starts. */
  readonly incarnation: string;
  readonly probe: ProbeFetch;
}

export interface RunningGlobal {
  /** Where HTTP is answered, `host:port`. */
  readonly httpAddress: string;
  /** What queries are answered from. */
  readonly source: SampleSource;
  /** By data centre. */
  readonly ledgers: ReadonlyMap<string, LedgerBook>;
  healthy(): string | undefined;
  ready(): string | undefined;
  close(): Promise<void>;
}

export async function startGlobal(parts: GlobalParts): Promise<RunningGlobal> {
  const { clock, log, metrics, name, topology } = parts;
  const stopping = new AbortController();
  const self = topology.global.pair.find((replica) => replica.name === name)!;
  const retentionMs = durationMs(topology.head_retention);
  const views = new Map(topology.datacenters.map((datacenter) => [datacenter.name, parts.hub(datacenter)]));
  const replicas = new Map<string, Replica>();
  const ledgers = new Map(
    topology.datacenters.map(({ name: datacenter }) => [
      datacenter,
      new LedgerBook({ datacenter, retentionMs: () => retentionMs }),
    ]),
  );
  const heard = new Map(topology.datacenters.map((datacenter) => [datacenter.name, heardOf(datacenter, clock)]));
  let wasConnected = false;
  const replaying = () => {
    const missing = topology.datacenters.filter((datacenter) => !replicas.has(datacenter.name));
    if (missing.length === 0) return undefined;
    const names = missing.map((each) => each.name).join(", ");
    return `${name} is still replaying the journal of ${names}; ask its peer, or ask again in a moment`;
  };
  const readiness = () => {
    const reason = replaying();
    if (reason) return `${reason}.`;
    wasConnected ||= [...views.values()].some((view) => view.connected());
    wasConnected ||= [...replicas.values()].some((replica) => replica.position !== undefined);
    return wasConnected ? undefined : "Waiting for the hub's NATS servers.";
  };

  const http = parts.http({
    listen: self.http.listen,
    metrics,
    health: { healthy: () => undefined, ready: readiness },
    log,
  });
  const head = new Head({ metrics });
  registerPrometheusApi(http.app, { source: head, clock, metrics, incomplete: replaying });
  const states = new DatacenterStates({
    datacenters: topology.datacenters.map((datacenter) => ({
      name: datacenter.name,
      primaries: datacenter.primaries.map((primary) => primary.name),
    })),
    clock,
    log,
    metrics,
  });
  const lease = new Lease({
    store: parts.leaseStore,
    holder: name,
    incarnation: parts.incarnation,
    lengthMs: parts.leaseMs,
    clock,
    random: parts.random,
    log,
    metrics,
  });
  http.app.get(
    "/api/v1/datacenters",
    async (): Promise<StatusAnswer> => ({
      status: "success",
      data: statusOf({
        topology,
        replica: name,
        leader: lease.holder,
        nowMs: clock.nowMs(),
        view: states.look(),
        replicas,
        heard,
      }),
    }),
  );
  const ledgerSources = [...ledgers].map(([datacenter, book]): LedgerSource => {
    const isDark = () => states.look().datacenters.some((each) => each.name === datacenter && each.state === "dark");
    return { book, present: () => ({ nowMs: clock.nowMs(), dark: isDark() }) };
  });
  for (const source of ledgerSources) meterLedger(source, metrics);
  const asked = { server: name, incomplete: replaying, nowMs: () => clock.nowMs(), list: () => ledgerSources };
  registerLedger(http.app, asked);
  const view = { topology, server: name, replicas, heard, incomplete: replaying };
  registerAssignedPages(http.app, assignedSourcesOf(view), clock);
  await parts.web(http.app);
  const httpAddress = await http.start();
  log.info({ http: httpAddress }, "The global listens.");

  const reading: Promise<void>[] = [];
  for (const datacenter of topology.datacenters) {
    const view = views.get(datacenter.name)!;
    const known = heard.get(datacenter.name)!;
    const replica = await Replica.open({
      datacenter: datacenter.name,
      dir: join(parts.dataDir, "journal", datacenter.name),
      head,
      headRetentionMs: () => retentionMs,
      book: ledgers.get(datacenter.name)!,
      disk: parts.disk,
      ...(parts.newDecoder && { newDecoder: parts.newDecoder }),
      clock,
      log: log.child({ datacenter: datacenter.name }),
      metrics,
    });
    replica.onHeartbeat((heartbeat) => {
      known.heartbeats.set(heartbeat.origin, heartbeat);
      states.heard(datacenter.name, heartbeat.sentMs);
    });
    replica.onDurable(() => report(datacenter.name));
    replicas.set(datacenter.name, replica);
    reading.push(replica.run(view.log, stopping.signal));
  }

  const probe = new PrimaryProbe({
    primaries: topology.datacenters.flatMap((datacenter) =>
      datacenter.primaries.map((primary) => ({
        datacenter: datacenter.name,
        primary: primary.name,
        address: addressOf(primary.http),
      })),
    ),
    fetch: parts.probe,
    clock,
    log,
    onResult: (datacenter, primary, answered) => states.probed(datacenter, primary, answered),
  });
  probe.start();
  lease.start();
  const beat = clock.every(reportMs, () => {
    for (const datacenter of replicas.keys()) report(datacenter);
    for (const { words } of heard.values()) words.listen();
    states.look();
  });
  const trim = clock.every(trimMs, () => {
    head.trim(clock.nowMs() - retentionMs);
    for (const ledger of ledgers.values()) ledger.trim(clock.nowMs());
  });

  function report(datacenter: string): void {
    const replica = replicas.get(datacenter);
    if (!replica) return;
    const position = replica.durablePosition;
    const missing = replica.missing();
    views.get(datacenter)!.backChannel.publish({
      version: reportVersion,
      replica: name,
      tier: "global",
      datacenter,
      sentMs: clock.nowMs(),
      ...(position && { position }),
      watermarks: replica.watermarks(),
      ...(missing.length > 0 && { missing }),
      secondaries: [],
      leaseToken: lease.token,
    });
  }

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    beat.cancel();
    trim.cancel();
    probe.close();
    stopping.abort();
    await lease.close();
    await http.close();
    await Promise.all(reading);
    for (const replica of replicas.values()) await replica.close();
  }
  return {
    httpAddress,
    source: head,
    ledgers,
    healthy: () => undefined,
    ready: readiness,
    close() {
      closing ??= close();
      return closing;
    },
  };
}
