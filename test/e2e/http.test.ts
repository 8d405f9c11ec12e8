// Side by side with the real Prometheus: the same scrape configs ask the same targets for the same things, and the same ones answer.
//
// Ours go the way of the tiers: discovery, a generation as bytes, secrets out of the topology file, scrapes over real sockets. Each
// job has a path of its own, by which servers and proxy know whose request it is.

import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import http, { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import net, { type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import t from "tap";
import { systemClock } from "#/lib/clock/clock.ts";
import type { OutgoingScrape } from "#/lib/codec/encode.ts";
import { decodeGeneration, encodeGeneration } from "#/lib/codec/generation.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { isStored } from "#/lib/model/outcome.ts";
import { slotAt } from "#/lib/model/target.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Discovery } from "#/primary/discover/discover.ts";
import { systemDisk } from "#/primary/discover/disk.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { Scraper } from "#/secondary/scrape/scrape.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { prometheus, startPrometheus } from "#/test/support/prometheus.ts";
import { makeGeneration } from "#/test/support/targets.ts";
import { parseTopology } from "#/topology/file.ts";
import { secretsOf } from "#/topology/http.ts";
import { formatProblem } from "#/topology/problem.ts";

const sleep = promisify(setTimeout);
const startMsMax = 20_000;

interface Place {
  readonly plain: number;
  readonly safe: number;
  readonly strict: number;
  readonly old: number;
  readonly expired: number;
  readonly proxy: number;
  readonly dir: string;
}

/** Scrape configs without name, path and targets, by job; the port is that of its target. */
function jobs(at: Place): Record<string, { readonly port: number; readonly lines: string; readonly up: boolean }> {
  const ca = `ca_file: ${at.dir}/ca.pem`;
  const own = `cert_file: ${at.dir}/scraper.pem, key_file: ${at.dir}/scraper.key`;
  const plain = (lines: string, up = true) => ({ port: at.plain, lines, up });
  const safe = (lines: string, up = true, port = at.safe) => ({ port, lines: `scheme: https\n${lines}`, up });
  return {
    nothing: plain(""),
    basic: plain("basic_auth: { username: 'us er', password: 'p:ä' }"),
    basic_file: plain(`basic_auth: { username: user, password_file: ${at.dir}/password }`),
    basic_file_gone: plain(`basic_auth: { username: user, password_file: ${at.dir}/gone }`, false),
    no_password: plain("basic_auth: { username: user }"),
    bearer: plain("bearer_token: token-1"),
    bearer_file: plain(`bearer_token_file: ${at.dir}/token`),
    authorization: plain("authorization: { credentials: token-2 }"),
    authorization_type: plain("authorization: { type: Token, credentials: token-3 }"),
    authorization_file: plain(`authorization: { credentials_file: ${at.dir}/token }`),
    params: plain("params: { module: [a, 'b c'], x: ['ü'] }"),
    gzip: plain(""),
    redirect: plain("bearer_token: token-4"),
    away: plain("bearer_token: token-8"),
    redirect_refused: plain("follow_redirects: false", false),
    redirect_loop: plain("", false),
    status: plain("", false),
    ca: safe(`tls_config: { ${ca} }`),
    unknown_ca: safe("", false),
    insecure: safe("tls_config: { insecure_skip_verify: true }\nbearer_token: token-5"),
    server_name: safe(`tls_config: { ${ca}, server_name: target.example }`),
    wrong_name: safe(`tls_config: { ${ca}, server_name: other.example }`, false),
    expired: safe(`tls_config: { ${ca} }`, false, at.expired),
    certificate: safe(`tls_config: { ${ca}, ${own} }`, true, at.strict),
    no_certificate: safe(`tls_config: { ${ca} }`, false, at.strict),
    old_tls: safe(`tls_config: { ${ca} }`, true, at.old),
    new_tls: safe(`tls_config: { ${ca}, min_version: TLS13 }`, false, at.old),
    proxy: plain(`proxy_url: http://pu:pw@127.0.0.1:${at.proxy}\nbearer_token: token-6`),
    proxy_tls: safe(
      `proxy_url: http://pu:pw@127.0.0.1:${at.proxy}\ntls_config: { ${ca} }\nproxy_connect_header: { X-Way: [a] }`,
    ),
    proxy_gone: plain("proxy_url: http://127.0.0.1:1", false),
    times: plain(""),
    no_times: plain("honor_timestamps: false"),
    body_fits: plain("body_size_limit: 1KB"),
    body_limit: plain("body_size_limit: 100B", false),
    sample_limit: plain("sample_limit: 2", false),
    samples_fit: plain("sample_limit: 3"),
    label_limit: plain("label_limit: 3", false),
    label_name_limit: plain("label_name_length_limit: 7", false),
    label_value_limit: plain("label_value_length_limit: 16", false),
  };
}

/** As a target with three samples, one with its time, and what its path asks for. */
const exposition = (timeMs: number) => `# TYPE good gauge
good 1
timed{kind="own"} 2 ${timeMs}
good_total{nine_long="seventeen letters"} 3
`;

interface Asked {
  readonly line: string;
  readonly host: string | undefined;
  readonly authorization: string | undefined;
  readonly proxyAuthorization: string | undefined;
  readonly timeout: string | string[] | undefined;
  readonly way: string | string[] | undefined;
}

/** Everything that was asked for, once each, by whom and by job. */
class Requests {
  readonly #seen = new Map<string, Set<string>>();

  note(request: IncomingMessage, where: string, job: string): void {
    const { authorization, host, "user-agent": agent } = request.headers;
    const asked: Asked = {
      line: `${where} ${request.method} ${request.url}`,
      host,
      authorization,
      proxyAuthorization: request.headers["proxy-authorization"],
      timeout: request.headers["x-prometheus-scrape-timeout-seconds"],
      way: request.headers["x-way"],
    };
    // Go's client says so of itself when it asks a proxy.
    const who = agent?.startsWith("Heliograph/") ? "ours" : "theirs";
    const key = `${who} ${job}`;
    this.#seen.set(key, (this.#seen.get(key) ?? new Set()).add(JSON.stringify(asked)));
  }

  of(who: "ours" | "theirs", job: string): readonly string[] {
    return [...(this.#seen.get(`${who} ${job}`) ?? [])].sort();
  }
}

async function listen(server: Server, closers: (() => void)[], host = "127.0.0.1"): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.on("tlsClientError", () => {});
  server.listen(0, host);
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function answerOf(requests: Requests, where: string, timeMs: number, away?: number) {
  return (request: IncomingMessage, answer: ServerResponse) => {
    const [, job = "", rest = ""] = /^\/([^/?]*)(.*)$/.exec(request.url!)!;
    requests.note(request, where, job);
    answer.setHeader("content-type", "text/plain; version=0.0.4");
    if (job === "status") return answer.writeHead(503).end();
    if (job === "away" && away) return answer.writeHead(302, { location: `http://127.0.0.2:${away}/away` }).end();
    if (job === "redirect_loop") return answer.writeHead(302, { location: `${request.url}/x` }).end();
    if (job.startsWith("redirect") && rest === "") return answer.writeHead(307, { location: `/${job}/there` }).end();
    if (job === "gzip") return answer.setHeader("content-encoding", "gzip").end(gzipSync(exposition(timeMs)));
    return answer.end(exposition(timeMs));
  };
}

function makeProxy(requests: Requests): Server {
  const server = createServer((request, answer) => {
    const { pathname, port } = new URL(request.url!);
    requests.note(request, "proxy", pathname.slice(1));
    const onward = http.request({ host: "127.0.0.1", port, path: pathname, headers: request.headers });
    onward.on("response", (from) => {
      answer.writeHead(from.statusCode!, from.headers);
      from.pipe(answer);
    });
    onward.end();
  });
  server.on("connect", (request, socket: Socket) => {
    requests.note(request, "proxy", "proxy_tls");
    const onward = net.connect(Number(request.url!.split(":")[1]), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.pipe(socket).pipe(onward);
    });
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
  });
  return server;
}

const ownTopology = (configs: string) => `format_version: 1
federation: test
global:
  nats: { servers: ["nats://127.0.0.1:4222"], leaf_servers: ["nats-leaf://127.0.0.1:7422"] }
  pair: [{ name: g1, http: { listen: "127.0.0.1:9480" } }]
scrape_defaults: { scrape_interval: 1s, scrape_timeout: 1s }
datacenters:
  - name: fra
    region: eu
    nats: { servers: ["nats://127.0.0.1:4223"] }
    primaries: [{ name: p1, http: { listen: "127.0.0.1:9470" }, grpc: { listen: "127.0.0.1:9471" } }]
    secondaries: [{ name: s1, http: { listen: "127.0.0.1:9474" } }]
${configs}`;

/** By job: whether its target was up, and the time of the sample that had one. */
interface Result {
  readonly up: boolean;
  readonly timedMs: number | undefined;
}

async function ours(configs: string): Promise<Map<string, Result>> {
  const { problems, topology } = parseTopology(ownTopology(configs), "t.yaml");
  if (!topology) throw new Error(problems.map(formatProblem).join("\n"));
  const clock = systemClock();
  const log = silentLogger();
  const datacenter = topology.datacenters[0]!;
  const metrics = createRegistry({ tier: "primary" });
  const discovery = new Discovery({ topology, datacenter, baseDir: "/", clock, log, metrics, disk: systemDisk });
  await discovery.start();
  discovery.close();
  const generation = decodeGeneration(encodeGeneration(makeGeneration(discovery.targets())));
  const secrets = new Map(topology.scrape_configs.map((config) => [config.job_name, secretsOf(config)]));
  const fetcher = httpFetcher({ clock, secrets: (job, place) => secrets.get(job)?.get(place) });
  const results = new Map<string, Result>();
  let job = "";
  const emit = ({ facts, layout, timestamps }: OutgoingScrape) => {
    const timed = layout.rows.findIndex(({ name }) => name === "timed");
    const own = [...timestamps].find(({ row }) => row === timed);
    results.set(job, { up: isStored(facts.outcome), timedMs: own?.timestampMs });
  };
  const scraper = new Scraper({ fetcher, clock, metrics: createRegistry({ tier: "secondary" }), log, emit });
  for (const { target } of generation.targets) {
    job = target.job;
    const due = { slot: slotAt(target, clock.nowMs()), generation: 1, timeoutMs: target.timeoutMs };
    await scraper.scrape(scraper.adopt(target, undefined), due, new AbortController().signal);
  }
  fetcher.close();
  return results;
}

async function theirs(url: string): Promise<Map<string, Result>> {
  const get = async <T>(path: string): Promise<T | undefined> => {
    const answer = await fetch(`${url}${path}`).catch(() => undefined);
    return answer?.ok ? ((await answer.json()) as { data: T }).data : undefined;
  };
  interface Found {
    readonly activeTargets: readonly { readonly labels: { readonly job: string }; readonly health: string }[];
  }
  let found: Found | undefined;
  for (const startedMs = performance.now(); performance.now() - startedMs < startMsMax; await sleep(200)) {
    found = await get<Found>("/api/v1/targets");
    if (found?.activeTargets.length && found.activeTargets.every(({ health }) => health !== "unknown")) break;
  }
  const timed = await get<{ result: readonly { metric: { job: string }; values: [number, string][] }[] }>(
    "/api/v1/query?query=timed[5m]",
  );
  const times = new Map(timed!.result.map(({ metric, values }) => [metric.job, Math.round(values[0]![0] * 1000)]));
  return new Map(
    found!.activeTargets.map(({ health, labels }) => [
      labels.job,
      { up: health === "up", timedMs: times.get(labels.job) },
    ]),
  );
}

t.test("requests and outcomes are those of Prometheus", { skip: prometheus.missing }, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-http-"));
  const authority = await makeAuthority();
  const closers: (() => void)[] = [];
  t.teardown(async () => {
    for (const close of closers) close();
    await rm(dir, { recursive: true, force: true });
    await authority.close();
  });
  const target = await authority.issue("target", undefined, "IP:127.0.0.1,DNS:target.example");
  const expired = await authority.issue("expired", undefined, "IP:127.0.0.1", -1);
  await authority.issue("scraper", undefined);
  await writeFile(join(authority.dir, "password"), "from a file\n");
  await writeFile(join(authority.dir, "token"), " token-7\n");
  const pem = async ({ cert_file, key_file }: typeof target) => ({
    cert: await readFile(cert_file),
    key: await readFile(key_file),
  });
  const requests = new Requests();
  const timeMs = Date.now() - 30_000;
  const away = await listen(createServer(answerOf(requests, "elsewhere", timeMs)), closers, "127.0.0.2");
  const answer = answerOf(requests, "target", timeMs, away);
  const strict = { requestCert: true, rejectUnauthorized: true, ca: await readFile(target.ca_file) };
  const at: Place = {
    plain: await listen(createServer(answer), closers),
    safe: await listen(createSecureServer(await pem(target), answer), closers),
    strict: await listen(createSecureServer({ ...(await pem(target)), ...strict }, answer), closers),
    old: await listen(createSecureServer({ ...(await pem(target)), maxVersion: "TLSv1.2" }, answer), closers),
    expired: await listen(createSecureServer(await pem(expired), answer), closers),
    proxy: await listen(makeProxy(requests), closers),
    dir: authority.dir,
  };
  const all = jobs(at);
  const configs = Object.entries(all)
    .map(
      ([job, { lines, port }]) =>
        `  - job_name: ${job}\n    metrics_path: /${job}\n    static_configs: [{ targets: ["127.0.0.1:${port}"] }]\n${lines.replace(/^(?=.)/gm, "    ")}\n`,
    )
    .join("");
  const yaml = `scrape_configs:\n${configs}`;
  const config = `global: { scrape_interval: 1s, scrape_timeout: 1s }\n${yaml}`;
  const running = await startPrometheus(dir, config, prometheus.path);
  t.teardown(() => running.close());

  const expected = await theirs(running.url);
  const got = await ours(yaml);
  t.equal(expected.size, Object.keys(all).length);
  for (const [job, { up }] of Object.entries(all)) {
    t.equal(expected.get(job)?.up, up, `${job}: Prometheus finds it ${up ? "up" : "down"}`);
    t.equal(got.get(job)?.up, up, `${job}: and so do we`);
    if (job === "away") continue;
    t.same(requests.of("ours", job), requests.of("theirs", job), `${job}: the same is asked for`);
  }
  // Where we mean to differ: whom a target redirects to gets no credentials of ours.
  const elsewhere = (who: "ours" | "theirs") => requests.of(who, "away").find((line) => line.includes("elsewhere"));
  t.match(elsewhere("theirs"), "Bearer token-8");
  t.match(elsewhere("ours"), "elsewhere GET /away");
  t.notMatch(elsewhere("ours"), "Bearer");
  t.same([expected.get("times")?.timedMs, got.get("times")?.timedMs], [timeMs, timeMs]);
  t.equal(got.get("no_times")?.timedMs, undefined, "without honor_timestamps it is the scrape's time");
  t.not(expected.get("no_times")?.timedMs, timeMs);
});
