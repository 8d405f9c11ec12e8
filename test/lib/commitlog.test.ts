import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { mountSmallDisks, type SmallDisks } from "#/cli/drill/disk.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import { decodeReport, encodeReport, openBackChannel } from "#/lib/commitlog/backchannel.ts";
import { openDatacenterLog } from "#/lib/commitlog/datacenter.ts";
import { openHubLog } from "#/lib/commitlog/hub.ts";
import {
  comparePositions,
  parseEntrySubject,
  parseStreamName,
  sortSegments,
  streamNameOf,
} from "#/lib/commitlog/subjects.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import type { ReachGossip } from "#/lib/model/reach.ts";
import type { ReplicaReport } from "#/lib/model/report.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import type { NatsLink } from "#/lib/wire/jetstream.ts";
import { testCommitLog } from "#/test/support/commitlog-conformance.ts";
import type { LogWorld } from "#/test/support/commitlog-world.ts";
import {
  connectAs,
  connectGlobal,
  connectPrimaries,
  startDatacenter,
  startHub,
  type TestNats,
  testPassword,
  testTopology,
} from "#/test/support/nats.ts";
import { startRelay } from "#/test/support/relay.ts";
import { twinWorld } from "#/test/support/twin-world.ts";

// Real servers are waited for, and other tests may run beside them.
t.setTimeout(120_000);

const clock = systemClock();
const log = silentLogger();

/** Below the store: JetStream's folder, and in it that of the account (topology/nats.ts). */
const streamsFolder = "jetstream/HELIOGRAPH/streams";

async function natsWorld(): Promise<LogWorld> {
  const topology = testTopology(["ams"]);
  const hub = await startHub(topology);
  const relay = await startRelay(hub.leafAddress);
  const datacenter = await startDatacenter(topology, "ams", relay.address);
  const copies = await mkdtemp(join(tmpdir(), "heliograph-copies-"));
  const links: NatsLink[] = [];
  const disks = new Map<TestNats, SmallDisks>();
  const connected = async (link: NatsLink) => {
    links.push(link);
    while (!link.connected) await clock.sleep(5);
    return link;
  };
  const store = join(datacenter.dir, "store");
  return {
    async openPrimary({ bytesMax = 200 * 1024 * 1024, outlastsPowerCuts = true } = {}) {
      const link = await connected(connectPrimaries(datacenter));
      const limits = { bytesMax, ageMaxMs: 3_600_000, replicas: 1 };
      const metrics = createRegistry({ tier: "primary" });
      return openDatacenterLog({ link, datacenter: "ams", limits, outlastsPowerCuts, clock, log, metrics });
    },
    async openGlobal() {
      const link = await connected(connectGlobal(hub, "ams"));
      const metrics = createRegistry({ tier: "global" });
      return openHubLog({ link, datacenter: "ams", domain: "ams", replicas: 1, clock, log, metrics });
    },
    datacenterLink: () => connected(connectPrimaries(datacenter)),
    async primaryChannel() {
      const link = await connected(connectPrimaries(datacenter));
      return openBackChannel({ link, datacenter: "ams", log, metrics: createRegistry({ tier: "primary" }) });
    },
    async globalChannel() {
      const link = await connected(connectGlobal(hub, "ams"));
      return openBackChannel({ link, datacenter: "ams", log, metrics: createRegistry({ tier: "global" }) });
    },
    killDatacenter: () => datacenter.kill(),
    startDatacenter: () => datacenter.start(),
    killHub: () => hub.kill(),
    startHub: () => hub.start(),
    cut: () => relay.cut(),
    heal: () => relay.heal(),
    async copyDisk() {
      const copy = await mkdtemp(join(copies, "disk-"));
      await cp(store, copy, { recursive: true });
      return copy;
    },
    async replaceDisk(copy) {
      await rm(store, { recursive: true, force: true });
      if (copy) await cp(copy, store, { recursive: true });
    },
    async loseSince(copy, { streams = [], settings = [], torn = [], unreadable = [] }) {
      const folder = (of: string, stream: string) => join(of, streamsFolder, stream);
      for (const stream of streams) await rm(folder(store, stream), { recursive: true });
      for (const stream of torn) {
        const file = join(folder(store, stream), "msgs", "1.blk");
        const bytes = await readFile(file);
        await writeFile(file, bytes.fill(0, bytes.length - 20));
      }
      for (const stream of unreadable)
        await cp(join(folder(copy, stream), "meta.sum"), join(folder(store, stream), "meta.sum"));
      for (const stream of settings) {
        for (const file of ["meta.inf", "meta.sum"]) {
          await cp(join(folder(copy, stream), file), join(folder(store, stream), file));
        }
      }
    },
    async useSmallDisks() {
      for (const server of [datacenter, hub]) {
        await server.kill();
        const disk = await mountSmallDisks(server.dir, ["store"]);
        disks.set(server, disk);
        await server.start();
      }
      return [...disks.values()].find(({ missing }) => missing !== undefined)?.missing;
    },
    fillDisk: (of) => disks.get(of === "hub" ? hub : datacenter)!.fill("store"),
    makeRoom: (of) => disks.get(of === "hub" ? hub : datacenter)!.empty("store"),
    pauseDatacenter: () => datacenter.pause(),
    resumeDatacenter: () => datacenter.resume(),
    standstillMs: 1000,
    sleep: (ms, signal) => clock.sleep(ms, signal),
    async close() {
      await Promise.all(links.map((link) => link.close()));
      await Promise.all([datacenter.kill(), hub.kill()]);
      for (const disk of disks.values()) await disk.close({ keepData: false });
      await Promise.all([datacenter.stop(), hub.stop(), relay.close()]);
      await rm(copies, { recursive: true, force: true });
    },
  };
}

t.test("names of streams and subjects", async (t) => {
  t.equal(streamNameOf({ datacenter: "ams-1", epoch: 1763661600, segment: 2 }), "dc-ams-1-1763661600-2");
  t.same(parseStreamName("dc-ams-1-1763661600-2", "ams-1"), { datacenter: "ams-1", epoch: 1763661600, segment: 2 });
  t.equal(parseStreamName("dc-ams-1-1763661600-2", "ams"), undefined, "another data centre's");
  t.equal(parseStreamName("KV_heliograph", "ams"), undefined);
  const names = ["dc-ams-9-1", "dc-ams-10-2", "dc-ams-10-1", "KV_heliograph", "dc-ams-10-10"];
  t.same(sortSegments(names, "ams").map(streamNameOf), ["dc-ams-9-1", "dc-ams-10-1", "dc-ams-10-2", "dc-ams-10-10"]);
  const segment = { datacenter: "ams", segment: 3 };
  t.same(parseEntrySubject("dc.ams.3.batch.ams-s1", segment), { kind: "batch", origin: "ams-s1" });
  t.equal(parseEntrySubject("dc.ams.4.batch.ams-s1", segment), undefined);
  t.equal(parseEntrySubject("dc.fra.3.batch.ams-s1", segment), undefined);
  t.equal(parseEntrySubject("dc.ams.3.later.ams-s1", segment), undefined);
});

t.test("a report is read as it was written, and what is no report is refused by name", async (t) => {
  const report: ReplicaReport = {
    version: 1,
    replica: "global-1",
    tier: "global",
    datacenter: "ams",
    sentMs: 1_700_000_000_123.5,
    position: { stream: "dc-ams-1-1", created: "2026-01-01T00:00:00Z", sequence: 7, storedMs: 1_700_000_000_100.25 },
    watermarks: [{ datacenter: "ams", secondary: "ams-s1", bootEpoch: 3, shard: 1, run: 2, sequence: 9 }],
    secondaries: [{ name: "ams-s1", ageMs: 12.5 }],
    leaseToken: 4,
  };
  const bytes = encodeReport(report);
  t.equal(
    Buffer.from(bytes).toString(),
    '{"version":1,"replica":"global-1","tier":"global","datacenter":"ams","sent_ms":1700000000123.5,' +
      '"position":{"stream":"dc-ams-1-1","created":"2026-01-01T00:00:00Z","sequence":7,"stored_ms":1700000000100.25},' +
      '"watermarks":[["ams-s1",3,1,2,9]],"secondaries":[{"name":"ams-s1","age_ms":12.5}],"lease_token":4}',
  );
  t.same(decodeReport(bytes), report);
  const withField = (field: string, value: unknown) =>
    Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(bytes).toString()), [field]: value }));
  t.same(decodeReport(withField("later", { more: 1 })), report, "a field of a later version is passed over");
  t.throws(() => decodeReport(Buffer.from("{")), { code: "bad_json" });
  t.throws(() => decodeReport(Buffer.from("[]")), { code: "bad_field" });
  t.throws(() => decodeReport(withField("version", 2)), { code: "bad_version" });
  t.throws(() => decodeReport(withField("watermarks", [["ams-s1", 3, 1, 2]])), { code: "bad_field" });
  t.throws(() => decodeReport(withField("watermarks", [["ams-s1", 3, 1, 2, -1]])), { code: "bad_field" });
  t.throws(() => decodeReport(withField("tier", "secondary")), { code: "bad_field" });
  t.throws(() => decodeReport(Buffer.alloc(1024 * 1024 + 1)), { code: "too_large" });
});

t.test("the ranges of runs that a replica misses stand in its report", (t) => {
  const id = { datacenter: "ams", secondary: "ams-s1", bootEpoch: 3, shard: 1, run: 2 };
  const report: ReplicaReport = {
    version: 1,
    replica: "global-1",
    tier: "global",
    datacenter: "ams",
    sentMs: 1,
    watermarks: [{ ...id, sequence: 9 }],
    missing: [
      { ...id, from: 10, until: 12 },
      { ...id, from: 14, until: 14 },
    ],
    secondaries: [],
    leaseToken: 0,
  };
  const text = Buffer.from(encodeReport(report)).toString();
  t.match(text, '"missing":[["ams-s1",3,1,2,10,12],["ams-s1",3,1,2,14,14]]');
  t.same(decodeReport(Buffer.from(text)), report);
  t.throws(() => decodeReport(Buffer.from(text.replace("10,12", "10,9"))), {
    code: "bad_field",
    message: "missing: expected a range of batches, got 10 to 9",
  });
  t.end();
});

t.test("of two places in a log the one of the earlier segment comes first, whatever their numbers", (t) => {
  const place = (stream: string, sequence: number) => ({ stream, created: "", sequence });
  const [early, late] = [place("dc-ams-9-1", 900), place("dc-ams-10-2", 4)];
  t.ok(comparePositions(early, late, "ams") < 0);
  t.ok(comparePositions(late, early, "ams") > 0);
  t.ok(comparePositions(place("dc-ams-9-1", 3), early, "ams") < 0);
  t.equal(comparePositions(early, early, "ams"), 0);
  t.end();
});

t.test("what primaries tell each other of who reaches what stands in their reports", (t) => {
  const reach: ReachGossip = {
    connected: ["s1"],
    suspicions: [{ secondary: "s1", sinceMs: 5, failed: 3, of: 4, sample: ["a", "b"] }],
    probes: [{ id: "p1/1", prober: "s2", targets: ["a"] }],
    results: [{ id: "p2/1", reached: [] }],
    verdicts: [{ secondary: "s1", sinceMs: 5, verdict: "cut_off" }],
  };
  const report: ReplicaReport = {
    version: 1,
    replica: "p1",
    tier: "primary",
    datacenter: "ams",
    sentMs: 1,
    watermarks: [],
    secondaries: [],
    leaseToken: 0,
    reach,
  };
  const text = Buffer.from(encodeReport(report)).toString();
  t.match(text, '"suspicions":[{"since_ms":5,"secondary":"s1","failed":3,"of":4,"sample":["a","b"]}]');
  t.same(decodeReport(Buffer.from(text)), report);
  const later = Buffer.from(text.replace("cut_off", "half_way"));
  t.same(decodeReport(later).reach?.verdicts, [], "a verdict of a later version is none");
  t.throws(() => decodeReport(Buffer.from(text.replace('"reached":[]', '"reached":7'))), { code: "bad_field" });
  t.end();
});

t.test("on NATS JetStream", (t) => testCommitLog(t, natsWorld));

t.test("on the twin", (t) => testCommitLog(t, twinWorld));

t.test("a data centre cannot speak as another, even with its own password in hand", async (t) => {
  const topology = testTopology(["ams", "fra"]);
  const hub = await startHub(topology);
  const [ams, fra] = await Promise.all(["ams", "fra"].map((name) => startDatacenter(topology, name, hub.leafAddress)));
  const links = [connectPrimaries(ams!), connectPrimaries(fra!), connectGlobal(hub, "ams")];
  const aborter = new AbortController();
  t.teardown(async () => {
    aborter.abort();
    await Promise.all(links.map((link) => link.close()));
    await Promise.all([ams!.stop(), fra!.stop(), hub.stop()]);
  });
  const [amsLink, fraLink, globalLink] = links as [NatsLink, NatsLink, NatsLink];
  while (!links.every((link) => link.connected)) await clock.sleep(5);
  const limits = { bytesMax: 1_000_000, ageMaxMs: 3_600_000, replicas: 1 };
  const metrics = createRegistry({ tier: "primary" });
  const writer = openDatacenterLog({
    link: amsLink,
    datacenter: "ams",
    limits,
    outlastsPowerCuts: true,
    clock,
    log,
    metrics,
  });
  const { signal } = aborter;
  await writer.append({ kind: "heartbeat", origin: "ams-p1", id: "true", payload: Buffer.from("true") }, signal);
  const globalMetrics = createRegistry({ tier: "global" });
  const hubLog = openHubLog({
    link: globalLink,
    datacenter: "ams",
    domain: "ams",
    replicas: 1,
    clock,
    log,
    metrics: globalMetrics,
  });
  const heard: string[] = [];
  const reports = openBackChannel({ link: globalLink, datacenter: "ams", log, metrics: globalMetrics });
  reports.subscribe((report) => heard.push(report.replica));
  globalLink.subscribe("dc.>", (message) => heard.push(message.subject));
  const read = hubLog.read(undefined, signal)[Symbol.asyncIterator]();
  t.equal(Buffer.from((await read.next()).value!.payload).toString(), "true");
  const { stream } = await hubLog.info();
  for (let i = 0; i < 20; i++) {
    for (const subject of [
      "dc.ams.1.heartbeat.ams-p1",
      "dlv.ams.m",
      "wm.ams.global-1",
      `$JS.API.STREAM.DELETE.${stream}`,
    ]) {
      fraLink.publish(subject, Buffer.from("forged"));
    }
    // The data centre itself may not reach past its mirror's door either.
    amsLink.publish(`$JS.hub.API.STREAM.DELETE.${stream}`, Buffer.alloc(0));
    amsLink.publish("wm.ams.global-1", Buffer.from("forged"));
  }
  await writer.append({ kind: "heartbeat", origin: "ams-p1", id: "true 2", payload: Buffer.from("true 2") }, signal);
  t.equal(Buffer.from((await read.next()).value!.payload).toString(), "true 2");
  t.equal((await hubLog.info()).lastSequence, 2);
  t.same(heard, [], "nothing of it was heard at the hub");
  // The leaf's own user, used as a client, may not read the mirror or write to it.
  const thief = connectAs(hub, "leaf-fra", `${testPassword} of fra`);
  links.push(thief);
  while (!thief.connected) await clock.sleep(5);
  await t.rejects(thief.request(`$JS.API.STREAM.INFO.${stream}`, Buffer.alloc(0), { timeoutMs: 500 }));
  thief.publish("dc.ams.1.heartbeat.ams-p1", Buffer.from("forged"));
  await clock.sleep(100);
  t.equal((await hubLog.info()).lastSequence, 2);
  t.same(heard, []);
});
