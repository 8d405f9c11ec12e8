// A server that answers as a global does, with a federation whose state the test chooses: for the page and its pictures.
//
// Its series are known functions of time, so that a graph of it is the same every time.

import formbody from "@fastify/formbody";
import fastify, { type FastifyInstance } from "fastify";
import { registerWeb } from "#/global/web/serve.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import type { DatacenterStatus, FederationStatus, StatusAnswer } from "#/lib/model/status.ts";

/** `calm`: all live. `dark`: one dark, one delayed. `blind`: all silent. `starting`: nothing known yet. `many`: 24 data centres. */
export type Scene = "calm" | "dark" | "blind" | "starting" | "many";

export interface FakeApi {
  scene: Scene;
  /** What the query endpoints were asked, newest last. */
  readonly asked: string[];
  readonly url: string;
  close(): Promise<void>;
}

export async function startFakeApi(options: { readonly port?: number; readonly dir?: string } = {}): Promise<FakeApi> {
  const app = fastify({ forceCloseConnections: true });
  await app.register(formbody);
  await registerWeb(app, { log: silentLogger(), ...(options.dir ? { dir: options.dir } : {}) });
  const fake = { scene: "calm" as Scene, asked: [] as string[], url: "", close: () => app.close() };
  app.get("/-/healthy", () => "Heliograph is healthy.\n");
  app.get(
    "/api/v1/datacenters",
    (): StatusAnswer => ({ status: "success", data: federationOf(fake.scene, Date.now()) }),
  );
  registerQueries(app, fake);
  fake.url = await app.listen({ host: "127.0.0.1", port: options.port ?? 0 });
  return fake;
}

/** When the fake world began to be as it is. */
const changedMs = Date.now() - 134_000;

function federationOf(scene: Scene, nowMs: number): FederationStatus {
  const wave = (periodS: number) => Math.sin((nowMs / 1000 / periodS) * 2 * Math.PI);
  const datacenter = (name: string, region: string, size: number, live = true): DatacenterStatus => ({
    name,
    region,
    state: "live",
    sinceMs: changedMs - 3 * 86_400_000,
    reason: "",
    lagMs: 420 + 300 * wave(7),
    targets: size,
    up: live ? size - 1 - (size % 3) : size,
    down: live ? 1 + (size % 3) : 0,
    samplesPerSecond: size * 66.7 * (1 + 0.04 * wave(40) + 0.02 * wave(11)),
    lastSampleMs: nowMs - 900,
    primaries: [
      { name: `${name}-p1`, reachable: true, leader: true, lagMs: 120 },
      { name: `${name}-p2`, reachable: true, leader: false, lagMs: 140 },
    ],
    secondaries: [1, 2].map((i) => ({
      name: `${name}-s${i}`,
      ageMs: 400,
      targets: Math.floor(size / 2),
      state: name === "nyc-2" && i === 2 ? "cut_off" : "active",
    })),
  });
  const ams = datacenter("ams-1", "eu-west", 9871);
  const fra = datacenter("fra-1", "eu-central", 4200);
  const nyc = datacenter("nyc-2", "us-east", 12_004);
  const sin = datacenter("sin-1", "ap-southeast", 760);
  const world = {
    federation: "edge-fleet",
    replica: "global-a",
    leader: "global-a",
    nowMs,
    blind: false,
    datacenters: [ams, fra, nyc, sin],
  };
  switch (scene) {
    case "calm":
      return world;
    case "dark":
      return { ...world, leader: "global-b", datacenters: [ams, darkened(fra, nowMs), nyc, delayed(sin, nowMs)] };
    case "blind":
      return { ...world, blind: true, datacenters: world.datacenters.map((each) => silenced(each, nowMs)) };
    case "starting":
      return { ...world, leader: "", datacenters: world.datacenters.map((each) => unheard(each, nowMs)) };
    case "many": {
      const names = Array.from({ length: 24 }, (_, i) => `edge-${String(i + 1).padStart(2, "0")}`);
      const all = names.map((name, i) => ({
        ...datacenter(name, "eu-west", 300 + 97 * i),
        secondaries: crowd(name, i),
      }));
      return { ...world, datacenters: all.map((each, i) => (i === 17 ? darkened(each, nowMs) : each)) };
    }
    default:
      return scene satisfies never;
  }
}

function darkened(datacenter: DatacenterStatus, nowMs: number): DatacenterStatus {
  return {
    ...datacenter,
    state: "dark",
    sinceMs: changedMs,
    reason: "Its heartbeats stopped arriving at the hub, and neither primary answers directly.",
    lagMs: nowMs - changedMs + 5300,
    samplesPerSecond: 0,
    lastSampleMs: changedMs - 6000,
    primaries: datacenter.primaries.map((each) => ({ ...each, reachable: false, lagMs: null })),
    secondaries: datacenter.secondaries.map((each) => ({ ...each, ageMs: nowMs - changedMs + 6000 })),
  };
}

function delayed(datacenter: DatacenterStatus, nowMs: number): DatacenterStatus {
  const [first, second] = datacenter.primaries;
  return {
    ...datacenter,
    state: "delayed",
    sinceMs: nowMs - 41_000,
    reason: "Its heartbeats stopped arriving at the hub, but sin-1-p1 answers directly.",
    lagMs: 46_300,
    samplesPerSecond: 0,
    lastSampleMs: nowMs - 47_000,
    primaries: [first!, { ...second!, reachable: false, lagMs: null }],
    secondaries: datacenter.secondaries.map((each, i) => (i === 1 ? { ...each, ageMs: 44_000 } : each)),
  };
}

function silenced(datacenter: DatacenterStatus, nowMs: number): DatacenterStatus {
  return {
    ...darkened(datacenter, nowMs),
    state: "unknown",
    reason: "The hub is blind: 4 of 4 data centres fell silent together.",
  };
}

function unheard(datacenter: DatacenterStatus, nowMs: number): DatacenterStatus {
  return {
    ...datacenter,
    state: "unknown",
    sinceMs: nowMs - 2000,
    reason: "This global has just begun to listen.",
    lagMs: null,
    targets: 0,
    up: 0,
    down: 0,
    samplesPerSecond: 0,
    lastSampleMs: null,
    primaries: datacenter.primaries.map((each) => ({ ...each, reachable: null, leader: false, lagMs: null })),
    secondaries: datacenter.secondaries.map((each) => ({ ...each, ageMs: null, targets: 0, state: null })),
  };
}

function crowd(name: string, seed: number) {
  return Array.from({ length: 2 + (seed % 12) }, (_, i) => ({
    name: `${name}-s${i + 1}`,
    ageMs: seed === 9 && i === 4 ? 61_000 : 500,
    targets: 50 + seed,
    state: "active" as const,
  }));
}

/** `bad(` is refused, `nothing` matches nothing, `wide` is 300 series, a number is a scalar, `gaps` has holes; the rest is four series. */
function registerQueries(app: FastifyInstance, fake: FakeApi): void {
  type Form = { readonly query: string; readonly start?: string; readonly end?: string; readonly step?: string };
  app.post("/api/v1/query", (request, reply) => {
    const { query } = request.body as Form;
    fake.asked.push(query);
    if (query.startsWith("bad(")) return reply.code(400).send(refusal);
    const nowS = Date.now() / 1000;
    if (/^\d+$/.test(query)) return success("scalar", [nowS, query]);
    return success(
      "vector",
      seriesOf(query).map(({ metric, at }) => ({ metric, value: [nowS, String(at(nowS))] })),
      query === "gaps" ? ["fra-1 has no samples after 14:03: the answer is complete to 97 % only"] : [],
    );
  });
  app.post("/api/v1/query_range", (request, reply) => {
    const { query, start, end, step } = request.body as Form;
    if (query.startsWith("bad(")) return reply.code(400).send(refusal);
    const times: number[] = [];
    for (let timeS = Number(start); timeS <= Number(end); timeS += Number(step)) times.push(timeS);
    const known = (timeS: number, i: number) => query !== "gaps" || i !== 1 || timeS % 600 < 380 || timeS % 600 === 480;
    const drawn = (seriesAt: (timeS: number) => number, i: number) =>
      times.filter((timeS) => known(timeS, i)).map((timeS) => [timeS, String(seriesAt(timeS))]);
    if (/^\d+$/.test(query)) return success("matrix", [{ metric: {}, values: drawn(() => Number(query), 0) }]);
    const result = seriesOf(query).map(({ metric, at }, i) => ({ metric, values: drawn(at, i) }));
    return success("matrix", result);
  });
}

const refusal = {
  status: "error",
  errorType: "bad_data",
  error: 'invalid parameter "query": 1:5: parse error: unclosed left parenthesis',
};

function success(resultType: string, result: unknown, warnings: readonly string[] = []) {
  return { status: "success", data: { resultType, result }, ...(warnings.length > 0 ? { warnings } : {}) };
}

function seriesOf(query: string) {
  if (query === "nothing") return [];
  const count = query === "wide" ? 300 : 4;
  return Array.from({ length: count }, (_, i) => {
    const name = count === 4 ? ["ams-1", "fra-1", "nyc-2", "sin-1"][i]! : `edge-${i}`;
    const sizes = [9869, 4199, 12_002, 758];
    const size = sizes[i % 4]! / (1 + Math.floor(i / 4));
    const metric =
      count === 4
        ? { datacenter: name }
        : { __name__: "node_load1", datacenter: name, instance: `10.0.${i}.7:9100`, job: "node" };
    const at = (timeS: number) =>
      Math.round(size * (1 + 0.05 * Math.sin(timeS / 200 + i) + 0.012 * Math.sin(timeS / 17 + 2 * i)));
    return { metric, at };
  });
}
