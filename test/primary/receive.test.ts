// The primary's front door, without gRPC and without NATS: sessions in memory, and a log that fails when it is told to.

import t from "tap";
import { systemClock } from "#/lib/clock/clock.ts";
import { RunEncoder } from "#/lib/codec/encode.ts";
import type { AppendRequest } from "#/lib/commitlog/commitlog.ts";
import { LogError } from "#/lib/commitlog/commitlog.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { DecimalColumn } from "#/lib/model/decimal.ts";
import type { RunId } from "#/lib/model/identity.ts";
import { layoutOf } from "#/lib/model/layout.ts";
import type { ReplicaReport } from "#/lib/model/report.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import type { PushRequest, PushResponse, Session } from "#/lib/wire/session.ts";
import { Receiver } from "#/primary/receive.ts";
import { SafetyBook } from "#/primary/safety.ts";
import { manualClock } from "#/test/support/manual-clock.ts";

const run: RunId = { datacenter: "ams", secondary: "ams-s1", bootEpoch: 7, shard: 0, run: 1 };
const layout = layoutOf(
  [{ name: "a", labels: [], kind: "float", family: 0 }],
  [{ name: "a", type: "gauge", help: "", unit: "" }],
);

/** `count` batches of one scrape each. */
function batches(count: number): Buffer[] {
  const encoder = new RunEncoder(run);
  const values = new DecimalColumn(1);
  return Array.from({ length: count }, (_, i) => {
    values.length = 1;
    values.setDecimal(0, 100 + i, 0);
    encoder.add({
      target: { id: "0123456789abcdef0123456789abcdef", labels: [["instance", "x:1"]], intervalMs: 1000 },
      facts: {
        slot: 1000 + i,
        generation: 1,
        outcome: "stored",
        timestampMs: 1_000_000 + i * 1000,
        durationUs: 5,
        bodyBytes: 9,
        samplesScraped: 1,
        seriesRefused: 0,
        seriesAdded: 0,
      },
      layout,
      values,
      timestamps: [],
    });
    const batch = encoder.flush({ nowMs: 1_000_500 + i * 1000, watermarkMs: 1_000_000 + i * 1000, generation: 1 });
    return Buffer.from(batch!.bytes);
  });
}

/** Both ends of a stream. What the primary says is in `heard`. */
function session() {
  const waiting: PushRequest[] = [];
  let wake: (() => void) | undefined;
  let ended = false;
  const heard: PushResponse[] = [];
  const server: Session<PushResponse, PushRequest> = {
    async send(message) {
      heard.push(message);
    },
    incoming: (async function* () {
      for (;;) {
        const next = waiting.shift();
        if (next) yield next;
        else if (ended) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    })(),
    close() {
      ended = true;
      wake?.();
    },
  };
  const say = (request: PushRequest) => {
    waiting.push(request);
    wake?.();
  };
  const hello = (over: Partial<NonNullable<PushRequest["hello"]>> = {}) =>
    say({
      hello: { datacenter: "ams", secondary: "ams-s1", bootEpoch: 7, batchVersion: 1, softwareVersion: "0", ...over },
    });
  return { server, heard, say, hello, end: () => server.close() };
}

function primary() {
  const clock = systemClock();
  const metrics = createRegistry({ tier: "primary" });
  const appended: AppendRequest[] = [];
  const failures: LogError[] = [];
  const words: string[] = [];
  const safety = new SafetyBook({ primaries: ["p1", "p2"], globals: ["g1", "g2"], clock });
  const receiver = new Receiver({
    datacenter: "ams",
    primary: "p1",
    secondaries: () => ["ams-s1"],
    writer: {
      async append(request) {
        const failure = failures.shift();
        if (failure) throw failure;
        appended.push(request);
        return { stream: "dc-ams-1-1", sequence: appended.length, duplicate: false };
      },
    },
    keepAliveMs: () => 400,
    onWord: (name) => words.push(name),
    safety,
    clock,
    random: seededRandom(1),
    log: silentLogger(),
    metrics,
  });
  return { receiver, safety, metrics, appended, failures, words };
}

const never = new AbortController().signal;
const report = (replica: string, tier: "primary" | "global", sequence: number): ReplicaReport => ({
  version: 1,
  replica,
  tier,
  datacenter: "ams",
  sentMs: 1,
  watermarks: [{ ...run, sequence }],
  secondaries: [],
  leaseToken: 0,
});
const acks = (heard: readonly PushResponse[]) =>
  heard.flatMap(({ ack }) => (ack ? [`${ack.accepted}/${ack.held}/${ack.durable}`] : []));

t.test("a batch is accepted once the log has it, and its bytes go there as they came", async (t) => {
  const { receiver, appended, metrics } = primary();
  const stream = session();
  const served = receiver.serve(stream.server, undefined, never);
  const [first, second] = batches(2);
  stream.hello();
  stream.say({ batch: first! });
  stream.say({ batch: second! });
  stream.end();
  await served;
  t.equal(stream.heard[0]?.welcome?.primary, "p1");
  t.equal(stream.heard[0]?.welcome?.keepAliveMs, 400);
  t.same(acks(stream.heard), ["1/0/0", "2/0/0"]);
  t.same(
    appended.map(({ id, kind, origin }) => [id, kind, origin]),
    [
      ["ams/ams-s1/7/0/1/1", "batch", "ams-s1"],
      ["ams/ams-s1/7/0/1/2", "batch", "ams-s1"],
    ],
  );
  t.ok(Buffer.from(appended[0]!.payload).equals(first!));
  t.equal(metrics.get("heliograph_primary_received_batches_total", { result: "accepted" }), 2);
});

t.test(
  "each word of a secondary is told when it comes: its hello, an empty batch, and a batch before and after the log",
  async (t) => {
    const { receiver, words } = primary();
    const stream = session();
    const served = receiver.serve(stream.server, undefined, never);
    stream.hello();
    stream.say({ batch: Buffer.alloc(0) });
    stream.say({ batch: batches(1)[0]! });
    stream.end();
    await served;
    t.same(
      words,
      Array.from({ length: 4 }, () => "ams-s1"),
    );
  },
);

t.test("a batch sent twice is acknowledged twice and appended once", async (t) => {
  const { receiver, appended } = primary();
  const stream = session();
  const served = receiver.serve(stream.server, undefined, never);
  const [only] = batches(1);
  stream.hello();
  stream.say({ batch: only! });
  stream.say({ batch: only! });
  stream.end();
  await served;
  t.same(acks(stream.heard), ["1/0/0", "1/0/0"]);
  t.equal(appended.length, 1);
});

t.test("while the log is away the batch is tried again, with the same id, until the log has it", async (t) => {
  const { receiver, appended, failures } = primary();
  failures.push(new LogError("unavailable", "away"), new LogError("unavailable", "still away"));
  const stream = session();
  const served = receiver.serve(stream.server, undefined, never);
  stream.hello();
  stream.say({ batch: batches(1)[0]! });
  stream.end();
  await served;
  t.equal(appended.length, 1);
  t.same(acks(stream.heard), ["1/0/0"]);
});

t.test("a log that has no room refuses no batch for good: the secondary would delete it", async (t) => {
  const { receiver, appended, failures } = primary();
  failures.push(new LogError("refused", "insufficient storage resources available (10047)"));
  const stream = session();
  const served = receiver.serve(stream.server, undefined, never);
  stream.hello();
  stream.say({ batch: batches(1)[0]! });
  stream.end();
  await served;
  t.equal(appended.length, 1);
  t.equal(stream.heard.filter(({ refusal }) => refusal).length, 0);
  t.same(acks(stream.heard), ["1/0/0"]);
});

t.test("what the log lost is not accepted any more, and is taken again up to what every global has", async (t) => {
  const { receiver, safety, appended } = primary();
  const before = session();
  const served = receiver.serve(before.server, undefined, never);
  const sent = batches(4);
  before.hello();
  for (const batch of sent.slice(0, 3)) before.say({ batch });
  await until(() => acks(before.heard).length === 3);
  const hearAll = () => {
    safety.hear(report("p1", "primary", 3));
    safety.hear(report("p2", "primary", 3));
    safety.hear(report("g1", "global", 1));
    safety.hear(report("g2", "global", 2));
  };
  hearAll();
  receiver.startOver();
  await served;
  t.same(receiver.connected(), []);
  hearAll();
  t.same(safety.safety(run), { accepted: 1, held: 3, durable: 1 }, "that the primaries have it helps no global");

  const after = session();
  void receiver.serve(after.server, undefined, never);
  after.hello();
  for (const batch of sent.slice(1)) after.say({ batch });
  await until(() => acks(after.heard).length === 4);
  t.same(acks(after.heard), ["1/3/1", "2/3/1", "3/3/1", "4/3/1"]);
  t.equal(appended.length, 6);
  safety.hear(report("p2", "primary", 5));
  t.equal(safety.safety(run).accepted, 5, "and from then on the other primary is believed again");
  after.end();
});

t.test("a primary that starts after the log lost entries does not take the others' word for it", async (t) => {
  const { receiver, safety } = primary();
  receiver.startOver();
  safety.hear(report("p2", "primary", 3));
  t.equal(safety.safety(run).accepted, 0);
});

t.test("a batch that was on its way when the log lost entries is not accepted over the hole", async (t) => {
  const { receiver, safety, failures } = primary();
  const stream = session();
  const served = receiver.serve(stream.server, undefined, never);
  const sent = batches(3);
  stream.hello();
  stream.say({ batch: sent[0]! });
  await until(() => acks(stream.heard).length === 1);
  failures.push(new LogError("unavailable", "away"));
  stream.say({ batch: sent[1]! });
  stream.say({ batch: sent[2]! });
  await until(() => failures.length === 0);
  receiver.startOver();
  await served;
  t.equal(safety.safety(run).accepted, 0);
  t.same(acks(stream.heard), ["1/0/0"]);
});

t.test("while a batch waits for the log its secondary counts as heard", async (t) => {
  const { receiver, failures } = primary();
  for (let i = 0; i < 3; i++) failures.push(new LogError("unavailable", "away"));
  const stream = session();
  const served = receiver.serve(stream.server, undefined, never);
  stream.hello();
  stream.say({ batch: batches(1)[0]! });
  await until(() => failures.length === 0);
  t.same(receiver.connected(), [{ name: "ams-s1", ageMs: 0 }]);
  stream.end();
  await served;
});

t.test("a corrupt batch is refused by name and counted, and the next one is taken", async (t) => {
  const { receiver, appended, metrics } = primary();
  const stream = session();
  const served = receiver.serve(stream.server, undefined, never);
  const [first, second] = batches(2);
  const corrupt = Buffer.from(first!);
  corrupt[corrupt.length - 9]! ^= 1;
  stream.hello();
  stream.say({ batch: corrupt });
  stream.say({ batch: second! });
  stream.end();
  await served;
  t.equal(stream.heard[1]?.refusal?.code, "bad_checksum");
  t.equal(appended.length, 1);
  t.equal(metrics.get("heliograph_primary_refused_batches_total", { code: "bad_checksum" }), 1);
});

t.test("held needs both primaries, durable needs both globals, and each step is told once", async (t) => {
  const { receiver, safety } = primary();
  const stream = session();
  const served = receiver.serve(stream.server, undefined, never);
  stream.hello();
  stream.say({ batch: batches(1)[0]! });
  await until(() => acks(stream.heard).length === 1);
  for (const [replica, tier] of [
    ["p1", "primary"],
    ["p2", "primary"],
    ["g1", "global"],
    ["g2", "global"],
  ] as const) {
    safety.hear(report(replica, tier, 1));
    await receiver.acknowledgeAll();
  }
  stream.end();
  await served;
  t.same(acks(stream.heard), ["1/0/0", "1/1/0", "1/1/1"]);
});

t.test("what a replica misses and no journal has is taken back, and the rest stays accepted", async (t) => {
  const { receiver, safety, appended } = primary();
  const stream = session();
  const range = { ...run, from: 3, until: 4 };
  t.equal(receiver.askAgain(range), false, "its secondary is not connected here");
  const served = receiver.serve(stream.server, undefined, never);
  stream.hello();
  const all = batches(7);
  for (const batch of all.slice(0, 5)) stream.say({ batch });
  await until(() => acks(stream.heard).length === 5);
  t.equal(receiver.askAgain({ ...run, from: 6, until: 9 }), false, "that was not accepted yet");
  t.equal(receiver.askAgain(range), true);
  await until(() => acks(stream.heard).length === 6);
  t.same(acks(stream.heard).slice(5), ["2/0/0"]);
  t.equal(receiver.askAgain(range), false, "that was asked already");
  safety.hear(report("p1", "primary", 5));
  t.equal(safety.safety(run).accepted, 2, "that a replica has them does not bring them to the other");

  // The sixth was on its way.
  for (const sequence of [6, 3, 4]) stream.say({ batch: all[sequence - 1]! });
  await until(() => appended.length === 8);
  await until(() => safety.safety(run).accepted === 6);
  t.equal(safety.safety(run).accepted, 6);
  stream.end();
  await served;
  t.same(
    appended.slice(5).map(({ id }) => id),
    ["ams/ams-s1/7/0/1/6", "ams/ams-s1/7/0/1/3", "ams/ams-s1/7/0/1/4"],
  );
});

t.test("a spool that does not have any more what is asked for is not waited for", async (t) => {
  const clock = manualClock();
  const safety = new SafetyBook({ primaries: ["p1", "p2"], globals: ["g1", "g2"], clock });
  safety.accept(run, 9);
  t.equal(safety.wantAgain({ ...run, from: 3, until: 4 }), true);
  t.equal(safety.safety(run).accepted, 2);
  await clock.advance(6000);
  t.equal(safety.safety(run).accepted, 9);
  for (const global of ["g1", "g2"]) safety.hear(report(global, "global", 4));
  t.equal(safety.wantAgain({ ...run, from: 3, until: 4 }), false, "what every global has, no spool keeps");
});

t.test("a log that loses its tail while batches are asked for takes all of it back", (t) => {
  const clock = manualClock();
  const safety = new SafetyBook({ primaries: ["p1", "p2"], globals: ["g1", "g2"], clock });
  safety.accept(run, 9);
  safety.wantAgain({ ...run, from: 3, until: 4 });
  safety.forgetAccepted();
  t.equal(safety.safety(run).accepted, 0);
  safety.accept(run, 4);
  t.equal(safety.safety(run).accepted, 4, "and what comes again counts as far as it came");
  t.end();
});

t.test(
  "a stream that is not this data centre's, not in the topology or not the certificate's is refused",
  async (t) => {
    const attempts = [
      { hello: { datacenter: "nyc" }, peer: undefined, says: /data centre "ams", got a secondary of "nyc"/ },
      { hello: { secondary: "ams-s9" }, peer: undefined, says: /no secondary "ams-s9"/ },
      { hello: {}, peer: "heliograph://demo/ams-s2", says: /certificate is of "heliograph:\/\/demo\/ams-s2"/ },
    ];
    for (const { hello, peer, says } of attempts) {
      const { receiver } = primary();
      const stream = session();
      stream.hello(hello);
      await t.rejects(receiver.serve(stream.server, peer, never), { code: "refused", message: says });
    }
  },
);

t.test("of two secondaries with one name, the newer boot epoch wins", async (t) => {
  const { receiver } = primary();
  const older = session();
  const newer = session();
  const servedOlder = receiver.serve(older.server, undefined, never);
  older.hello();
  await until(() => receiver.connected().length === 1);
  const servedNewer = receiver.serve(newer.server, undefined, never);
  newer.hello({ bootEpoch: 8 });
  await servedOlder;
  t.equal(receiver.connected().length, 1);
  const third = session();
  third.hello({ bootEpoch: 6 });
  await t.rejects(receiver.serve(third.server, undefined, never), { code: "refused", message: /newer boot epoch 8/ });
  newer.end();
  await servedNewer;
  t.equal(receiver.connected().length, 0);
});

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
}
