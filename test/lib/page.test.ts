// Who scrapes what, as primaries and globals show it: from generations and outcomes that are written out here.

import t from "tap";
import { labelsOf } from "#/lib/model/labels.ts";
import type { Target } from "#/lib/model/target.ts";
import type { AssignedAnswer, AssignedSummary } from "#/lib/page/assigned/answer.ts";
import type { AssignedSource } from "#/lib/page/assigned/source.ts";
import { type HeardByPrimary, LastWords } from "#/lib/page/assigned/words.ts";
import { assignedApp, type GivenOutcome, mixed, nowMs, type Row, sourceOf } from "#/test/support/assigned.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import type { Teardown } from "#/test/support/sockets.ts";
import { makeTarget } from "#/test/support/targets.ts";

function serve(t: Teardown, sources: readonly AssignedSource[], incomplete?: string) {
  const app = assignedApp(t, sources, incomplete);
  const get = async (path: string) => {
    const { body, headers, statusCode } = await app.inject(path);
    return { body, headers, statusCode };
  };
  const ask = async (query: string) => (JSON.parse((await get(`/api/v1/targets?${query}`)).body) as Answer).data;
  const urls = async (query: string) =>
    (await ask(query)).activeTargets.map(({ scrapeUrl }) => scrapeUrl.replace("http://", ""));
  return { ask, get, urls };
}

interface Answer {
  readonly data: {
    readonly activeTargets: readonly AssignedAnswer[];
    readonly droppedTargetCounts: Readonly<Record<string, number>>;
    readonly heliograph: AssignedSummary;
  };
}

t.test("a target's answer has everything that Prometheus tells of one, and who scrapes it beside it", async (t) => {
  const target = makeTarget("https://db-1:9104/probe?target=a%26b", {
    job: "mysql",
    labels: labelsOf({ job: "mysql", instance: "db-1:9104" }),
    intervalMs: 90_000,
    timeoutMs: 10_000,
  });
  const given: GivenOutcome = {
    outcome: "failed_connect",
    owner: "s2",
    secondary: "s1",
    slot: 19_050_719,
    timestampMs: nowMs - 20_000,
    lastStoredMs: nowMs - 600_000,
  };
  const { get } = serve(t, [sourceOf([[target, given]])]);
  const { body, headers, statusCode } = await get("/api/v1/targets");
  t.equal(statusCode, 200);
  t.equal(headers["content-type"], "application/json; charset=utf-8");
  const { data, status } = JSON.parse(body) as Answer & { status: string };
  t.equal(status, "success");
  const { heliograph: facts, ...prometheus } = data.activeTargets[0]!;
  t.strictSame(prometheus, {
    discoveredLabels: {
      __address__: "db-1:9104",
      __metrics_path__: "/probe",
      __param_target: "a&b",
      __scheme__: "https",
      __scrape_interval__: "1m30s",
      __scrape_timeout__: "10s",
      job: "mysql",
    },
    labels: { instance: "db-1:9104", job: "mysql" },
    scrapePool: "mysql",
    scrapeUrl: "https://db-1:9104/probe?target=a%26b",
    globalUrl: "https://db-1:9104/probe?target=a%26b",
    lastError: "no connection could be made",
    lastScrape: "2024-05-01T11:59:40.000Z",
    lastScrapeDuration: 0.0125,
    health: "down",
    scrapeInterval: "1m30s",
    scrapeTimeout: "10s",
  });
  const { nextScrape, slotTime, ...others } = facts;
  t.strictSame(others, {
    id: target.id,
    datacenter: "fra",
    condition: "failing",
    outcome: "failed_connect",
    since: "2024-05-01T11:59:00.000Z",
    slot: 19_050_719,
    scrapedBy: "s1",
    lastStored: "2024-05-01T11:50:00.000Z",
    owner: "s2",
    unassigned: null,
    generation: 3,
    samples: 0,
  });
  t.equal((Date.parse(nextScrape!) - Date.parse(slotTime!)) % 90_000, 0, "slots are whole intervals apart");
  const untilNextMs = Date.parse(nextScrape!) - nowMs;
  t.ok(untilNextMs > 0 && untilNextMs <= 90_000);
  t.strictSame(data.heliograph, {
    server: "p1",
    now: "2024-05-01T12:00:00.000Z",
    datacenters: [
      {
        name: "fra",
        generation: 4,
        primary: "p1",
        validFrom: "2024-05-01T11:59:57.000Z",
        targets: 1,
        unassigned: 0,
        secondaries: [
          {
            name: "s1",
            capacity: 5,
            state: "active",
            ageMs: 400,
            primary: "p1",
            url: "http://s1:9100",
            targets: 0,
            failing: 0,
          },
          {
            name: "s2",
            capacity: 5,
            state: "active",
            ageMs: 400,
            primary: "p1",
            url: "http://s2:9100",
            targets: 1,
            failing: 1,
          },
          {
            name: "s3",
            capacity: 5,
            state: "unknown",
            ageMs: null,
            primary: "",
            url: "http://s3:9100",
            targets: 0,
            failing: 0,
          },
        ],
      },
    ],
    counts: { all: 1, failing: 1, unassigned: 0, silent: 0, missed: 0, partial: 0, waiting: 0, up: 0 },
    found: 1,
    offset: 0,
    next: null,
  });
});

t.test("what nobody scraped is not called down, and what nobody told of lately is not called up", async (t) => {
  const { ask } = serve(t, [sourceOf(mixed)]);
  const { activeTargets } = await ask("");
  t.strictSame(
    activeTargets.map(({ health, heliograph, lastScrape, scrapeUrl }) => [
      scrapeUrl,
      heliograph.condition,
      health,
      lastScrape.slice(0, 4),
    ]),
    [
      ["http://down/", "failing", "down", "2024"],
      ["http://nobody/", "unassigned", "unknown", "0001"],
      ["http://silent/", "silent", "unknown", "2024"],
      ["http://missed/", "missed", "unknown", "0001"],
      ["http://partial/", "partial", "up", "2024"],
      ["http://new/", "waiting", "unknown", "0001"],
      ["http://slow/", "up", "up", "2024"],
      ["http://up/", "up", "up", "2024"],
    ],
  );
  t.equal(activeTargets[1]!.heliograph.owner, null);
  t.equal(activeTargets[1]!.heliograph.unassigned, "the living secondaries have room for 10");
});

t.test("targets are narrowed by condition, outcome, owner, job and text, and put in order", async (t) => {
  const { urls } = serve(t, [sourceOf(mixed)]);
  t.strictSame(await urls("show=failing"), ["down/"]);
  t.strictSame(await urls("show=unassigned"), ["nobody/"]);
  t.strictSame(await urls("show=missed"), ["missed/"]);
  t.strictSame(await urls("show=partial"), ["partial/"]);
  t.strictSame(await urls("outcome=missed_down"), ["missed/"]);
  t.strictSame(await urls("owner=s2"), ["down/", "up/"]);
  t.strictSame(await urls("job=other"), ["new/"]);
  t.strictSame(await urls("scrapePool=other"), ["new/"], "as Prometheus calls it");
  t.strictSame(await urls("find=RACK%3Dr2"), ["down/"]);
  t.strictSame(await urls("find=s2&sort=name"), ["down/", "up/"], "an owner is text, too");
  t.strictSame(await urls("sort=slow&limit=2"), ["slow/", "down/"]);
  t.strictSame(await urls("sort=samples&limit=3"), ["slow/", "partial/", "silent/"]);
  t.strictSame(await urls("state=dropped"), []);
  t.strictSame((await urls("show=nonsense&sort=x&job=")).length, 8, "what means nothing is not there");
});

t.test(
  "a program that asks for pages gets the place of the next one, and a wrong place is refused by name",
  async (t) => {
    const { ask, get, urls } = serve(t, [sourceOf(mixed)]);
    t.strictSame(await urls("sort=name&limit=3"), ["down/", "missed/", "nobody/"]);
    t.match((await ask("sort=name&limit=3")).heliograph, { found: 8, offset: 0, next: 3 });
    t.strictSame(await urls("sort=name&limit=3&offset=6"), ["up/", "new/"]);
    t.match((await ask("sort=name&limit=3&offset=6")).heliograph, { found: 8, offset: 6, next: null });
    t.match((await ask("offset=99")).heliograph, { found: 8, offset: 99, next: null });
    const bad = await get("/api/v1/targets?limit=-1");
    t.equal(bad.statusCode, 400);
    t.match(JSON.parse(bad.body), {
      status: "error",
      errorType: "bad_data",
      error: 'limit: expected a whole number up to 1000000000, got "-1"',
    });
  },
);

t.test("dropped targets are counted by job, and scrape pools are listed", async (t) => {
  const { ask, get } = serve(t, [sourceOf(mixed)]);
  t.strictSame((await ask("state=dropped")).droppedTargetCounts, { node: 7 });
  t.strictSame((await ask("state=any")).droppedTargetCounts, { node: 7 });
  t.strictSame((await ask("state=active")).droppedTargetCounts, {});
  const { body } = await get("/api/v1/scrape_pools");
  t.strictSame(JSON.parse(body), { status: "success", data: { scrapePools: ["node", "other"] } });
});

t.test("a global tells all data centres, or the one that is asked for", async (t) => {
  const ams = sourceOf([[makeTarget("http://ams/"), { outcome: "stored" }]], { datacenter: "ams" });
  const fra = sourceOf(mixed);
  const { ask, get, urls } = serve(t, [ams, fra]);
  t.equal((await urls("")).length, 9);
  t.strictSame(await urls("datacenter=ams"), ["ams/"]);
  t.equal((await ask("datacenter=ams")).heliograph.datacenters.length, 1);
  const unknown = await get("/api/v1/targets?datacenter=nyc");
  t.equal(unknown.statusCode, 400);
  t.match(unknown.body, 'datacenter: expected one of ams, fra, got \\"nyc\\"');
  const { body } = await get("/targets");
  t.match(body, '<select name="datacenter"');
  t.match(body, "generation <b>4</b> of <b>ams</b>");
});

t.test("before everything was read, programs are told so instead of half an answer, and people see it", async (t) => {
  const { get } = serve(t, [sourceOf([])], "p1 is still replaying its journal");
  const { body, statusCode } = await get("/api/v1/targets");
  t.equal(statusCode, 503);
  t.strictSame(JSON.parse(body), {
    status: "error",
    errorType: "unavailable",
    error: "p1 is still replaying its journal",
  });
  t.equal((await get("/api/v1/scrape_pools")).statusCode, 503);
  t.match((await get("/targets")).body, "Not all is known here yet:</b> p1 is still replaying its journal");
});

t.test("the page says who scrapes what, why something is not scraped, and who told it last", async (t) => {
  const { get } = serve(t, [
    sourceOf(mixed, {
      secondaries: [
        { name: "s1", capacity: 5 },
        { name: "s2", capacity: 5, state: "cut_off" },
      ],
    }),
  ]);
  const { body, headers } = await get("/targets");
  t.match(headers["content-security-policy"], "default-src 'none'");
  for (const part of [
    "1 target has no owner: the living secondaries have room for 5",
    '<a href="http://s1:9100/targets">s1</a>',
    "cut off from its targets",
    "never heard",
    '<a href="?owner=s1">5</a> of 5',
    "no connection could be made",
    "since 60 s",
    "last stored 10 min ago",
    "nothing was told since 7.0 s",
    "last by s3",
    "not scraped yet",
    '<a href="http://s2:9100/targets?find&#61;http%3A%2F%2Fdown%2F">s2</a>',
    "all <b>8</b>",
    "failed connect <b>1</b>",
    ">slot 1714564797</small><small>generation 3</small>",
  ]) {
    t.match(body.replaceAll("&#61;", "="), part.replaceAll("&#61;", "="));
  }
  t.match((await get("/targets?find=zzz")).body, "No target is like that");
  t.match((await serve(t, [{ ...sourceOf([]), generation: () => undefined }]).get("/targets")).body, "No generation");
});

t.test(
  "the last word of a secondary is remembered when its stream has ended, whichever primary heard it",
  async (t) => {
    const clock = manualClock(nowMs);
    let heard: readonly HeardByPrimary[] = [];
    const words = new LastWords({ clock, known: () => ["s1", "s2"], heard: () => heard });
    t.same([...words.words()], []);
    heard = [
      { primary: "p1", ageMs: 0, secondaries: [{ name: "s1", ageMs: 700 }] },
      {
        primary: "p2",
        ageMs: 300,
        secondaries: [
          { name: "s1", ageMs: 100 },
          { name: "stranger", ageMs: 0 },
        ],
      },
    ];
    words.listen();
    heard = [];
    await clock.advance(5000);
    t.same([...words.words()], [["s1", { ageMs: 5400, primary: "p2" }]]);
  },
);

t.test("nothing that comes from outside gets onto the page unescaped", async (t) => {
  const evil = `"><script>alert('x')</script>&`;
  const target = makeTarget("http://a/", { job: evil, labels: labelsOf({ job: evil, l: evil }) });
  const { get } = serve(t, [sourceOf([[target, { outcome: "failed_parse", owner: evil, secondary: `${evil}2` }]])]);
  const query = encodeURIComponent(evil);
  for (const path of [
    "/targets",
    `/targets?find=${query}&job=${query}&sort=${query}&owner=${query}`,
    `/targets?datacenter=${query}&outcome=${query}`,
  ]) {
    t.notMatch((await get(path)).body, /<script|alert\('/, path);
  }
});

t.test("a hundred thousand targets come in pages, and the event loop is let go all the time", async (t) => {
  const many = Array.from({ length: 100_000 }, (_, i): Row => {
    const url = `http://m${String(i).padStart(6, "0")}:9100/metrics`;
    const target = {
      id: `${(i * 7919) % 100_000}`.padStart(32, "0"),
      job: "node",
      url,
      labels: labelsOf({ job: "node", instance: `m${i}`, datacenter: "fra", rack: `r${i % 7}` }),
      intervalMs: 15_000,
      timeoutMs: 10_000,
    } as Target;
    return [target, { outcome: i % 1000 === 0 ? "failed_timeout" : "stored", owner: i % 2 === 0 ? "s1" : "s2" }];
  });
  const { ask, get, urls } = serve(t, [sourceOf(many)]);
  await get("/targets");
  let turns = 0;
  let longestMs = 0;
  let busy = true;
  let turnedMs = performance.now();
  const turn = () => {
    const ms = performance.now();
    longestMs = Math.max(longestMs, ms - turnedMs);
    turnedMs = ms;
    turns++;
    if (busy) setImmediate(turn);
  };
  turn();
  const startedMs = performance.now();
  const page = (await get("/targets?find=m009&page=2")).body;
  const tookMs = performance.now() - startedMs;
  busy = false;
  t.comment(`a page of a search took ${Math.round(tookMs)} ms; the longest turn ${Math.round(longestMs)} ms`);
  t.ok(turns > 50, `${turns} turns`);
  t.ok(page.length < 100_000, `${page.length} bytes`);
  t.match(page, "101–200 of 1,000");
  t.strictSame(await urls("show=failing&limit=2"), ["m000000:9100/metrics", "m001000:9100/metrics"]);
  t.match((await ask("limit=1")).heliograph, { found: 100_000, next: 1 });
  t.match((await get("/targets?page=99999")).body, /99,901–100,000 of 100,000/, "beyond the last is the last");
});
