// Prometheus' HTTP API, as Grafana, promtool and Perses use it: queries, series, labels, metadata, and the answers that
// such clients want to find even where there is nothing to tell.
//
// Shapes and error texts are those of Prometheus 2.42 as recorded, the language is that of 3.x. GET and form POST are the
// same; unknown parameters are ignored. A query ends at its timeout, or when its client goes away.

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import type { Clock } from "#/lib/clock/clock.ts";
import type { Matcher } from "#/lib/model/labels.ts";
import type { MetricFamily } from "#/lib/model/layout.ts";
import type { SampleSource, TimeRange } from "#/lib/model/source.ts";
import { typeOf, typeWord } from "#/lib/promql/check.ts";
import { QueryError } from "#/lib/promql/errors.ts";
import { pointsPerSeriesMax } from "#/lib/promql/limits.ts";
import { parse, parseSelector } from "#/lib/promql/parser.ts";
import { instantQuery, type QueryAnswer, rangeQuery } from "#/lib/promql/query.ts";
import { ApiError, apiErrorOf } from "#/lib/query/errors.ts";
import {
  bodyOf,
  errorBody,
  labelsJson,
  listText,
  type Notes,
  noNotes,
  resultText,
  successText,
} from "#/lib/query/format.ts";
import { Gate } from "#/lib/query/gate.ts";
import { queriesAtOnceMax, queriesWaitingMax, timeoutMsMax } from "#/lib/query/limits.ts";
import {
  badParameter,
  everFromMs,
  everUntilMs,
  limitOf,
  optionalTimeMs,
  type Parameters,
  parametersOf,
  requiredDurationMs,
  requiredTimeMs,
  unescapeLabelName,
} from "#/lib/query/parameters.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { version } from "#/lib/telemetry/version.ts";

export interface PrometheusApiOptions {
  readonly source: SampleSource;
  readonly clock: Clock;
  readonly metrics: Registry;
  /**
   * Undefined while the source is whole, else why it is not: a store that is still being replayed would answer as if the
   * rest did not exist, so such queries are refused.
   */
  readonly incomplete?: () => string | undefined;
  /** For tests and small machines; see limits.ts and lib/promql/limits.ts. */
  readonly limits?: {
    readonly timeoutMs?: number;
    readonly samplesPerQueryMax?: number;
    readonly queriesAtOnceMax?: number;
  };
}

/** The release whose language and API these are; Grafana chooses by it what to ask for. */
const prometheusVersion = "3.5.0";

/** Adds the routes below /api/v1. */
export function registerPrometheusApi(app: FastifyInstance, options: PrometheusApiOptions): void {
  const api = new PrometheusApi(options);
  const both = ["GET", "POST"] as const;
  api.route(app, both, "/api/v1/query", (call) => api.query(call));
  api.route(app, both, "/api/v1/query_range", (call) => api.queryRange(call));
  api.route(app, both, "/api/v1/query_exemplars", (call) => api.exemplars(call));
  api.route(app, both, "/api/v1/series", (call) => api.series(call));
  api.route(app, both, "/api/v1/labels", (call) => api.labels(call));
  api.route(app, ["GET"], "/api/v1/label/:name/values", (call) => api.labelValues(call));
  api.route(app, ["GET"], "/api/v1/metadata", (call) => api.metadata(call));
  api.route(app, ["GET"], "/api/v1/rules", (call) => api.rules(call));
  api.route(app, ["GET"], "/api/v1/alerts", async () => plain({ alerts: [] }));
  api.route(app, ["GET"], "/api/v1/status/buildinfo", async () => plain(buildInfo));
  api.route(app, ["GET"], "/api/v1/status/runtimeinfo", async () => plain(api.runtimeInfo()));
}

interface Call {
  readonly parameters: Parameters;
  readonly path: Readonly<Record<string, string>>;
  /** Aborted when the client goes away. */
  readonly controller: AbortController;
}

interface Answer {
  readonly data: Iterable<string>;
  readonly notes: Notes;
}

type Method = "GET" | "POST";

const textType = "text/plain; charset=utf-8";

const buildInfo = {
  version: prometheusVersion,
  revision: `heliograph-${version}`,
  branch: "",
  buildUser: "",
  buildDate: "",
  goVersion: "",
};

function plain(value: unknown): Answer {
  return { data: [JSON.stringify(value)], notes: noNotes };
}

class PrometheusApi {
  readonly #source: SampleSource;
  readonly #clock: Clock;
  readonly #metrics: Registry;
  readonly #incomplete: () => string | undefined;
  readonly #limits: NonNullable<PrometheusApiOptions["limits"]>;
  readonly #gate: Gate;
  readonly #startedMs: number;

  constructor({ source, clock, metrics, incomplete = () => undefined, limits = {} }: PrometheusApiOptions) {
    this.#source = source;
    this.#incomplete = incomplete;
    this.#clock = clock;
    this.#metrics = metrics;
    this.#limits = limits;
    this.#startedMs = clock.nowMs();
    this.#gate = new Gate({
      atOnceMax: limits.queriesAtOnceMax ?? queriesAtOnceMax,
      waitingMax: queriesWaitingMax,
    });
  }

  route(app: FastifyInstance, methods: readonly Method[], url: string, handle: (call: Call) => Promise<Answer>): void {
    app.route({ method: [...methods], url, handler: (request, reply) => this.#answer(request, reply, handle) });
    app.options(url, async (_request, reply) => reply.code(204).send());
    const others = ["POST", "PUT", "PATCH", "DELETE"].filter(
      (method) => !(methods as readonly string[]).includes(method),
    );
    app.route({
      method: others,
      url,
      handler: async (_request, reply) => reply.code(405).type(textType).send("Method Not Allowed\n"),
    });
  }

  async #answer(
    request: FastifyRequest,
    reply: FastifyReply,
    handle: (call: Call) => Promise<Answer>,
  ): Promise<FastifyReply> {
    const controller = new AbortController();
    reply.raw.once("close", () => {
      if (!reply.raw.writableFinished) {
        controller.abort(new QueryError("canceled", "query was canceled: the client went away"));
      }
    });
    const path = (request.params ?? {}) as Record<string, string>;
    try {
      const reason = this.#incomplete();
      if (reason) throw new ApiError("unavailable", reason);
      const { data, notes } = await handle({ parameters: parametersOf(request), path, controller });
      return reply.type("application/json").send(bodyOf(successText(data, notes)));
    } catch (error) {
      const known = apiErrorOf(error);
      if (!known) throw error;
      return reply.code(known.status).type("application/json").send(errorBody(known.code, known.message));
    }
  }

  async query(call: Call): Promise<Answer> {
    const { parameters } = call;
    const timeMs = optionalTimeMs(parameters, "time", Math.floor(this.#clock.nowMs()));
    const query = parameters.first("query");
    return this.#evaluate(call, "query", (signal) =>
      instantQuery(query, timeMs, { source: this.#source, signal, ...this.#samplesMax() }),
    );
  }

  async queryRange(call: Call): Promise<Answer> {
    const { parameters } = call;
    const startMs = requiredTimeMs(parameters, "start");
    const endMs = requiredTimeMs(parameters, "end");
    if (endMs < startMs) throw badParameter("end", "end timestamp must not be before start time");
    const stepMs = requiredDurationMs(parameters, "step");
    if (stepMs <= 0) {
      throw badParameter(
        "step",
        "zero or negative query resolution step widths are not accepted. Try a positive integer",
      );
    }
    if ((endMs - startMs) / stepMs > pointsPerSeriesMax) {
      throw new ApiError(
        "bad_data",
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
      );
    }
    const query = parameters.first("query");
    const root = parse(query);
    if (typeOf(root) !== "scalar" && typeOf(root) !== "vector") {
      throw new ApiError(
        "bad_data",
        `invalid expression type "${typeWord(root)}" for range query, must be Scalar or instant Vector`,
      );
    }
    return this.#evaluate(call, "query_range", (signal) =>
      rangeQuery(query, { startMs, endMs, stepMs }, { source: this.#source, signal, ...this.#samplesMax() }),
    );
  }

  #samplesMax(): { readonly samplesMax?: number } {
    const { samplesPerQueryMax } = this.#limits;
    return samplesPerQueryMax === undefined ? {} : { samplesMax: samplesPerQueryMax };
  }

  async #evaluate(
    call: Call,
    endpoint: string,
    evaluate: (signal: AbortSignal) => Promise<QueryAnswer>,
  ): Promise<Answer> {
    const { parameters, controller } = call;
    const limitMs = this.#limits.timeoutMs ?? timeoutMsMax;
    const wantedMs = parameters.first("timeout") === "" ? limitMs : requiredDurationMs(parameters, "timeout");
    const timer = this.#clock.after(Math.min(wantedMs, limitMs), () =>
      controller.abort(new QueryError("timeout", "query timed out in expression evaluation")),
    );
    try {
      return await this.#timed(endpoint, controller.signal, async () => {
        const startedMs = this.#clock.monotonicMs();
        const answer = await evaluate(controller.signal);
        const seconds = (this.#clock.monotonicMs() - startedMs) / 1000;
        const stats = parameters.first("stats") === "" ? undefined : statsJson(answer, seconds);
        return { data: resultText(answer.result, stats), notes: answer };
      });
    } finally {
      timer.cancel();
    }
  }

  /** Waits for room, then works, and counts how long both took. */
  async #timed<T>(endpoint: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const startedMs = this.#clock.monotonicMs();
    try {
      return await this.#gate.run(work, signal);
    } finally {
      const seconds = (this.#clock.monotonicMs() - startedMs) / 1000;
      this.#metrics.observe("heliograph_query_duration_seconds", seconds, { endpoint });
    }
  }

  async series({ parameters, controller }: Call): Promise<Answer> {
    const selectors = parameters.all("match[]");
    if (selectors.length === 0) throw new ApiError("bad_data", "no match[] parameter provided");
    const range = rangeOf(parameters);
    const sets = matcherSets(selectors, (reason) => badParameter("match[]", reason));
    const limit = limitOf(parameters);
    const found = await this.#timed("series", controller.signal, () =>
      this.#source.series(sets, range, controller.signal),
    );
    return limited(found, limit, labelsJson);
  }

  async labels({ parameters, controller }: Call): Promise<Answer> {
    const range = rangeOf(parameters);
    const sets = matcherSets(parameters.all("match[]"), (reason) => new ApiError("bad_data", reason));
    const limit = limitOf(parameters);
    const found = await this.#timed("labels", controller.signal, () =>
      this.#source.labelNames(sets, range, controller.signal),
    );
    return limited(found, limit, (name) => JSON.stringify(name));
  }

  async labelValues({ parameters, path, controller }: Call): Promise<Answer> {
    const given = path.name ?? "";
    const name = unescapeLabelName(given);
    if (name === given && !/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)) {
      throw new ApiError("bad_data", `invalid label name: ${JSON.stringify(given)}`);
    }
    const range = rangeOf(parameters);
    const sets = matcherSets(parameters.all("match[]"), (reason) => new ApiError("bad_data", reason));
    const limit = limitOf(parameters);
    const found = await this.#timed("label_values", controller.signal, () =>
      this.#source.labelValues(name, sets, range, controller.signal),
    );
    return limited(found, limit, (value) => JSON.stringify(value));
  }

  async metadata({ parameters }: Call): Promise<Answer> {
    const limit = limitOf(parameters);
    const perMetricText = parameters.first("limit_per_metric");
    if (perMetricText !== "" && !/^-?\d+$/.test(perMetricText)) {
      throw new ApiError("bad_data", "limit_per_metric must be a number");
    }
    const perMetric = Number(perMetricText) > 0 ? Number(perMetricText) : Number.POSITIVE_INFINITY;
    const only = parameters.first("metric");
    const byName = new Map<string, Omit<MetricFamily, "name">[]>();
    for (const { name, type, help, unit } of await this.#source.metadata()) {
      if (only !== "" && name !== only) continue;
      const known = byName.get(name) ?? [];
      if (known.length === 0 && byName.size >= limit) continue;
      if (known.length < perMetric) known.push({ type, help, unit });
      byName.set(name, known);
    }
    return plain(Object.fromEntries(byName));
  }

  /** Exemplars are not kept yet. Grafana probes this once, with times in ms, and gives exemplars up on anything but success. */
  async exemplars({ parameters }: Call): Promise<Answer> {
    const range = rangeOf(parameters);
    if (range.untilMs < range.fromMs) {
      throw new ApiError("bad_data", "end timestamp must not be before start timestamp");
    }
    try {
      parse(parameters.first("query"));
    } catch (error) {
      if (error instanceof QueryError) throw new ApiError("bad_data", error.message);
      throw error;
    }
    return plain([]);
  }

  async rules({ parameters }: Call): Promise<Answer> {
    const type = parameters.first("type");
    if (type !== "" && type !== "alert" && type !== "record") {
      throw badParameter("type", `not supported value ${JSON.stringify(type)}`);
    }
    return plain({ groups: [] });
  }

  /** The fields that clients expect; what is Go's own is empty. */
  runtimeInfo() {
    const started = new Date(this.#startedMs).toISOString();
    return {
      startTime: started,
      CWD: "",
      reloadConfigSuccess: true,
      lastConfigTime: started,
      corruptionCount: 0,
      goroutineCount: 1,
      GOMAXPROCS: 1,
      GOGC: "",
      GODEBUG: "",
      storageRetention: "",
    };
  }
}

function rangeOf(parameters: Parameters): TimeRange {
  return {
    fromMs: optionalTimeMs(parameters, "start", everFromMs),
    untilMs: optionalTimeMs(parameters, "end", everUntilMs),
  };
}

function matcherSets(
  selectors: readonly string[],
  failure: (reason: string) => ApiError,
): readonly (readonly Matcher[])[] {
  return selectors.map((selector) => {
    try {
      return parseSelector(selector);
    } catch (error) {
      if (error instanceof QueryError) throw failure(error.message);
      throw error;
    }
  });
}

function limited<T>(found: readonly T[], limit: number, json: (item: T) => string): Answer {
  if (found.length <= limit) return { data: listText(found, json), notes: noNotes };
  const notes = { warnings: ["results truncated due to limit"], infos: [] };
  return { data: listText(found.slice(0, limit), json), notes };
}

function statsJson(answer: QueryAnswer, seconds: number): string {
  return JSON.stringify({
    timings: {
      evalTotalTime: seconds,
      resultSortTime: 0,
      queryPreparationTime: 0,
      innerEvalTime: seconds,
      execQueueTime: 0,
      execTotalTime: seconds,
    },
    samples: { totalQueryableSamples: answer.cost.samples, peakSamples: answer.cost.peak },
  });
}
