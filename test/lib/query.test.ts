import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { fastify } from "fastify";
import t from "tap";

import { findTool } from "#/cli/tools.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import { createHttpServer } from "#/lib/http/server.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import type { SampleSource } from "#/lib/model/source.ts";
import { type PrometheusApiOptions, registerPrometheusApi } from "#/lib/query/api.ts";
import { Gate } from "#/lib/query/gate.ts";
import { parseStepMs, parseTimeMs, unescapeLabelName } from "#/lib/query/parameters.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { type LiteralSeries, MemorySource, type Sample } from "#/test/support/memory-source.ts";
import { readVectors, skipReason } from "#/test/support/shared-vectors.ts";

const run = promisify(execFile);

/** The data behind the recorded answers: ten minutes from 00:00 on 14 November 2023, a sample every 15 s. */
const goldenFromMs = 1_699_920_000_000;
const goldenUntilMs = 1_699_920_600_000;

function steady(metric: Record<string, string>, value: (i: number) => number): LiteralSeries {
  const samples: Sample[] = [];
  for (let i = 0; goldenFromMs + i * 15_000 <= goldenUntilMs; i++) samples.push([goldenFromMs + i * 15_000, value(i)]);
  return { metric, samples };
}

const special: readonly [string, number][] = [
  ["big", 1.5e21],
  ["inf", Number.POSITIVE_INFINITY],
  ["million", 1e6],
  ["nan", Number.NaN],
  ["negzero", -0],
  ["small", 1.5e-7],
  ["third", 1 / 3],
];

const goldenSeries: readonly LiteralSeries[] = [
  steady({ __name__: "up", job: "a", instance: "x:1" }, () => 1),
  steady({ __name__: "up", job: "b", instance: "y:1" }, () => 0),
  steady({ __name__: "c_total", job: "a", path: '/a"b\\c\né' }, (i) => i * 3),
  ...special.map(([k, value]) => steady({ __name__: "special", k }, () => value)),
];

function server(overrides: Partial<PrometheusApiOptions> = {}) {
  const metrics = createRegistry({ tier: "global" });
  const front = createHttpServer({
    listen: "127.0.0.1:0",
    metrics,
    health: { healthy: () => undefined, ready: () => undefined },
    log: silentLogger(),
  });
  const source = new MemorySource(goldenSeries);
  registerPrometheusApi(front.app, { source, clock: systemClock(), metrics, ...overrides });
  return { front, app: front.app, metrics };
}

/** What a recorded answer has that ours means not to have, by its path, and why. */
const differences: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/query=up%5B30s%5D/, "ranges are open on the left since 3.0"],
  [/labels\?start=1699920600&end=1699920000/, "between an end and a later start there is nothing"],
  [/stats=true/, "timings differ from run to run"],
  [/status\/(flags|config|tsdb|walreplay)/, "not answered: Grafana takes a server with flags for Thanos"],
  [/status\/buildinfo/, "our own build"],
  [/\/-\/(healthy|ready)/, "our own name"],
  [/targets|alertmanagers|scrape_pools|federate|format_query|admin|api\/v1\/write/, "not part of this API"],
];

interface Recorded {
  readonly method: "GET" | "POST" | "OPTIONS" | "PUT";
  readonly path: string;
  readonly form?: Record<string, string | number>;
  readonly status: number;
  readonly contentType: string | null;
  readonly json?: { readonly shape?: unknown };
  readonly text?: string;
}

t.test("answers are those recorded from Prometheus", { skip: skipReason }, async (t) => {
  const recorded = Object.values(readVectors<Record<string, Recorded>>("api-golden-prom242.json")!);
  const { app, front } = server();
  t.teardown(() => front.close());
  let compared = 0;
  for (const { method, path, form, status, contentType, json, text } of recorded) {
    if (differences.some(([pattern]) => pattern.test(path))) continue;
    compared++;
    const name = `${method} ${path}${form ? ` ${JSON.stringify(form)}` : ""}`;
    const answer = await app.inject({
      method,
      url: path,
      ...(form && {
        payload: new URLSearchParams(Object.entries(form).map(([key, value]) => [key, String(value)])).toString(),
        headers: { "content-type": "application/x-www-form-urlencoded" },
      }),
    });
    t.equal(answer.statusCode, status, name);
    t.equal(answer.headers["content-type"]?.toString() ?? null, contentType, name);
    if (text !== undefined) t.equal(answer.payload, text, name);
    else if (json?.shape !== undefined) t.same(shapeLike(answer.json(), json.shape), json.shape, name);
    else t.same(answer.json(), json, name);
  }
  t.comment(`${compared} of ${recorded.length} recorded answers compared`);
  t.equal(compared, 72);
});

/** The value with each leaf replaced by its type, as deep as the recorded shape goes. */
function shapeLike(value: unknown, shape: unknown): unknown {
  if (Array.isArray(value)) return Array.isArray(shape) ? [shapeLike(value[0], shape[0])] : "array";
  if (typeof value !== "object" || value === null) return typeof value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, shapeLike(inner, (shape as Record<string, unknown>)?.[key])]),
  );
}

t.test("an instant query is Prometheus' JSON to the byte", async (t) => {
  const { app, front } = server();
  t.teardown(() => front.close());
  const answer = await app.inject({ url: "/api/v1/query?query=special&time=1699920600.5" });
  const point = (k: string, value: string) =>
    `{"metric":{"__name__":"special","k":"${k}"},"value":[1699920600.500,"${value}"]}`;
  t.equal(
    answer.payload,
    `{"status":"success","data":{"resultType":"vector","result":[${[
      point("big", "1.5e+21"),
      point("inf", "+Inf"),
      point("million", "1000000"),
      point("nan", "NaN"),
      point("negzero", "-0"),
      point("small", "1.5e-07"),
      point("third", "0.3333333333333333"),
    ].join(",")}]}}`,
  );
});

t.test("a range query gives a point a step, from the form and the URL alike", async (t) => {
  const { app, front } = server();
  t.teardown(() => front.close());
  const wanted = {
    status: "success",
    data: {
      resultType: "matrix",
      result: [
        {
          metric: { job: "a", path: '/a"b\\c\né' },
          values: [
            [1699920300, "0.19999999999999998"],
            [1699920600, "0.19999999999999998"],
          ],
        },
      ],
    },
  };
  const times = "start=1699920300&end=2023-11-14T00:10:00Z&step=5m";
  const url = `/api/v1/query_range?query=rate(c_total[5m])&${times}`;
  t.same((await app.inject({ url })).json(), wanted);
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const body = `query=${encodeURIComponent("rate(c_total[5m])")}&limit=1&lookback_delta=1s&unknown=x`;
  t.same(
    (await app.inject({ method: "POST", url: `/api/v1/query_range?${times}`, payload: body, headers: form })).json(),
    wanted,
  );
});

t.test("errors have Prometheus' types and statuses", async (t) => {
  const { app, front } = server({ limits: { samplesPerQueryMax: 100 } });
  t.teardown(() => front.close());
  for (const [path, status, errorType, error] of [
    [
      "query?query=up{",
      400,
      "bad_data",
      'invalid parameter "query": 1:4: parse error: unexpected end of input inside braces',
    ],
    ["query?query=info(up)", 422, "execution", 'function "info" is not supported yet'],
    [
      "query?query=sum_over_time(special[10m])&time=1699920600",
      422,
      "execution",
      "query processing would load too many samples into memory in query execution",
    ],
    ["series", 400, "bad_data", "no match[] parameter provided"],
    ["series?match[]=up&limit=x", 400, "bad_data", "limit must be a number"],
    [
      "labels?start=x",
      400,
      "bad_data",
      `invalid parameter "start": Invalid time value for 'start': cannot parse "x" to a valid timestamp`,
    ],
    ["query_exemplars?query=up&start=2&end=1", 400, "bad_data", "end timestamp must not be before start timestamp"],
  ] as const) {
    const answer = await app.inject({ url: `/api/v1/${path}` });
    t.same(answer.json(), { status: "error", errorType, error }, path);
    t.equal(answer.statusCode, status, path);
  }
});

t.test("a source that is slow is cut off at the timeout, and one that fails is a bug of ours", async (t) => {
  const slow: SampleSource = new MemorySource();
  slow.select = (_matchers, _range, signal) =>
    new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const { app, front } = server({ source: slow, limits: { timeoutMs: 20 } });
  t.teardown(() => front.close());
  const answer = await app.inject({ url: "/api/v1/query?query=up" });
  t.equal(answer.statusCode, 503);
  t.equal(answer.json().errorType, "timeout");
  slow.select = () => Promise.reject(new Error("the disk is gone"));
  t.equal((await app.inject({ url: "/api/v1/query?query=up" })).statusCode, 500);
});

t.test("a query whose client goes away is cancelled", async (t) => {
  const waiting: SampleSource = new MemorySource();
  const cancelled = new Promise<unknown>((resolve) => {
    waiting.select = (_matchers, _range, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          resolve(signal.reason);
          reject(signal.reason);
        });
      });
  });
  const { front } = server({ source: waiting });
  t.teardown(() => front.close());
  const address = await front.start();
  const controller = new AbortController();
  const answer = fetch(`http://${address}/api/v1/query?query=up`, { signal: controller.signal });
  setTimeout(() => controller.abort(), 50);
  await t.rejects(answer);
  t.match(await cancelled, { code: "canceled" });
});

t.test("only so many queries are worked on at once; the others wait their turn, or leave", async (t) => {
  const gate = new Gate({ atOnceMax: 1, waitingMax: 2 });
  const order: string[] = [];
  const never = new AbortController().signal;
  let release = () => {};
  const first = gate.run(() => new Promise<void>((resolve) => (release = resolve)), never);
  const leaving = new AbortController();
  const second = gate.run(async () => void order.push("second"), leaving.signal);
  const third = gate.run(async () => void order.push("third"), never);
  await t.rejects(
    gate.run(async () => {}, never),
    { code: "unavailable", message: "too many queries: 1 run and 2 wait" },
  );
  leaving.abort(new Error("gone"));
  await t.rejects(second, { message: "gone" });
  release();
  await Promise.all([first, third]);
  t.same(order, ["third"]);
});

t.test("labels, their values and series can be narrowed and limited", async (t) => {
  const { app, front } = server();
  t.teardown(() => front.close());
  const data = async (path: string) => (await app.inject({ url: `/api/v1/${path}` })).json();
  t.same(await data("labels?match[]=c_total&match[]=special"), {
    status: "success",
    data: ["__name__", "job", "k", "path"],
  });
  t.same(await data("label/k/values?limit=2"), {
    status: "success",
    data: ["big", "inf"],
    warnings: ["results truncated due to limit"],
  });
  t.same(await data("series?match[]=up&limit=1"), {
    status: "success",
    data: [{ __name__: "up", instance: "x:1", job: "a" }],
    warnings: ["results truncated due to limit"],
  });
  t.same(await data("label/U___6a_ob/values"), { status: "success", data: ["a", "b"] }, "an escaped name");
  t.same(await data("series?match[]=up&end=1699919999"), { status: "success", data: [] }, "before the data");
});

t.test("metadata is by family, narrowed by metric and limits", async (t) => {
  const family = { type: "counter", help: "Requests.", unit: "" } as const;
  const families = [
    { name: "a_total", ...family },
    { name: "b_total", ...family },
    { name: "b_total", ...family, help: "Other words." },
  ];
  const { app, front } = server({ source: new MemorySource([], families) });
  t.teardown(() => front.close());
  const data = async (path: string) => (await app.inject({ url: `/api/v1/metadata${path}` })).json().data;
  t.same(await data(""), { a_total: [family], b_total: [family, { ...family, help: "Other words." }] });
  t.same(await data("?metric=a_total"), { a_total: [family] });
  t.same(await data("?limit=1"), { a_total: [family] });
  t.same(await data("?limit_per_metric=1"), { a_total: [family], b_total: [family] });
});

t.test("infos and warnings stand beside the data, and statistics within when asked for", async (t) => {
  const { app, front, metrics } = server();
  t.teardown(() => front.close());
  const answer = await app.inject({ url: "/api/v1/query?query=rate(up[5m])&time=1699920600&stats=all" });
  const body = answer.json();
  t.match(body.infos, [/^PromQL info: metric might not be a counter/]);
  t.equal(body.data.stats.samples.totalQueryableSamples, 42);
  t.match(metrics.expose(), /^heliograph_query_duration_seconds_count\{endpoint="query"\} 1$/m);
});

t.test("a large answer is streamed, zipped for those who take it, and whole", async (t) => {
  const many: LiteralSeries[] = [];
  for (let i = 0; i < 2000; i++) many.push(steady({ __name__: "m", i: String(i) }, (k) => k));
  const { app, front } = server({ source: new MemorySource(many) });
  t.teardown(() => front.close());
  const url = "/api/v1/query_range?query=m&start=1699920000&end=1699920600&step=15";
  const answer = await app.inject({ url });
  const { result } = answer.json().data;
  t.equal(result.length, 2000);
  t.equal(result.at(-1).values.length, 41);
  t.equal(answer.headers["content-length"], undefined, "not gathered before it is sent");
  const packed = await app.inject({ url, headers: { "accept-encoding": "gzip" } });
  t.equal(packed.headers["content-encoding"], "gzip");
  t.equal(gunzipSync(packed.rawPayload).toString(), answer.payload);
});

t.test("times are seconds or RFC 3339, durations are seconds or units", async (t) => {
  for (const [text, ms] of [
    ["1699920600", 1_699_920_600_000],
    ["1699920600.123", 1_699_920_600_123],
    ["-1.5", -1500],
    ["1.7e9", 1_700_000_000_000],
    ["2023-11-14T00:10:00Z", 1_699_920_600_000],
    ["2023-11-14t01:10:00.5+01:00", 1_699_920_600_500],
    ["2023-11-14T00:10:00.123456789Z", 1_699_920_600_123],
    ["1e300", undefined],
    ["NaN", undefined],
    ["2023-11-14", undefined],
    ["", undefined],
  ] as const) {
    t.equal(parseTimeMs(text), ms, text);
  }
  for (const [text, ms] of [
    ["0.5", 500],
    ["5m", 300_000],
    ["1h30m", 5_400_000],
    ["-1", -1000],
    ["x", undefined],
    ["", undefined],
  ] as const) {
    t.equal(parseStepMs(text), ms, text);
  }
});

t.test("label names come escaped in paths", async (t) => {
  t.equal(unescapeLabelName("job"), "job");
  t.equal(unescapeLabelName("U__a_2e_b"), "a.b");
  t.equal(unescapeLabelName("U__a__b_1F600_"), "a_b😀");
  t.equal(unescapeLabelName("U__a_b"), "U__a_b");
});

t.test("promtool asks and understands", async (t) => {
  const promtool = await findTool("promtool", { onProgress: (sentence) => void t.comment(sentence) }).catch(
    () => undefined,
  );
  if (!promtool) {
    t.pass("promtool", { skip: "it is neither here nor to be had" });
    return;
  }
  const nowMs = Math.floor(Date.now() / 1000) * 1000;
  const recent = (metric: Record<string, string>, value: (i: number) => number): LiteralSeries => ({
    metric,
    samples: Array.from({ length: 21 }, (_, i) => [nowMs - 300_000 + i * 15_000, value(i)] as const),
  });
  const source = new MemorySource([
    recent({ __name__: "up", job: "a", instance: "x:1" }, () => 1),
    recent({ __name__: "c_total", job: "a" }, (i) => i * 30),
  ]);
  const { front } = server({ source });
  t.teardown(() => front.close());
  const url = `http://${await front.start()}`;
  const at = nowMs / 1000;
  const tool = async (...words: string[]) => (await run(promtool, ["query", ...words])).stdout;
  t.equal(await tool("instant", `--time=${at}`, url, "round(rate(c_total[2m]))"), `{job="a"} => 2 @[${at}]\n`);
  t.equal(
    await tool("range", `--start=${at - 60}`, `--end=${at}`, "--step=30s", url, "sum(up)"),
    `{} =>\n1 @[${at - 60}]\n1 @[${at - 30}]\n1 @[${at}]\n`,
  );
  t.equal(await tool("series", "--match=up", url), '{__name__="up", instance="x:1", job="a"}\n');
  t.equal(await tool("labels", url, "__name__"), "c_total\nup\n");
  const refused = await tool("instant", url, "rate(up)").catch((error: { stderr: string }) => error.stderr);
  t.match(refused, /expected type range vector in call to function "rate", got instant vector/);
});

t.test("the API can be put on any server", async (t) => {
  const app = fastify();
  t.teardown(() => app.close());
  registerPrometheusApi(app, {
    source: new MemorySource(goldenSeries),
    clock: systemClock(),
    metrics: createRegistry({ tier: "primary" }),
  });
  const answer = await app.inject({ url: "/api/v1/query?query=1%2B1&time=4" });
  t.equal(
    answer.payload,
    '{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}',
    "Grafana's health check",
  );
});

t.test("a source that is not whole yet is not asked: the query is refused and says where to go", async (t) => {
  let reason: string | undefined = "global-1 is still replaying its journal; ask its peer";
  const { front, app } = server({ incomplete: () => reason });
  t.teardown(() => front.close());
  const refused = await app.inject("/api/v1/query?query=up");
  t.equal(refused.statusCode, 503);
  t.same(refused.json(), {
    status: "error",
    errorType: "unavailable",
    error: "global-1 is still replaying its journal; ask its peer",
  });
  reason = undefined;
  t.equal((await app.inject("/api/v1/query?query=up")).statusCode, 200);
});
