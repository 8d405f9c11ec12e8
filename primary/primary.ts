// One primary of a data centre's pair, composed from parts that are handed in: its log, its lease store, its disk, its clock
// and the way secondaries reach it. What each part does stands in its own file; here is only who hears of what.

import { join } from "node:path";
import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { type BackChannel, LogError, type SegmentedLog } from "#/lib/commitlog/commitlog.ts";
import type { HttpFront } from "#/lib/http/server.ts";
import type { Disk } from "#/lib/journal/disk.ts";
import { LedgerBook } from "#/lib/ledger/book.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { standingIn } from "#/lib/model/generation.ts";
import { encodeHeartbeat, heartbeatVersion } from "#/lib/model/heartbeat.ts";
import { type ReplicaReport, reportVersion } from "#/lib/model/report.ts";
import type { SampleSource } from "#/lib/model/source.ts";
import type { DatacenterStatus, StatusAnswer } from "#/lib/model/status.ts";
import { registerAssignedPages } from "#/lib/page/assigned/routes.ts";
import { LastWords } from "#/lib/page/assigned/words.ts";
import { Lease } from "#/lib/pair/lease.ts";
import type { LeaseStore } from "#/lib/pair/store.ts";
import { registerPrometheusApi } from "#/lib/query/api.ts";
import type { Random } from "#/lib/random/random.ts";
import { Replica } from "#/lib/replica/replica.ts";
import { Head } from "#/lib/store/head.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import type { PrimaryHandlers } from "#/lib/wire/session.ts";
import { Assignments } from "#/primary/assignments.ts";
import { Discovery } from "#/primary/discover/discover.ts";
import type { Disk as DiscoveryDisk } from "#/primary/discover/disk.ts";
import { govern } from "#/primary/govern.ts";
import {
  type Drained,
  drainSecondary,
  type OperateParts,
  type ReloadAnswer,
  registerOperation,
} from "#/primary/operate.ts";
import { gossipMs, keepAliveMs, Presence, presenceLeaseMs } from "#/primary/presence.ts";
import { serveReach } from "#/primary/reach.ts";
import { Receiver } from "#/primary/receive.ts";
import { Repairer } from "#/primary/repair.ts";
import { SafetyBook } from "#/primary/safety.ts";
import { registerSources } from "#/primary/sources.ts";
import { Standings } from "#/primary/standing.ts";
import { Unassigned } from "#/primary/unassigned.ts";
import { reviewMs, Verdicts } from "#/primary/verdict.ts";
import { assignedSourcesOf, heardByPair, serveLedger } from "#/primary/view.ts";
import { reloaded } from "#/topology/reload.ts";
import { addressOf, type Datacenter, durationMs, type Primary, type Topology } from "#/topology/schema.ts";

/** How often a primary tells the log that its data centre lives, and its peers how far it has come. */
const heartbeatMs = secondMs;

/** How often old samples are let go. */
const trimMs = minuteMs;

export interface PrimaryParts {
  readonly topology: Topology;
  /** Relative paths of the topology file are relative to this. */
  readonly topologyDir: string;
  readonly datacenter: Datacenter;
  readonly primary: Primary;
  readonly dataDir: string;
  readonly disk: Disk;
  /** Where lists of targets are read. */
  readonly discoveryDisk: DiscoveryDisk;
  readonly http: HttpFront;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly commitLog: SegmentedLog;
  /** Whether the log's servers can be reached now. */
  readonly logConnected: () => boolean;
  readonly backChannel: BackChannel;
  readonly leaseStore: LeaseStore;
  readonly leaseMs: number;
  /** Another one each time the process starts. */
  readonly incarnation: string;
  /** Reads the topology file again. Throws StartRefused when it is wrong. */
  readonly reread: () => Promise<Topology>;
  /** Begins to listen for secondaries. */
  readonly serve: (handlers: PrimaryHandlers) => Promise<{ readonly address: string; close(): Promise<void> }>;
}

export interface RunningPrimary {
  /** Where HTTP is answered, `host:port`. */
  readonly httpAddress: string;
  /** What queries are answered from. */
  readonly source: SampleSource;
  /** The newest generation that it has read. */
  readonly generation: Generation | undefined;
  healthy(): string | undefined;
  ready(): string | undefined;
  /** Goes on by the topology file as it is now, as far as that needs no restart. Never rejects. */
  reload(): Promise<ReloadAnswer>;
  drain(asked: { readonly name: string; readonly wanted: boolean; readonly force: boolean }): Promise<Drained>;
  close(): Promise<void>;
}

export async function startPrimary(parts: PrimaryParts): Promise<RunningPrimary> {
  const { backChannel, clock, commitLog, log, metrics, primary, random } = parts;
  const stopping = new AbortController();
  /** As they are now: `reload` may bring others. */
  let { datacenter, topology } = parts;
  let reloads = 0;
  const secondaries = () => datacenter.secondaries.map(({ name }) => name);
  const retentionMs = () => durationMs(datacenter.head_retention ?? topology.head_retention);
  let replica: Replica | undefined;
  let wasConnected = false;
  const readiness = () => {
    if (!replica) return `${replaying(primary.name)}.`;
    wasConnected ||= parts.logConnected() || replica.position !== undefined;
    return wasConnected ? undefined : "Waiting for the data centre's NATS servers.";
  };

  const http = parts.http({
    listen: primary.http.listen,
    metrics,
    health: { healthy: () => undefined, ready: readiness },
    log,
  });
  const head = new Head({ metrics });
  registerPrometheusApi(http.app, {
    source: head,
    clock,
    metrics,
    incomplete: () => (replica ? undefined : replaying(primary.name)),
  });

  const safety = new SafetyBook({
    primaries: datacenter.primaries.map(({ name }) => name),
    globals: topology.global.pair.map(({ name }) => name),
    clock,
  });
  const receiver = new Receiver({
    datacenter: datacenter.name,
    primary: primary.name,
    secondaries,
    writer: commitLog,
    keepAliveMs: () => keepAliveMs(leaseMs()),
    onWord: (name) => presence.heard(name, 0),
    safety,
    clock,
    random,
    log,
    metrics,
  });
  commitLog.onLoss(() => receiver.startOver());
  const assignments = new Assignments({ datacenter: datacenter.name, primary: primary.name, secondaries, clock });
  const leaseMs = () => presenceLeaseMs(shortestIntervalMs(topology, datacenter));
  const presence = new Presence({ clock, secondaries: secondaries(), leaseMs: leaseMs() });
  const verdicts: Verdicts = new Verdicts({
    primary: primary.name,
    secondaries,
    lease: { held: () => lease.held() },
    generation: () => replica?.generation,
    clock,
    random,
    log,
    metrics,
    publish: () => report(),
  });
  const standings = new Standings({
    clock,
    presence,
    secondaries: datacenter.secondaries,
    cutOff: () => verdicts.cutOff(),
  });
  verdicts.onChange(() => standings.update());
  const lease = new Lease({
    store: parts.leaseStore,
    holder: primary.name,
    incarnation: parts.incarnation,
    lengthMs: parts.leaseMs,
    // From the journal and then from the log: the lease is sought once the journal was replayed.
    // What a secondary came with, the log may have lost.
    tokenFloor: () => Math.max(replica?.generation?.token ?? 0, assignments.tokenHeard),
    clock,
    random,
    log,
    metrics,
  });
  lease.onChange(() => {
    if (lease.held()) presence.tookLease(replica?.generation?.secondaries.map(({ name }) => name));
  });

  let lagMs = 0;
  http.app.get(
    "/api/v1/datacenters",
    async (): Promise<StatusAnswer> => ({
      status: "success",
      data: {
        federation: topology.federation,
        replica: primary.name,
        leader: lease.holder,
        nowMs: clock.nowMs(),
        blind: false,
        datacenters: [status()],
      },
    }),
  );
  const discovery = new Discovery({
    datacenter,
    topology,
    baseDir: parts.topologyDir,
    clock,
    log,
    metrics,
    disk: parts.discoveryDisk,
  });
  const unassigned = new Unassigned({
    primary: primary.name,
    priorities: () => discovery.priorities(),
    log,
    metrics,
  });
  const operation: OperateParts = {
    primary: primary.name,
    lease,
    addressOf(name) {
      const found = datacenter.primaries.find((each) => each.name === name);
      return found && addressOf(found.http);
    },
    standings,
    generation: () => replica?.generation,
    reload: () => reload(),
    clock,
  };
  registerOperation(http.app, operation);
  const heard = () => heardByPair(primary.name, receiver.connected(), safety);
  const words = new LastWords({ clock, known: secondaries, heard });
  const view = { primary: primary.name, datacenter: () => datacenter, replica: () => replica, words, discovery };
  const incomplete = () => (replica ? undefined : replaying(primary.name));
  registerAssignedPages(http.app, assignedSourcesOf({ ...view, incomplete }), clock);
  const ledger = new LedgerBook({ datacenter: datacenter.name, retentionMs });
  serveLedger(ledger, { app: http.app, server: primary.name, incomplete, clock, metrics });
  registerSources(http.app, { primary: primary.name, datacenter: datacenter.name, lease, discovery, clock });
  const startedMs = clock.nowMs();
  const httpAddress = await http.start();

  const opened = await Replica.open({
    datacenter: datacenter.name,
    dir: join(parts.dataDir, "journal"),
    head,
    headRetentionMs: retentionMs,
    book: ledger,
    disk: parts.disk,
    clock,
    log,
    metrics,
  });
  commitLog.remember(opened.reached());
  opened.onGeneration((generation) => {
    assignments.publish(generation);
    verdicts.follow(generation);
    standings.follow(generation);
    metrics.set("heliograph_primary_generation", generation.number);
    unassigned.tell(generation);
  });
  if (opened.generation) {
    assignments.publish(opened.generation);
    verdicts.follow(opened.generation);
    standings.follow(opened.generation);
  }
  opened.onHeartbeat(({ sentMs, origin }) => {
    if (origin === primary.name) lagMs = Math.max(0, clock.nowMs() - sentMs);
  });
  opened.onDurable(() => report());
  backChannel.subscribe((heard) => {
    if (safety.hear(heard)) void receiver.acknowledgeAll();
    if (heard.tier !== "primary" || heard.replica === primary.name) return;
    presence.peerHeard(heard.secondaries);
    if (heard.reach) verdicts.hear(heard.reach);
  });

  await discovery.start();
  // What this primary's own journal holds it knows before the first secondary asks, and before the network brings it back.
  safety.hear(present());
  report();
  const server = await parts.serve({
    push: (session, peer, signal) => receiver.serve(session, peer, signal),
    watch: (request, send, peer, signal) => assignments.serve(request, send, peer, signal),
    reach: (session, peer) =>
      serveReach(
        {
          datacenter: datacenter.name,
          primary: primary.name,
          secondaries,
          generation: () => opened.generation,
          verdicts,
        },
        session,
        peer,
      ),
  });
  log.info({ http: httpAddress, grpc: server.address }, "The primary listens.");
  replica = opened;
  lease.start();

  const reading = opened.run(commitLog, stopping.signal);
  const governing = govern(
    {
      datacenter: datacenter.name,
      primary: primary.name,
      lease,
      log: commitLog,
      targets: () => discovery.targets(),
      priorities: () => discovery.priorities(),
      remember: (scraped) => discovery.remember(scraped),
      reloads: () => reloads,
      living: () => standings.listFor(discovery.targets().length),
      generation: () => opened.generation,
      position: () => opened.position,
      trail: () => opened.generationTrail,
      logAgeMaxMs: durationMs(datacenter.nats.log_age_max),
      clock,
      logger: log,
      metrics,
    },
    stopping.signal,
  );
  const beat = clock.every(heartbeatMs, () => {
    words.listen();
    for (const { name, ageMs } of receiver.connected()) presence.heard(name, ageMs);
    report();
    // A global that is away for too long no longer counts, and nobody says so.
    void receiver.acknowledgeAll();
    void heartbeat();
  });
  const names = { datacenter: datacenter.name, primary: primary.name };
  const repairing = { ...names, lease, stock: opened.stock, safety, receiver, writer: commitLog, clock, log, metrics };
  const repairer = new Repairer(repairing);
  /** Beside the beat, where a second is too long for the peer to learn who lives. */
  const gossipTimer = () => {
    const everyMs = gossipMs(leaseMs());
    return everyMs < heartbeatMs ? clock.every(everyMs, report) : undefined;
  };
  let gossip = gossipTimer();
  const reviewing = clock.every(reviewMs, () => verdicts.review());
  const trim = clock.every(trimMs, () => {
    head.trim(clock.nowMs() - retentionMs());
    ledger.trim(clock.nowMs());
    safety.forgetFinished();
  });

  function present(): ReplicaReport {
    const position = opened.durablePosition;
    const missing = opened.missing();
    return {
      version: reportVersion,
      replica: primary.name,
      tier: "primary",
      datacenter: datacenter.name,
      sentMs: clock.nowMs(),
      ...(position && { position }),
      watermarks: opened.watermarks(),
      ...(missing.length > 0 && { missing }),
      secondaries: receiver.connected(),
      leaseToken: lease.token,
      reach: verdicts.gossip(),
    };
  }

  function report(): void {
    backChannel.publish(present());
  }

  let beating = false;
  async function heartbeat(): Promise<void> {
    if (beating) return;
    beating = true;
    const sentMs = clock.nowMs();
    const payload = encodeHeartbeat({
      version: heartbeatVersion,
      replica: primary.name,
      sentMs,
      leaseToken: lease.token,
      created: opened.position?.created ?? "",
      lagMs,
      secondaries: receiver.connected(),
    });
    const id = `heartbeat/${primary.name}/${parts.incarnation}/${Math.round(sentMs)}`;
    try {
      await commitLog.append({ kind: "heartbeat", origin: primary.name, id, payload }, stopping.signal);
    } catch (error) {
      // Its absence is what it tells: the log is away, and whoever reads it sees no heartbeat.
      if (!(error instanceof LogError) && !stopping.signal.aborted) throw error;
    } finally {
      beating = false;
    }
  }

  function status(): DatacenterStatus {
    const nowMs = clock.nowMs();
    const summary = replica?.summary();
    const owners = new Map<string, number>();
    for (const { owner } of replica?.generation?.targets ?? []) owners.set(owner, (owners.get(owner) ?? 0) + 1);
    const newest = replica?.lastHeartbeat;
    const connected = parts.logConnected();
    const reports = new Map(safety.reports().map((each) => [each.name, each]));
    const lastWords = words.words();
    return {
      name: datacenter.name,
      region: datacenter.region,
      state: !replica ? "unknown" : connected ? "live" : "delayed",
      sinceMs: startedMs,
      reason: !replica ? readiness()! : connected ? "" : "The data centre's NATS servers cannot be reached.",
      lagMs: newest ? Math.max(0, nowMs - newest.sentMs) : null,
      targets: summary?.targets ?? 0,
      up: summary?.up ?? 0,
      down: summary?.down ?? 0,
      samplesPerSecond: summary?.samplesPerSecond ?? 0,
      lastSampleMs: summary?.lastSampleMs ?? null,
      primaries: datacenter.primaries.map(({ name }) => {
        const heard = reports.get(name)?.report;
        const ageMs = reports.get(name)?.ageMs ?? Number.POSITIVE_INFINITY;
        return {
          name,
          reachable: name === primary.name ? true : heard ? ageMs < 5 * heartbeatMs : null,
          leader: name === lease.holder,
          lagMs: name === primary.name ? lagMs : heard ? ageMs : null,
        };
      }),
      secondaries: secondaries().map((name) => ({
        name,
        ageMs: lastWords.get(name)?.ageMs ?? null,
        targets: owners.get(name) ?? 0,
        state: standingIn(replica?.generation, name),
      })),
    };
  }

  /** One after the other: what is read last counts. */
  let reloading: Promise<unknown> = Promise.resolve();
  function reload(): Promise<ReloadAnswer> {
    const next = reloading.then(takeTopology);
    reloading = next;
    return next;
  }

  async function takeTopology(): Promise<ReloadAnswer> {
    try {
      const { topology: taken, waiting } = reloaded(topology, await parts.reread(), datacenter.name);
      const own = taken.datacenters.find(({ name }) => name === datacenter.name)!;
      await discovery.reconfigure(taken, own);
      const leaseMsBefore = leaseMs();
      reloads++;
      topology = taken;
      datacenter = own;
      presence.reconfigure(secondaries(), leaseMs());
      if (leaseMs() !== leaseMsBefore) {
        gossip?.cancel();
        gossip = gossipTimer();
        receiver.welcomeAnew();
      }
      standings.reconfigure(own.secondaries);
      metrics.set("heliograph_config_last_reload_successful", 1);
      metrics.set("heliograph_config_last_reload_success_timestamp_seconds", clock.nowMs() / secondMs);
      log.info({ waiting }, "The topology file was read again.");
      return { waiting };
    } catch (error) {
      metrics.set("heliograph_config_last_reload_successful", 0);
      const refused = error instanceof Error ? error.message : String(error);
      log.error(
        { reason: refused },
        "The topology file was read again and is not taken over: everything stays as it was.",
      );
      return { refused, waiting: [] };
    }
  }

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    beat.cancel();
    gossip?.cancel();
    reviewing.cancel();
    trim.cancel();
    stopping.abort();
    await lease.close();
    await repairer.close();
    await server.close();
    await http.close();
    discovery.close();
    standings.close();
    presence.close();
    await Promise.all([reading, governing]);
    await opened.close();
  }
  return {
    httpAddress,
    source: head,
    get generation() {
      return opened.generation;
    },
    healthy: () => undefined,
    ready: readiness,
    reload,
    drain: (asked) => drainSecondary(operation, asked),
    close() {
      closing ??= close();
      return closing;
    },
  };
}

function replaying(name: string): string {
  return `${name} is still replaying its journal; ask its peer, or ask again in a moment`;
}

function shortestIntervalMs(topology: Topology, datacenter: Datacenter): number {
  const intervals = [...topology.scrape_configs, ...datacenter.scrape_configs].map((config) =>
    durationMs(config.scrape_interval ?? topology.scrape_defaults.scrape_interval),
  );
  return Math.min(...intervals, durationMs(topology.scrape_defaults.scrape_interval));
}
