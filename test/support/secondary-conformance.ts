// A whole secondary, with targets over real HTTP, a spool on a real disk and a primary in memory: what arrives is compared
// with what each target had sent, value by value. In how many threads it scrapes is no matter: the same claims hold.

import { Buffer } from "node:buffer";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";

import { systemClock } from "#/lib/clock/clock.ts";
import { decodeGeneration } from "#/lib/codec/generation.ts";
import { createHttpServer } from "#/lib/http/server.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import type { Scrape } from "#/lib/model/scrape.ts";
import { slotTimeMs, type Target } from "#/lib/model/target.ts";
import { systemRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import type { ActiveTarget } from "#/secondary/page/answer.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { countedFetches } from "#/secondary/scrape/http/meter.ts";
import { startSecondary } from "#/secondary/secondary.ts";
import { oneShard } from "#/secondary/shard.ts";
import { openSpoolStore } from "#/secondary/spool/store.ts";
import { threadedShards } from "#/secondary/thread/shards.ts";
import { written } from "#/test/support/batches.ts";
import { MemoryLog, MemoryPrimary } from "#/test/support/memory-primary.ts";
import { onRequest, response, serveSockets, type Teardown } from "#/test/support/sockets.ts";
import { makeGeneration, makeTarget, plainScrapeOptions } from "#/test/support/targets.ts";

const yearMs = 365 * 86_400_000;

export async function dataDir(t: Teardown): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-secondary-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

interface StartOptions {
  readonly threads: number;
  readonly dir: string;
  readonly primaries: readonly MemoryPrimary[];
  readonly onAssignment?: (bytes: Uint8Array) => void;
  /** False where there is nothing to scrape yet. */
  readonly begins?: boolean;
}

/** Resolves when its threads scrape, if there is a generation and more than one thread. */
export async function startOn(t: Teardown, options: StartOptions) {
  const clock = systemClock();
  const metrics = createRegistry({ tier: "secondary" });
  const running = await startSecondary({
    datacenter: "fra",
    name: "s1",
    primaries: options.primaries.map(({ name }) => name),
    listen: "127.0.0.1:0",
    http: createHttpServer,
    store: await openSpoolStore(join(options.dir, "spool")),
    clock,
    random: systemRandom(),
    log: silentLogger(),
    metrics,
    connect: (address) => options.primaries.find(({ name }) => name === address)!.connect(),
    shards:
      options.threads === 1
        ? oneShard({ fetcher: httpFetcher({ clock, meter: countedFetches(metrics) }) })
        : threadedShards({
            threads: options.threads,
            fetching: { secrets: new Map(), baseDir: ".", environment: {} },
            onDeath,
          }),
    ...(options.onAssignment && { onAssignment: options.onAssignment }),
  });
  t.teardown(() => running.close());
  const get = async (path: string) => {
    const answer = await fetch(`http://${running.httpAddress}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  if (options.threads > 1 && options.begins !== false) {
    for (let i = 0; i < 200 && running.ready() !== undefined; i++) await clock.sleep(50);
  }
  return { clock, get, metrics, running };
}

function onDeath(error: Error): void {
  throw error;
}

/** Servers on one port, by path: each answers a body of its own, another one each time, and remembers what it sent. */
export async function fleet(t: Teardown, count: number, intervalMs: number) {
  const sent = new Map<string, string[][]>();
  const server = createServer((request, answer) => {
    const path = request.url!;
    const bodies = sent.get(path) ?? [];
    sent.set(path, bodies);
    const n = bodies.length;
    const machine = Number(path.slice(2));
    const lines = [
      `cpu_seconds_total{cpu="0"} ${machine * 1000 + n * 0.25}`,
      `memory_bytes ${2 ** 40 + n}`,
      `temperature_celsius{sensor="a\\\\b"} ${-40.5 + machine + n / 8}`,
      `odd ${["NaN", "+Inf", "-0", "1e-300", "12345678901234567890", "0.1"][n % 6]}`,
      // Some of a machine's series come and go.
      ...(n % 3 === 2 ? [`sometimes{n="${n}"} ${n}`] : []),
    ];
    bodies.push(lines);
    answer.setHeader("content-type", "text/plain; version=0.0.4");
    answer.end(`# TYPE cpu_seconds_total counter\n${lines.join("\n")}\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const targets = Array.from({ length: count }, (_, i) =>
    makeTarget(`http://127.0.0.1:${port}/m${i}`, {
      intervalMs,
      timeoutMs: intervalMs * 0.9,
      labels: labelsOf({ job: "node", instance: `m${i}`, datacenter: "fra" }),
    }),
  );
  return { sent, targets, pathOf: (target: Target) => new URL(target.url).pathname };
}

/** As the test's servers write them. */
function expectedValue(text: string): string {
  const value = Number(text.replace("Inf", "Infinity"));
  return Object.is(value, -0) ? "-0" : text === "NaN" ? "NaN:7ff8000000000001" : text === "+Inf" ? text : String(value);
}

export function expectedSeries(lines: readonly string[]): readonly string[] {
  return lines.map((line) => {
    const [head, value] = line.split(" ") as [string, string];
    return `${head.includes("{") ? head : `${head}{}`} ${expectedValue(value)}`;
  });
}

export function byTarget(log: MemoryLog): Map<string, ReturnType<typeof written>[]> {
  const scrapes = new Map<string, ReturnType<typeof written>[]>();
  const { unreadable } = log.decode((scrape: Scrape) => {
    const list = scrapes.get(scrape.target.id) ?? [];
    list.push(written(scrape));
    scrapes.set(scrape.target.id, list);
  });
  if (unreadable > 0) throw new Error(`${unreadable} scrapes cannot be read`);
  return scrapes;
}

/** The claims about a secondary that scrapes in so many threads. */
export function testSecondary(t: Test, threads: number): void {
  const start = (t: Teardown, options: Omit<StartOptions, "threads">) => startOn(t, { ...options, threads });

  t.test("every value that a target sent arrives, each slot once, through a failover and a restart", async (t) => {
    const { pathOf, sent, targets } = await fleet(t, 20, 500);
    const log = new MemoryLog();
    const primaries = [new MemoryPrimary("p1", log), new MemoryPrimary("p2", log)] as const;
    const dir = await dataDir(t);
    log.generation = makeGeneration(targets);
    const first = await start(t, { dir, primaries });
    await first.clock.sleep(1500);
    t.equal(first.running.ready(), undefined);
    primaries[0].die();
    await first.clock.sleep(1000);
    await first.running.close();

    // The next start needs no primary: its generation is on disk, and so is what could not be pushed.
    primaries[1].die();
    const between = new Map([...sent].map(([path, bodies]) => [path, bodies.length]));
    const second = await start(t, { dir, primaries });
    t.equal(second.running.ready(), undefined);
    await second.clock.sleep(1200);
    await second.running.close();
    primaries[0].up = true;
    const third = await start(t, { dir, primaries });
    await third.clock.sleep(700);
    await third.running.close();

    const scrapes = byTarget(log);
    t.equal(scrapes.size, 20);
    let samples = 0;
    let onTime = 0;
    for (const target of targets) {
      const bodies = sent.get(pathOf(target))!;
      const list = scrapes.get(target.id)!;
      const stored = list.filter(({ facts }) => facts.outcome === "stored");
      // What was on its way when a process stopped was sent but is missed; the others depend on how busy this machine is: when it
      // stands still for as long as a timeout, most scrapes fail together, and are back before anybody could say whose fault it was.
      const told = list.filter(({ facts }) => facts.outcome !== "stored");
      const others = told.filter(
        ({ facts }) => !/^missed_(down|overload|cut_off)$|^failed_timeout$/.test(facts.outcome),
      );
      t.same(
        others.map(({ facts }) => `${facts.slot} ${facts.outcome}`),
        [],
      );
      t.ok(bodies.length - stored.length <= 4, `${stored.length} of ${bodies.length} bodies of ${pathOf(target)}`);
      t.ok(stored.length >= 6 && between.get(pathOf(target))! >= 4);
      const slots = list.map(({ facts }) => facts.slot);
      t.equal(new Set(slots).size, slots.length, "no slot twice");
      let next = 0;
      for (const { facts, labels, layout, series } of stored.sort((a, b) => a.facts.slot - b.facts.slot)) {
        const lateMs = facts.timestampMs - slotTimeMs(target, facts.slot);
        t.ok(lateMs === 0 || (lateMs >= 10 && lateMs < 500), `${lateMs} ms late`);
        if (lateMs === 0) onTime++;
        t.strictSame(labels, { job: "node", instance: `m${targets.indexOf(target)}`, datacenter: "fra" });
        t.equal(layout.length, 32);
        while (next < bodies.length && JSON.stringify(expectedSeries(bodies[next]!)) !== JSON.stringify(series)) next++;
        t.ok(next < bodies.length, `slot ${facts.slot}: ${series.join(" ")}`);
        next++;
        samples += series.length;
      }
    }
    t.ok(onTime > 60, `${onTime} scrapes began on time`);
    t.ok(samples > 20 * 8 * 4, `${samples} samples compared`);
  });

  t.test("each stage of a scrape tells how much it did and how long it took", async (t) => {
    const { sent, targets } = await fleet(t, 4, 500);
    const primary = new MemoryPrimary("p1");
    primary.log.generation = makeGeneration(targets);
    const { clock, metrics, running } = await start(t, { dir: await dataDir(t), primaries: [primary] });
    await clock.sleep(2600);
    await running.close();
    const bodies = [...sent.values()].flat();
    const text = metrics.expose();
    const value = (series: string) => {
      const line = text.split("\n").find((each) => each.startsWith(`${series} `));
      return line === undefined ? Number.NaN : Number(line.slice(series.length + 1));
    };
    const p = "heliograph_secondary_";
    const stored = value(`${p}scrapes_total{outcome="stored"}`);
    t.ok(stored >= 12 && stored <= bodies.length, `${stored} of ${bodies.length}`);

    const opened = value(`${p}fetch_requests_total{connection="opened"}`);
    t.ok(opened >= 1 && opened <= 4, `${opened} connections for 4 targets of one address`);
    t.equal(value(`${p}fetch_requests_total{connection="reused"}`), bodies.length - opened);
    // "# TYPE cpu_seconds_total counter" and the ends of lines are the rest.
    const sizes = bodies.map((lines) => 33 + lines.reduce((sum, line) => sum + line.length + 1, 0));
    const sizesSum = sizes.reduce((sum, size) => sum + size, 0);
    const bodyBytes = value(`${p}fetch_body_bytes_total`);
    t.ok(
      bodyBytes <= sizesSum && bodyBytes >= sizesSum - 4 * Math.max(...sizes),
      "but for those on their way at the end",
    );
    t.ok(value(`${p}fetch_bytes_total{direction="received"}`) > bodyBytes, "heads are counted too");
    t.ok(value(`${p}fetch_bytes_total{direction="sent"}`) > bodies.length * 200);
    t.ok(value(`${p}fetch_first_byte_seconds_count`) >= stored);
    t.ok(value(`${p}fetch_seconds_count`) >= stored);
    t.ok(value(`${p}fetch_seconds_sum`) >= value(`${p}fetch_first_byte_seconds_sum`));

    // Every third body has a line that no body before had.
    const learned = value(`${p}bodies_total{reading="learned"}`);
    t.equal(learned + value(`${p}bodies_total{reading="recognized"}`), stored);
    t.ok(learned >= 2 && learned < stored);
    for (const stage of ["read", "learn", "encode", "compress"]) {
      const seconds = value(`${p}stage_seconds_total{stage="${stage}"}`);
      t.ok(seconds > 0 && seconds < 1, `${stage}: ${seconds} s`);
    }

    const batches = value(`${p}batches_total`);
    t.ok(batches >= 2);
    t.ok(value(`${p}batch_raw_bytes_total`) > batches * 50);
    const writes = value(`${p}spool_write_seconds_count`);
    t.ok(writes >= 1 && writes <= batches);
    t.equal(value(`${p}push_batches_total`), batches);
    t.equal(value(`${p}push_bytes_total`), value(`${p}batch_bytes_total`));
    t.equal(value(`${p}push_seconds_count{step="accepted"}`), batches);
    t.ok(value(`${p}schedule_ticks_total`) > 4);
    t.ok(value(`${p}schedule_lag_seconds_count`) >= stored);
    t.equal(value(`${p}scrapes_running`), 0);
  });

  t.test("targets as bad as they come cost themselves their scrape and the others nothing", async (t) => {
    const { pathOf, sent, targets } = await fleet(t, 10, 1000);
    const raw = (bytes: string | Uint8Array, end = false) =>
      serveSockets(t, (socket) => onRequest(socket, () => (end ? socket.end(bytes) : socket.write(bytes))));
    const flood = Buffer.alloc(1 << 20, "x 1\n");
    const endless = await serveSockets(t, (socket) =>
      onRequest(socket, () => {
        socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n`);
        const more = () => {
          while (!socket.destroyed && socket.write(`${flood.length.toString(16)}\r\n`)) {
            socket.write(flood);
            if (!socket.write("\r\n")) break;
          }
        };
        socket.on("drain", more);
        more();
      }),
    );
    const dripping = await serveSockets(t, (socket) => {
      const drip = setInterval(() => socket.write("x"), 50);
      socket.on("close", () => clearInterval(drip));
      onRequest(socket, () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"));
    });
    const html = '<html><script>alert("x")</script></html>';
    const cases: readonly (readonly [name: string, url: string, outcome: string, error: RegExp])[] = [
      ["slow", dripping, "failed_timeout", /the body was not complete/],
      ["never", await raw(""), "failed_timeout", /no answer/],
      ["500", await raw("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"), "failed_status", /500/],
      ["html", await raw(response(html)), "failed_parse", /^line 1: expected a metric name.*<script>/],
      [
        "half",
        await raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf 1\n", true),
        "failed_closed",
        /unfinished/,
      ],
      ["200 MB", endless, "failed_body_size", /body_size_limit exceeded/],
      [
        "UTF-8",
        await raw(response(Buffer.from([0x61, 0xff, 0x20, 0x31, 0x0a]))),
        "failed_parse",
        /line 1: expected UTF-8/,
      ],
      ["twice", await raw(response("a 1\na 2\nb 3\n")), "partial", /^$/],
      ["a year off", await raw(response(`a 1 ${Math.round(Date.now() + yearMs)}\nb 3\n`)), "partial", /^$/],
      ["nobody", "http://127.0.0.1:1/metrics", "failed_connect", /ECONNREFUSED/],
    ];
    const bad = cases.map(([name, url]) =>
      makeTarget(url, {
        job: `bad <${name}>`,
        intervalMs: 600,
        timeoutMs: 400,
        options: { ...plainScrapeOptions, bodyBytesMax: 4 << 20 },
      }),
    );
    const primary = new MemoryPrimary("p1");
    primary.log.generation = makeGeneration([...targets, ...bad]);
    const { clock, get, metrics, running } = await start(t, { dir: await dataDir(t), primaries: [primary] });
    await clock.sleep(3000);

    const answer = JSON.parse((await get("/api/v1/targets")).text) as {
      data: { activeTargets: ActiveTarget[]; heliograph: { name: string; targets: number } };
    };
    t.match(answer.data.heliograph, { name: "s1", targets: 20 });
    t.equal(answer.data.activeTargets.length, 20);
    for (const [i, [name, , outcome, error]] of cases.entries()) {
      const view = answer.data.activeTargets.find(({ heliograph }) => heliograph.id === bad[i]!.id)!;
      t.equal(view.heliograph.outcome, outcome, name);
      t.equal(view.health, outcome === "partial" ? "up" : "down", name);
      t.match(view.lastError, error, name);
      if (name === "twice") t.strictSame(view.heliograph.refused, { duplicate_series: 1 });
      if (name === "a year off") t.strictSame(view.heliograph.refused, { timestamp_ahead: 1 });
      t.ok(metrics.get("heliograph_secondary_scrapes_total", { outcome }) >= 3, `${outcome} is counted`);
    }
    t.ok(metrics.get("heliograph_secondary_series_refused_total", { reason: "duplicate_series" }) >= 3);
    t.ok(metrics.get("heliograph_secondary_series_refused_total", { reason: "timestamp_ahead" }) >= 3);

    const page = (await get("/targets")).text;
    t.match(page, "the body was not complete within 0.4 s");
    t.match(page, "1 refused: duplicate series");
    t.match(page, "bad &#60;html&#62;");
    t.notMatch(page, /<script|bad </, "nothing of the targets gets onto the page unescaped");
    t.match(page, /failing <b>8<\/b>.*missed <b>0<\/b>.*partial <b>2<\/b>.*up <b>10<\/b>/s);
    const found = (await get("/targets?show=failing&find=econnrefused")).text;
    t.match(found, "127.0.0.1:1/metrics");
    t.notMatch(found, "the body was not complete");
    t.match((await get("/metrics")).text, /^heliograph_secondary_targets 20$/m);
    t.equal((await get("/-/ready")).status, 200);
    t.equal((await get("/-/healthy")).status, 200);
    await running.close();

    const scrapes = byTarget(primary.log);
    for (const target of targets) {
      const list = scrapes.get(target.id)!;
      const slots = list.map(({ facts }) => facts.slot).sort((a, b) => a - b);
      t.strictSame(
        slots,
        slots.map((_, i) => slots[0]! + i),
        "a good target has every slot",
      );
      const stored = list.filter(({ facts }) => facts.outcome === "stored");
      t.ok(list.length - stored.length <= 1, "stored, but for the one on its way at the end");
      t.ok(sent.get(pathOf(target))!.length >= 2);
    }
    for (const [i, [name]] of cases.entries()) {
      const list = scrapes.get(bad[i]!.id)!;
      if (name === "twice") t.strictSame(list[0]!.series, ["a{} 1", "b{} 3"]);
      if (name === "a year off") t.strictSame(list[0]!.series, ["a{} absent", "b{} 3"]);
      t.ok(list.length >= 4, `each slot of "${name}" has an outcome`);
    }
  });

  t.test("without a primary and without a generation it waits and says so", async (t) => {
    const primary = new MemoryPrimary("p1");
    primary.up = false;
    const dir = await dataDir(t);
    const assignments: number[] = [];
    const onAssignment = (bytes: Uint8Array) => assignments.push(decodeGeneration(bytes).number);
    const { clock, get, running } = await start(t, { dir, primaries: [primary], onAssignment, begins: false });
    t.match(await get("/-/ready"), { status: 503, text: /Waiting for a primary to say what to scrape/ });
    t.match((await get("/targets")).text, /No targets are assigned.*|no primary takes batches/s);
    primary.up = true;
    primary.log.generation = makeGeneration([]);
    for (let i = 0; i < 100 && running.ready() !== undefined; i++) await clock.sleep(50);
    t.equal((await get("/-/ready")).status, 200);
    t.strictSame(assignments, [1]);
    await running.close();
    await running.close();
    primary.up = false;
    const again = await start(t, { dir, primaries: [primary], onAssignment });
    t.strictSame(assignments, [1, 1], "that on disk is told too");
    await again.running.close();
  });
}
