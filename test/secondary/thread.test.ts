// What only threads bring: shares of their own, messages between them, their silence and their death. That a secondary of several
// threads does all that one of a single thread does is shown in test/e2e/threads.test.ts.

import { join } from "node:path";
import t from "tap";

import { type BatchHeader, readBatchHeader } from "#/lib/codec/batch.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import { encodeGeneration } from "#/lib/codec/generation.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { runKey } from "#/lib/model/identity.ts";
import { shardOf } from "#/lib/model/target.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import type { ActiveTarget } from "#/secondary/page/answer.ts";
import { filterOf } from "#/secondary/page/view.ts";
import type { Fetcher } from "#/secondary/scrape/fetch.ts";
import { shardParts } from "#/secondary/shard.ts";
import type { FromShard, Line, ToShard } from "#/secondary/thread/message.ts";
import { serveShard } from "#/secondary/thread/serve.ts";
import { threadedShards } from "#/secondary/thread/shards.ts";
import { heliograph, projectRoot } from "#/test/support/command.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { type MemoryLog, MemoryPrimary } from "#/test/support/memory-primary.ts";
import { dataDir, fleet, startOn } from "#/test/support/secondary-conformance.ts";
import { makeGeneration, makeTarget } from "#/test/support/targets.ts";

const fetching = { secrets: new Map(), baseDir: ".", environment: {} };

t.test("a generation is split by target, a part for each shard and none twice", async (t) => {
  const generation = makeGeneration(Array.from({ length: 4000 }, (_, i) => makeTarget(`http://10.0.0.1:${i + 1}/`)));
  t.strictSame(shardParts(generation, 1), [generation], "one part is the whole");
  for (const shards of [2, 3, 8]) {
    const parts = shardParts(generation, shards);
    t.equal(parts.length, shards);
    t.strictSame(
      parts.flatMap(({ targets }) => targets).sort((a, b) => (a.target.id < b.target.id ? -1 : 1)),
      generation.targets,
    );
    for (const { targets } of parts) {
      t.ok(Math.abs(targets.length - 4000 / shards) < 0.15 * (4000 / shards), `${targets.length} of 4000 in ${shards}`);
    }
  }
  t.equal(shardOf("000000000000000000000000000000ff", 2), 1);
  t.equal(shardOf("ffffffffffffffffffffffffffff0004", 3), 1, "other digits than those of phase and keyframes");
});

t.test("each target is one shard's, and pages, metrics and readiness are of all of them", async (t) => {
  const { targets } = await fleet(t, 20, 500);
  const primary = new MemoryPrimary("p1");
  primary.log.generation = makeGeneration(targets, { number: 7 });
  const { clock, get, metrics, running } = await startOn(t, {
    dir: await dataDir(t),
    primaries: [primary],
    threads: 2,
  });
  await clock.sleep(1600);
  const shares = [0, 1].map((shard) => targets.filter(({ id }) => shardOf(id, 2) === shard).length);
  t.ok(shares[0]! > 3 && shares[1]! > 3);

  t.equal(running.ready(), undefined);
  t.equal(running.healthy(), undefined);
  const { data } = JSON.parse((await get("/api/v1/targets")).text) as { data: { activeTargets: ActiveTarget[] } };
  t.strictSame(
    data.activeTargets.map(({ scrapeUrl }) => scrapeUrl),
    targets.map(({ url }) => url).sort(),
  );
  t.ok(data.activeTargets.every(({ health, heliograph }) => health === "up" && heliograph.generation === 7));
  const layout = data.activeTargets[0]!.heliograph.layout;
  t.match((await get(`/targets/layout?id=${layout}`)).text, /\d+ targets expose them/);
  t.match((await get("/targets")).text, "generation <b>7</b>");

  const asked = await get("/metrics");
  t.match(asked.text, /^heliograph_secondary_targets 20$/m, "gauges are added up");
  t.match(asked.text, /^heliograph_secondary_generation 7$/m, "but for what is the same in all");
  const stored = metrics.get("heliograph_secondary_scrapes_total", { outcome: "stored" });
  t.ok(stored >= 40, `${stored} scrapes of both`);
  const again = await get("/metrics");
  t.ok(Number(/^heliograph_secondary_schedule_lag_seconds_count (\d+)$/m.exec(again.text)![1]) >= stored);
  for (const thread of ["shard-0", "shard-1"]) {
    const busySeconds = metrics.get("heliograph_event_loop_busy_seconds_total", { thread });
    t.ok(busySeconds > 0 && busySeconds < 60, `${thread} was busy for ${busySeconds} s`);
  }
  await running.close();
  await running.close();

  const headers = byShard(t, primary.log);
  t.strictSame(
    headers.map((list) => list.length > 1),
    [true, true],
  );
  for (const list of headers) {
    for (const { createdMs, generation, run, watermarkMs } of list) {
      t.strictSame([generation, run], [7, 1]);
      t.ok(watermarkMs <= createdMs && watermarkMs > createdMs - 3000, "a watermark of its own");
    }
  }
  t.strictSame(
    headers.map((list) => list.reduce((sum, { scrapes }) => sum + scrapes, 0) > 5),
    [true, true],
  );
});

/** Headers of the batches of two shards; that each has its own targets is looked at. */
function byShard(t: { equal(got: number, wanted: number): unknown }, log: MemoryLog): readonly BatchHeader[][] {
  const headers: BatchHeader[][] = [[], []];
  const decoders = new Map<string, RunDecoder>();
  for (const bytes of log.batches.values()) {
    const header = readBatchHeader(bytes);
    headers[header.shard]!.push(header);
    let decoder = decoders.get(runKey(header));
    if (!decoder) decoders.set(runKey(header), (decoder = new RunDecoder(header)));
    const { unreadable } = decoder.decode(bytes, ({ target }) => t.equal(shardOf(target.id, 2), header.shard));
    t.equal(unreadable, 0);
  }
  return headers;
}

/** A thread's end without a thread. */
function thread(
  options: { readonly untakenBytesMax?: number; readonly takes?: boolean; reaches?: () => boolean } = {},
) {
  const clock = manualClock();
  const heard: FromShard[] = [];
  let say: (message: ToShard) => void = () => {};
  const port: Line<FromShard, ToShard> = {
    postMessage(message: FromShard) {
      heard.push(message);
      if (message.kind === "batch" && options.takes !== false)
        say({ kind: "taken", bytes: message.batch.bytes.length });
    },
    on: (_event, listener) => void (say = listener),
  };
  let bodies = 0;
  const fetcher: Fetcher = {
    async fetch() {
      if (options.reaches?.() === false) return { ok: false, outcome: "failed_connect", error: "refused" };
      bodies++;
      return { ok: true, body: new TextEncoder().encode(`a ${bodies}\n`), contentType: "text/plain" } as const;
    },
    close() {},
  };
  const closed = serveShard(
    port,
    { datacenter: "fra", secondary: "s1", bootEpoch: 9, shard: 3, cardinalityLimit: undefined, fetching },
    { clock, fetcherOf: () => fetcher, ...(options.untakenBytesMax && { untakenBytesMax: options.untakenBytesMax }) },
  );
  const targets = [makeTarget("http://a/"), makeTarget("http://b/")];
  say({ kind: "start" });
  say({ kind: "generation", bytes: encodeGeneration(makeGeneration(targets)) });
  const counted = createRegistry({ tier: "secondary" });
  const took = new Set<FromShard>();
  return {
    clock,
    closed,
    say: (message: ToShard) => say(message),
    of: <K extends FromShard["kind"]>(kind: K) =>
      heard.filter((message): message is Extract<FromShard, { kind: K }> => message.kind === kind),
    metrics() {
      for (const message of heard) {
        if (message.kind !== "news" || took.has(message)) continue;
        took.add(message);
        counted.addChanges(message.changes);
      }
      return counted;
    },
  };
}

t.test("a thread tells its news, answers under the question's id, and says all before it is closed", async (t) => {
  const { clock, closed, metrics, of, say } = thread();
  t.equal(of("news").at(-1)!.generation, 1, "at once");
  await clock.advance(3500);
  const before = metrics().get("heliograph_secondary_samples_total");
  t.ok(before >= 4);
  t.ok(of("batch").length >= 2);
  t.strictSame(
    of("batch").map(({ batch }) => [batch.id.shard, batch.id.run, batch.id.sequence]),
    of("batch").map((_, i) => [3, 1, i + 1]),
  );
  say({ kind: "select", id: 5, asked: { filter: filterOf({}), rowsMax: 1 } });
  say({ kind: "layout", id: 6, layout: "0".repeat(32) });
  say({ kind: "tell", id: 7 });
  await clock.advance(10);
  t.match(of("rows"), [{ id: 5, rows: [{ view: { target: { url: "http://a/" } } }] }]);
  t.match(of("selection"), [{ id: 5, part: { found: 2, total: 2, rows: [] } }]);
  t.strictSame(of("share"), [{ kind: "share", id: 6, share: undefined }]);
  t.strictSame(of("told"), [{ kind: "told", id: 7 }]);

  say({ kind: "new_run", reason: "backlog" });
  await clock.advance(1500);
  const batches = of("batch").length;
  say({ kind: "close" });
  await clock.advance(10);
  await closed;
  t.equal(of("closed").length, 1);
  const last = of("batch").at(-1)!.batch;
  t.ok(of("batch").length >= batches);
  t.equal(last.id.run, 2);
  const samples = of("batch").reduce((sum, { batch }) => sum + batch.header.samples, 0);
  t.equal(metrics().get("heliograph_secondary_samples_total"), samples, "the last news are of everything");
  t.match(of("log")[0], { level: "info", sentence: "A new run begins.", fields: { run: 1 } });
});

t.test("a thread's next batch tells what the main thread's spool dropped, once", async (t) => {
  const { clock, of, say } = thread();
  await clock.advance(1500);
  const before = of("batch").length;
  const ranges = [
    {
      bootEpoch: 1,
      shard: 0,
      run: 1,
      from: 1,
      until: 3,
      reason: "full",
      scrapes: 7,
      slotsFromMs: 1000,
      slotsUntilMs: 4000,
    } as const,
  ];
  say({ kind: "tell_dropped", ranges });
  await clock.advance(3000);
  const [first, ...rest] = of("batch").slice(before);
  t.strictSame(first?.batch.dropped, ranges);
  t.ok(rest.length > 0 && rest.every(({ batch }) => batch.dropped.length === 0));
  t.ok(first!.batch.slotsFromMs <= first!.batch.slotsUntilMs);
});

t.test("a thread tells what it suspects, probes for others, and hears the verdict", async (t) => {
  let reaches = true;
  const { clock, metrics, of, say } = thread({ reaches: () => reaches });
  await clock.advance(1500);
  const others = [makeTarget("http://c/"), makeTarget("http://d/")];
  const targets = encodeGeneration(makeGeneration(others, { owner: "" }));
  say({ kind: "probe", id: 8, targets });
  await clock.advance(10);
  t.strictSame(of("probed"), [{ kind: "probed", id: 8, reached: others.map(({ id }) => id).sort() }]);
  t.equal(of("suspicion").length, 0);

  reaches = false;
  await clock.advance(2500);
  t.match(of("suspicion"), [{ suspicion: { of: /[2-9]/, sample: [/^[0-9a-f]{32}$/] } }]);
  const failed = () => metrics().get("heliograph_secondary_scrapes_total", { outcome: "failed_connect" });
  const missed = () => metrics().get("heliograph_secondary_scrapes_total", { outcome: "missed_cut_off" });
  await clock.advance(1000);
  t.strictSame([failed(), missed()], [0, 0], "it is held");
  say({ kind: "verdict", verdict: "cut_off" });
  await clock.advance(1000);
  t.equal(failed(), 0);
  t.ok(missed() >= 4, `${missed()} slots`);
  say({ kind: "verdict", verdict: "reachable" });
  await clock.advance(10);
  t.equal(of("suspicion").at(-1)!.suspicion, undefined);
});

t.test("what a stuck main thread does not take is bounded; what is lost is counted and ends the run", async (t) => {
  const { clock, metrics, of, say } = thread({ untakenBytesMax: 1000, takes: false });
  await clock.advance(60_000);
  const untaken = of("batch").reduce((sum, { batch }) => sum + batch.bytes.length, 0);
  t.ok(untaken <= 1000 && untaken > 500, `${untaken} bytes wait`);
  const lost = metrics().get("heliograph_secondary_spool_dropped_batches_total", { reason: "stuck" });
  t.ok(lost > 20, `${lost} batches were lost`);
  const said = of("log").filter(({ level }) => level === "error");
  t.equal(said.length, 1, "and that is said, but not for each");
  t.match(said[0], { sentence: "Batches were lost: the main thread does not take them.", fields: { batches: 1 } });

  say({ kind: "taken", bytes: untaken });
  const before = of("batch").length;
  await clock.advance(2000);
  const after = of("batch").slice(before);
  t.ok(after.length >= 1);
  t.equal(after[0]!.batch.id.sequence, 1, "what comes now refers to nothing that was lost");
  t.ok(after[0]!.batch.id.run > 1);
});

/** A thread that does something else than to scrape. */
const beginning = (code: string) => new URL(`data:text/javascript,${encodeURIComponent(code)}`);

const shardParts0 = () => ({
  datacenter: "fra",
  secondary: "s1",
  bootEpoch: 9,
  clock: manualClock(),
  log: silentLogger(),
  metrics: createRegistry({ tier: "secondary" }),
  sink() {},
  onSuspicion() {},
});

t.test("a thread's death is told once, with its reason, and what was asked of it fails", async (t) => {
  for (const [code, reason] of [
    ["setTimeout(() => { throw new Error('a bug of ours'); }, 100)", "shard-0 died: a bug of ours"],
    ["setTimeout(() => process.exit(7), 100)", "shard-0 died: the thread ended with code 7"],
    ["setTimeout(() => {}, 100)", "shard-0 died: the thread ended with code 0"],
    [
      "const all = []; setTimeout(() => { for (;;) all.push(new Array(1e6).fill(all.length + 0.5)); }, 100)",
      "shard-0 died: Worker terminated due to reaching memory limit: JS heap out of memory",
    ],
  ] as const) {
    // Whoever runs the tests may load something into each thread, which needs room too.
    const stage = { entry: beginning(code), ...(code.startsWith("const all") && { heapMiBMax: 64 }) };
    const died = Promise.withResolvers<Error>();
    let deaths = 0;
    const onDeath = (error: Error) => {
      deaths++;
      died.resolve(error);
    };
    const [shard] = threadedShards({
      threads: 1,
      fetching,
      onDeath,
      stage,
    })(shardParts0());
    const asked = shard!.select({ filter: filterOf({}), rowsMax: 1 });
    asked.catch(() => {});
    t.equal((await died.promise).message, reason);
    await t.rejects(asked);
    await t.rejects(shard!.layout("0".repeat(32)));
    await shard!.tell();
    await shard!.close();
    t.equal(deaths, 1);
  }
});

t.test("a thread that is silent makes the process unhealthy", async (t) => {
  const parts = shardParts0();
  const entry = beginning("setInterval(() => {}, 1000)");
  const onDeath = (error: Error) => t.fail(error.message);
  const [shard] = threadedShards({ threads: 1, fetching, onDeath, stage: { entry } })(parts);
  await parts.clock.advance(19_000);
  t.equal(shard!.healthy(), undefined);
  await parts.clock.advance(2000);
  t.equal(shard!.healthy(), "shard-0 is stuck: its thread was silent for 21 s");
  const closing = shard!.close();
  await parts.clock.advance(5000);
  await closing;
  t.equal(
    (await shard!.select({ filter: filterOf({}), rowsMax: 1 })).total,
    0,
    "of what has ended there is nothing to see",
  );
  t.equal(await shard!.layout("0".repeat(32)), undefined);
});

t.test("a thread's death ends the process, and the others are closed in order", async (t) => {
  const dir = await dataDir(t);
  const program = `
    import { runService } from "#/lib/supervision/process.ts";
    import { threadedShards } from "#/secondary/thread/shards.ts";
    const start = async ({ clock, log }) => {
      const entry = new URL("data:text/javascript,setTimeout(()=>{throw new Error('out of luck')},300)");
      const onDeath = (error) => { throw error; };
      const parts = { datacenter: "fra", secondary: "s1", bootEpoch: 9, clock, log, metrics: { onCollect() {} }, sink() {} };
      const shards = threadedShards({ threads: 2, fetching: {}, onDeath, stage: { entry } })(parts);
      return {
        healthy: () => undefined,
        ready: () => undefined,
        async close() {
          await Promise.all(shards.map((shard) => shard.close()));
          log.info({}, "closed");
        },
      };
    };
    const argv = ["--topology", "t", "--name", "s1", "--data", ${JSON.stringify(dir)}];
    process.exitCode = await runService({ tier: "secondary", argv, env: {}, start });
    process.exit();`;
  const ended = await heliograph(["--input-type=module-typescript", "--eval", program], {
    program: join(projectRoot, "node_modules", ".bin", "node"),
  });
  t.equal(ended.code, 1, ended.stderr);
  t.match(ended.stdout, /A bug ends this process.*/);
  t.match(ended.stdout, /shard-\d died: out of luck/);
  t.match(ended.stdout, /"closed"/);
});
