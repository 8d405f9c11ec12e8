// The secondary's pages and answers about its targets, from targets whose last scrape is written out here.

import fastify from "fastify";
import t from "tap";

import type { Clock } from "#/lib/clock/clock.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import type { Layout } from "#/lib/model/layout.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import type { Target } from "#/lib/model/target.ts";
import type { ActiveTarget } from "#/secondary/page/answer.ts";
import { registerTargetPages } from "#/secondary/page/routes.ts";
import {
  findLayout,
  mergeParts,
  mergeShares,
  type PageSource,
  type Scheduled,
  selectPart,
} from "#/secondary/page/view.ts";
import type { LastScrape } from "#/secondary/scrape/scrape.ts";
import { layoutFrom } from "#/test/support/scrapes.ts";
import type { Teardown } from "#/test/support/sockets.ts";
import { makeTarget } from "#/test/support/targets.ts";

/** 2024-05-01T12:00:00Z */
const nowMs = 1_714_564_800_000;

interface Given extends Partial<LastScrape> {
  readonly outcome?: Outcome;
  readonly layout?: Layout;
  readonly lastStoredMs?: number;
  readonly running?: boolean;
}

/** Without an outcome it was not scraped yet. */
function scheduled(
  target: Target,
  { layout, lastStoredMs, outcome, running = false, ...given }: Given = {},
): Scheduled {
  const last = outcome && {
    slot: 7,
    generation: 3,
    outcome,
    error: "",
    beganMs: nowMs - 4000,
    durationUs: 12_500,
    bodyBytes: 900,
    samples: 0,
    added: 0,
    dropped: 0,
    refused: undefined,
    ...given,
  };
  // The rest of what a scraper remembers is not looked at.
  const state = { last, layout, lastStoredMs } as Scheduled["state"];
  return { target, state, generation: 4, dueMs: nowMs + 11_000, runningMs: running ? nowMs : undefined };
}

const quietSpool: PageSource["spool"] = {
  batches: 1,
  bytes: 2048,
  bytesMax: 25_769_803_776,
  roomMs: Number.POSITIVE_INFINITY,
  diskTakes: true,
  memoryBytes: 0,
};

/** The targets are spread over so many shards. */
async function serve(t: Teardown, targets: readonly Scheduled[], shards = 1, spool = quietSpool) {
  const shares = Array.from({ length: shards }, (_, shard) => targets.filter((_, i) => i % shards === shard));
  let pauses = 0;
  const clock = { nowMs: () => nowMs, sleep: async () => void pauses++ } as unknown as Clock;
  const source: PageSource = {
    name: "s1",
    datacenter: "fra",
    generation: 4,
    primary: "p2",
    spool,
    async select(asked) {
      return await mergeParts(await Promise.all(shares.map((share) => selectPart(share, asked, clock))), asked, clock);
    },
    layout: async (id) => mergeShares(shares.map((share) => findLayout(share, id))),
  };
  const app = fastify();
  t.teardown(() => app.close());
  registerTargetPages(app, source, clock);
  const get = async (path: string) => {
    const { body, headers, statusCode } = await app.inject(path);
    return { body, headers, statusCode };
  };
  const urls = async (query: string) => {
    const { data } = JSON.parse((await get(`/api/v1/targets?${query}`)).body) as Answer;
    return data.activeTargets.map(({ scrapeUrl }) => scrapeUrl.replace("http://", ""));
  };
  return { get, urls, pauses: () => pauses };
}

interface Answer {
  readonly data: { readonly activeTargets: readonly ActiveTarget[] };
}

const layout = layoutFrom("a_total{code=200}", "b");

const mixed = [
  scheduled(makeTarget("http://up/", { timeoutMs: 500 }), { outcome: "stored", samples: 2, layout }),
  scheduled(makeTarget("http://slow/", { timeoutMs: 500 }), { outcome: "stored", samples: 9, durationUs: 400_000 }),
  scheduled(makeTarget("http://new/", { job: "other" })),
  scheduled(makeTarget("http://partial/"), {
    outcome: "partial",
    samples: 5,
    dropped: 3,
    added: 1,
    refused: { duplicate_series: 2, timestamp_ahead: 0, timestamp_behind: 0, cardinality: 0 },
  }),
  scheduled(makeTarget("http://missed/"), { outcome: "missed_overload", error: "the scrape before still ran" }),
  scheduled(makeTarget("http://down/", { labels: labelsOf({ job: "node", instance: "down", rack: "R2" }) }), {
    outcome: "failed_connect",
    error: "connect ECONNREFUSED 10.0.0.1:9100",
    lastStoredMs: nowMs - 600_000,
    layout,
  }),
];

t.test("a target's answer has everything that Prometheus 2.42 tells of one, and ours beside it", async (t) => {
  const target = makeTarget("https://db-1:9104/probe?module=http_2xx&target=a%26b", {
    job: "mysql",
    labels: labelsOf({ job: "mysql", instance: "db-1:9104" }),
    intervalMs: 90_000,
    timeoutMs: 10_000,
  });
  const given = {
    outcome: "stored",
    samples: 2,
    added: 1,
    dropped: 4,
    lastStoredMs: nowMs - 4000,
    layout,
    running: true,
  } as const;
  const { get } = await serve(t, [scheduled(target, given)]);
  const { body, headers } = await get("/api/v1/targets");
  t.equal(headers["content-type"], "application/json; charset=utf-8");
  t.strictSame(JSON.parse(body), {
    status: "success",
    data: {
      activeTargets: [
        {
          discoveredLabels: {
            __address__: "db-1:9104",
            __metrics_path__: "/probe",
            __param_module: "http_2xx",
            __param_target: "a&b",
            __scheme__: "https",
            __scrape_interval__: "1m30s",
            __scrape_timeout__: "10s",
            job: "mysql",
          },
          labels: { instance: "db-1:9104", job: "mysql" },
          scrapePool: "mysql",
          scrapeUrl: "https://db-1:9104/probe?module=http_2xx&target=a%26b",
          globalUrl: "https://db-1:9104/probe?module=http_2xx&target=a%26b",
          lastError: "",
          lastScrape: "2024-05-01T11:59:56.000Z",
          lastScrapeDuration: 0.0125,
          health: "up",
          scrapeInterval: "1m30s",
          scrapeTimeout: "10s",
          heliograph: {
            id: target.id,
            condition: "up",
            outcome: "stored",
            owner: "s1",
            generation: 3,
            slot: 7,
            running: true,
            nextScrape: "2024-05-01T12:00:11.000Z",
            lastStored: "2024-05-01T11:59:56.000Z",
            samples: 2,
            seriesAdded: 1,
            dropped: 4,
            refused: {},
            bodyBytes: 900,
            layout: layout.id,
          },
        },
      ],
      droppedTargets: [],
      droppedTargetCounts: {},
      heliograph: {
        name: "s1",
        datacenter: "fra",
        generation: 4,
        primary: "p2",
        spool: { batches: 1, bytes: 2048, bytesMax: 25_769_803_776, roomSeconds: null, diskTakes: true },
        targets: 1,
        counts: { all: 1, failing: 0, missed: 0, partial: 0, waiting: 0, up: 1 },
        now: "2024-05-01T12:00:00.000Z",
      },
    },
  });
});

t.test("the page says how long a spool that fills has room, and that its disk takes nothing", async (t) => {
  const quiet = await (await serve(t, [])).get("/targets");
  t.match(quiet.body, "spool <b>1</b> batch, 2.0 KiB");
  t.notMatch(quiet.body, "left</b>");
  t.notMatch(quiet.body, "the disk takes nothing");
  const spool = { ...quietSpool, roomMs: 147_600_000, diskTakes: false, memoryBytes: 1_048_576 };
  const { get } = await serve(t, [], 1, spool);
  const { body } = await get("/targets");
  t.match(body, '<b class="bad">41 h left</b> of 24.0 GiB at the present rate');
  t.match(body, '<b class="bad">the disk takes nothing</b>, 1.0 MiB in memory');
  const answer = JSON.parse((await get("/api/v1/targets")).body) as { data: { heliograph: { spool: unknown } } };
  t.match(answer.data.heliograph.spool, { roomSeconds: 147_600, diskTakes: false });
});

t.test("health says what the target is to blame for, and no more", async (t) => {
  const { get } = await serve(t, mixed);
  const { data } = JSON.parse((await get("/api/v1/targets?state=any")).body) as Answer;
  t.strictSame(
    data.activeTargets.map(({ health, lastScrape, scrapeUrl }) => [scrapeUrl, health, lastScrape.slice(0, 4)]),
    [
      ["http://down/", "down", "2024"],
      ["http://missed/", "unknown", "0001"],
      ["http://partial/", "up", "2024"],
      ["http://new/", "unknown", "0001"],
      ["http://slow/", "up", "2024"],
      ["http://up/", "up", "2024"],
    ],
  );
});

t.test("targets are narrowed by condition, outcome, job and text, and put in order", async (t) => {
  const { urls } = await serve(t, mixed);
  t.strictSame(await urls(""), ["down/", "missed/", "partial/", "new/", "slow/", "up/"], "the worst first");
  t.strictSame(await urls("sort=slow"), ["slow/", "up/", "down/", "partial/", "missed/", "new/"], "of the timeout");
  t.strictSame(await urls("sort=samples"), ["slow/", "partial/", "up/", "down/", "missed/", "new/"]);
  t.strictSame(await urls("sort=name"), ["down/", "missed/", "partial/", "slow/", "up/", "new/"], "by job, then URL");
  t.strictSame(await urls("show=failing"), ["down/"]);
  t.strictSame(await urls("show=up"), ["slow/", "up/"]);
  t.strictSame(await urls("outcome=missed_overload"), ["missed/"]);
  t.strictSame(await urls("job=other"), ["new/"]);
  t.strictSame(await urls("scrapePool=other"), ["new/"], "as Prometheus calls it");
  t.strictSame(await urls("find=RACK%3Dr2"), ["down/"]);
  t.strictSame(await urls("find=econnrefused"), ["down/"]);
  t.strictSame(await urls("find=nothing"), []);
  t.strictSame(await urls("state=dropped"), [], "a secondary has none of those");
  t.strictSame((await urls("show=nonsense&sort=x&page=-1&job=")).length, 6, "what means nothing is not there");
});

t.test("of a target that floods the page names the flood, and says nothing twice", async (t) => {
  const flood = '1,000 new series refused: http_requests_total, label "path" has 900 values (cardinality_limit is 100)';
  const refused = { duplicate_series: 0, timestamp_ahead: 0, timestamp_behind: 0, cardinality: 1000 };
  const given = { outcome: "partial", samples: 100, error: flood, refused, lastStoredMs: nowMs - 600_000 } as const;
  const { get } = await serve(t, [scheduled(makeTarget("http://floods/"), given)]);
  const { body } = await get("/targets");
  t.match(body, `<small class="error">${flood.replaceAll('"', "&#34;")}</small>`);
  t.notMatch(body, "refused: cardinality");
  t.notMatch(body, "last stored");
});

t.test("the page says why a target is down, in whole sentences", async (t) => {
  const { get } = await serve(t, mixed);
  const { body, headers } = await get("/targets");
  t.equal(headers["content-type"], "text/html; charset=utf-8");
  t.match(headers["content-security-policy"], "default-src 'none'");
  for (const part of [
    "connect ECONNREFUSED 10.0.0.1:9100",
    "last stored 10 min ago",
    "2 refused: duplicate series",
    "3 dropped by metric_relabel_configs",
    "<small>1 new</small>",
    "not scraped yet",
    `<a class="id" href="/targets/layout?id=${layout.id}"`,
    "slot 7, gen. 3",
    "next in 11 s",
    "all <b>6</b>",
    "failed connect <b>1</b>",
  ]) {
    t.match(body, part);
  }
  t.notMatch((await get("/targets?show=up")).body, "ECONNREFUSED");
  t.match((await get("/targets?find=zzz")).body, "No target is like that");
});

t.test("nothing that comes from outside gets onto a page unescaped", async (t) => {
  const evil = `"><script>alert('x')</script>&`;
  const target = makeTarget("http://a/", { job: evil, labels: labelsOf({ job: evil, [`l${"x"}`]: evil }) });
  const bad: Layout = { ...layout, rows: [{ name: evil, labels: [["l", evil]], kind: "float", family: 0 }] };
  const families = [{ name: evil, type: "gauge" as const, help: evil, unit: evil }];
  const given = { outcome: "failed_parse", error: evil, layout: { ...bad, families } } as const;
  const { get } = await serve(t, [scheduled(target, given)]);
  const query = `find=${encodeURIComponent(evil)}&job=${encodeURIComponent(evil)}&sort=${encodeURIComponent(evil)}`;
  for (const path of [
    "/targets",
    `/targets?${query}`,
    `/targets?outcome=${encodeURIComponent(evil)}`,
    `/targets/layout?id=${layout.id}`,
    `/targets/layout?id=${layout.id}&${query}`,
    `/targets/layout?id=${encodeURIComponent(evil)}`,
  ]) {
    t.notMatch((await get(path)).body, /<script|alert\('/, path);
  }
});

t.test("a layout's series are told to people and to programs", async (t) => {
  const { get } = await serve(t, mixed);
  const { body } = await get(`/api/v1/targets/layout?id=${layout.id}`);
  t.strictSame(JSON.parse(body), {
    status: "success",
    data: {
      id: layout.id,
      targets: 2,
      series: [
        { labels: { __name__: "a_total", code: "200" }, type: "gauge", help: "A test's.", unit: "" },
        { labels: { __name__: "b" }, type: "gauge", help: "A test's.", unit: "" },
      ],
    },
  });
  const page = (await get(`/targets/layout?id=${layout.id}&find=A_`)).body;
  t.match(page, /2 series of 1 metrics.*2 targets expose them.*a_total<span>\{code="<b>200<\/b>"\}/s);
  t.notMatch(page, "<code>b</code>");
  t.equal((await get("/api/v1/targets/layout?id=x")).statusCode, 400);
  const unknown = `/api/v1/targets/layout?id=${"0".repeat(32)}`;
  t.equal((await get(unknown)).statusCode, 404);
  t.match(JSON.parse((await get(unknown)).body), { status: "error", errorType: "not_found" });
  t.equal((await get(`/targets/layout?id=${"0".repeat(32)}`)).statusCode, 404);
});

t.test("five thousand targets come in pages, and the event loop is let go all the time", async (t) => {
  const many = Array.from({ length: 5000 }, (_, i) => {
    const outcome = i % 100 === 0 ? ("failed_timeout" as const) : ("stored" as const);
    const labels = labelsOf({ job: "node", instance: `m${i}`, datacenter: "fra", rack: `r${i % 7}` });
    return scheduled(makeTarget(`http://m${String(i).padStart(4, "0")}:9100/metrics`, { labels }), { outcome, layout });
  });
  const { get, pauses, urls } = await serve(t, many);
  const page = (await get("/targets")).body;
  t.ok(page.length < 100_000, `${page.length} bytes`);
  t.equal(page.match(/<tr class/g)?.length, 100);
  t.match(page, /1–100 of 5,000.*href="\?page=2">more/s);
  t.match(page, "all with <span>datacenter=<b>fra</b></span> <span>job=<b>node</b></span>");
  t.match((await get("/targets?page=50")).body, /4,901–5,000 of 5,000 <span>more/);
  t.match((await get("/targets?page=999")).body, /4,901–5,000 of 5,000/, "beyond the last is the last");
  // 5,000 in slices of 250, then merged two by two: 20 runs become 10, 5, 3, 2, 1.
  const before = pauses();
  await get("/targets?show=failing");
  t.equal(pauses() - before, 19 + 5);

  t.equal((await urls("")).length, 5000, "as in Prometheus, a program gets all when it does not ask for pages");
  const first = await urls("page=1");
  t.equal(first.length, 100);
  t.strictSame(first.slice(49, 51), ["m4900:9100/metrics", "m0001:9100/metrics"], "fifty that fail, then the others");
  t.strictSame((await urls("page=2"))[0], "m0051:9100/metrics");
});

t.test("targets of several shards come together as if they were of one", async (t) => {
  const many = Array.from({ length: 230 }, (_, i) => {
    const labels = labelsOf({ job: i % 50 === 0 ? "other" : "node", instance: `m${i}`, datacenter: "fra" });
    const made = makeTarget(`http://m${String(i).padStart(3, "0")}/`, { labels, job: i % 50 === 0 ? "other" : "node" });
    if (i % 40 === 3) return scheduled(made, { outcome: i % 80 === 3 ? "failed_timeout" : "failed_connect" });
    return scheduled(made, { outcome: "stored", samples: (i * 37) % 101, durationUs: ((i * 53) % 97) * 1000, layout });
  });
  const one = await serve(t, many);
  const three = await serve(t, many, 3);
  // A shard may have nothing, or a single target.
  const single = await serve(t, [many[1]!, many[2]!], 3);
  t.match(
    (await single.get("/targets")).body,
    "all with <span>datacenter=<b>fra</b></span> <span>job=<b>node</b></span>",
  );
  t.same(await single.urls(""), ["m001/", "m002/"]);
  for (const path of [
    "/targets",
    "/targets?page=2",
    "/targets?page=3&sort=slow",
    "/targets?page=9&sort=samples",
    "/targets?show=failing",
    "/targets?outcome=failed_timeout",
    "/targets?job=other",
    "/targets?find=m11",
    `/targets/layout?id=${layout.id}`,
    "/api/v1/targets",
    "/api/v1/targets?page=2&sort=samples",
    "/api/v1/targets?state=dropped",
    `/api/v1/targets/layout?id=${layout.id}`,
  ]) {
    // Which twenty of those that share a layout are named is chance.
    const plain = (body: string) => body.replace(/<ul>.*<\/ul>/s, "");
    t.equal(plain((await three.get(path)).body), plain((await one.get(path)).body), path);
  }
  t.match((await one.get("/targets")).body, "1–100 of 230");
  t.match((await three.get(`/targets/layout?id=${layout.id}`)).body, "224 targets expose them");
});
