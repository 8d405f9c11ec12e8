// What a scrape costs its target: `node test/bench/cost.ts [seconds] [targets]` prints connections, bytes and the target's own CPU a
// scrape, for the secondary's client, Debian's vmagent and Debian's Prometheus on the same scrape config, one after the other.
//
// The targets are one process on many loopback addresses, which counts what comes in at its sockets, TLS and all. Each is scraped
// every second: over plain HTTP with a token, over TLS, and over TLS where the target closes the connection behind each answer.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer as createSink } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";

import { findTool } from "#/cli/tools.ts";
import { systemClock, type Timer } from "#/lib/clock/clock.ts";
import { httpSettingsOf } from "#/lib/model/http.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { openCrew } from "#/test/bench/scrape/crew.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { freePort } from "#/test/support/port.ts";

const [mode = "30", targetsText = "50"] = process.argv.slice(2);
const warmUpS = 8;
const bodyBytes = 11_000;

/** At a target, since it began. */
interface Cost {
  readonly connections: number;
  readonly resumed: number;
  readonly requests: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly cpuUs: number;
}

const ways = ["plain", "safe", "closing"] as const;
type Way = (typeof ways)[number];

/** A target in a process of its own. */
async function serve(way: Way, dir: string): Promise<void> {
  const body = "node_cpu_seconds_total 1234567.25\n".repeat(bodyBytes / 33);
  const head = `HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: ${body.length}\r\n`;
  const answer = `${head}${way === "closing" ? "Connection: close\r\n" : ""}\r\n${body}`;
  const sockets = new Set<Socket>();
  const gone = { bytesIn: 0, bytesOut: 0 };
  let connections = 0;
  let resumed = 0;
  let requests = 0;
  const onSocket = (socket: Socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", () => {
      requests++;
      if (way === "closing") socket.end(answer, "latin1");
      else socket.write(answer, "latin1");
    });
  };
  const [cert, key] = await Promise.all(["target.pem", "target.key"].map((name) => readFile(join(dir, name))));
  const secure = tls.createServer({ cert: cert!, key: key! }, (socket) => {
    if (socket.isSessionReused()) resumed++;
    onSocket(socket);
  });
  const server = createServer({ noDelay: true }, (socket) => {
    connections++;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      sockets.delete(socket);
      gone.bytesIn += socket.bytesRead;
      gone.bytesOut += socket.bytesWritten;
    });
    if (way === "plain") onSocket(socket);
    else secure.emit("connection", socket);
  });
  const count = (): Cost => {
    let { bytesIn, bytesOut } = gone;
    for (const { bytesRead, bytesWritten } of sockets) {
      bytesIn += bytesRead;
      bytesOut += bytesWritten;
    }
    const { system, user } = process.cpuUsage();
    return { connections, resumed, requests, bytesIn, bytesOut, cpuUs: system + user };
  };
  process.on("message", () => process.send!(count()));
  process.on("disconnect", () => process.exit());
  server.listen(0, "0.0.0.0", 1024, () => process.send!((server.address() as AddressInfo).port));
}

interface Course {
  readonly dir: string;
  readonly targets: readonly string[];
  readonly way: Way;
  readonly crew: ReturnType<typeof openCrew>;
}

async function measure(seconds: number, targetCount: number): Promise<void> {
  const authority = await makeAuthority();
  const dir = await mkdtemp(join(tmpdir(), "heliograph-cost-"));
  const crew = openCrew(dir);
  const say = (sentence: string) => process.stderr.write(`${sentence}\n`);
  const addresses = Array.from({ length: targetCount }, (_, i) => `127.3.${i >> 8}.${(i & 255) + 1}`);
  await authority.issue("target", undefined, addresses.map((address) => `IP:${address}`).join(","));
  process.stdout.write(`${head}
`);
  try {
    for (const way of ways) {
      for (const [name, start] of Object.entries(contenders)) {
        const label = `${way}-${name}`;
        const server = crew.start(
          `${label}-target`,
          process.execPath,
          [import.meta.filename, "serve", way, authority.dir],
          { ipc: true },
        );
        const port = await server.message<number>();
        const targets = addresses.map((address) => `${address}:${port}`);
        say(`${label}: ${targetCount} targets every second for ${seconds} s.`);
        const stop = await start({ dir: authority.dir, targets, way, crew });
        await systemClock().sleep(warmUpS * 1000);
        const before = await server.message<Cost>("count");
        await systemClock().sleep(seconds * 1000);
        const after = await server.message<Cost>("count");
        await stop();
        await server.end();
        process.stdout.write(`${row(way, name, before, after)}\n`);
      }
    }
  } finally {
    await crew.close();
    await authority.close();
    await rm(dir, { recursive: true, force: true });
  }
}

const head = `| targets | scraped by | connections | resumed | bytes in a scrape | bytes out beyond the body | target's CPU |
| --- | --- | --- | --- | --- | --- | --- |`;

function row(way: Way, name: string, before: Cost, after: Cost): string {
  const of = (what: keyof Cost) => after[what] - before[what];
  const scrapes = of("requests");
  const out = of("bytesOut") / scrapes - 33 * Math.floor(bodyBytes / 33) - Math.floor(bodyBytes / 33);
  const cells = [
    way,
    name,
    `${of("connections")} for ${scrapes} scrapes`,
    of("resumed"),
    (of("bytesIn") / scrapes).toFixed(0),
    out.toFixed(0),
    `${(of("cpuUs") / scrapes).toFixed(0)} µs`,
  ];
  return `| ${cells.join(" | ")} |`;
}

const token = "0123456789abcdef".repeat(2);

/** Each scrapes until the function that it gives is called. */
const contenders: Readonly<Record<string, (course: Course) => Promise<() => Promise<void>>>> = {
  async heliograph({ dir, targets, way }) {
    const clock = systemClock();
    const fetcher = httpFetcher({ clock, secrets: () => token });
    const http = httpSettingsOf({
      job: "node",
      followRedirects: true,
      compression: true,
      authorization: { type: "scheme", scheme: "Bearer", credentials: { secret: "bearer_token" } },
      headers: [],
      ...(way !== "plain" && { tls: { ca: { file: join(dir, "ca.pem") }, insecureSkipVerify: false } }),
    });
    const { signal } = new AbortController();
    const scheme = way === "plain" ? "http" : "https";
    const timers = new Set<Timer>();
    // Spread over the second, as the peers do it.
    for (const [i, target] of targets.entries()) {
      const request = { url: `${scheme}://${target}/metrics`, timeoutMs: 1000, bodyBytesMax: 0, http };
      const scrape = async () => {
        const fetched = await fetcher.fetch(request, signal);
        if (fetched.ok) fetched.release?.();
        else process.stderr.write(`${fetched.error}\n`);
      };
      const begin = () => timers.add(clock.every(1000, () => void scrape()));
      timers.add(clock.after((i * 1000) / targets.length, begin));
    }
    return async () => {
      for (const timer of timers) timer.cancel();
      fetcher.close();
    };
  },
  async vmagent(course) {
    const program = await findTool("vmagent", { onProgress: () => {} });
    const sink = createSink((request, answer) => {
      request.resume();
      request.on("end", () => answer.writeHead(204).end());
    });
    await new Promise<void>((resolve) => sink.listen(0, "127.0.0.1", resolve));
    const member = course.crew.start(`vmagent-${course.way}`, program, [
      `-promscrape.config=${await configFile(course, "vmagent")}`,
      `-remoteWrite.url=http://127.0.0.1:${(sink.address() as AddressInfo).port}/`,
      `-remoteWrite.tmpDataPath=${join(course.crew.dir, `vmagent-${course.way}`)}`,
      `-httpListenAddr=127.0.0.1:${await freePort()}`,
    ]);
    return async () => {
      await member.end();
      sink.close();
      sink.closeAllConnections();
    };
  },
  async prometheus(course) {
    const program = await findTool("prometheus", { onProgress: () => {} });
    const member = course.crew.start(`prometheus-${course.way}`, program, [
      `--config.file=${await configFile(course, "prometheus")}`,
      `--storage.tsdb.path=${join(course.crew.dir, `prometheus-${course.way}`)}`,
      `--web.listen-address=127.0.0.1:${await freePort()}`,
    ]);
    return () => member.end();
  },
};

async function configFile({ crew, dir, targets, way }: Course, name: string): Promise<string> {
  const path = join(crew.dir, `${name}-${way}.yaml`);
  const config = {
    global: { scrape_interval: "1s", scrape_timeout: "1s" },
    scrape_configs: [
      {
        job_name: "node",
        bearer_token: token,
        static_configs: [{ targets }],
        ...(way !== "plain" && { scheme: "https", tls_config: { ca_file: join(dir, "ca.pem") } }),
      },
    ],
  };
  await writeFile(path, JSON.stringify(config));
  return path;
}

if (mode === "serve") await serve(targetsText as Way, process.argv[4]!);
else await measure(Number(mode), Number(targetsText));
