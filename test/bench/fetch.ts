// What a scrape's HTTP costs: `node test/bench/fetch.ts [pause ms] [targets] [body bytes]` prints µs of this process' CPU a scrape,
// all of its threads, through the secondary's client and, for comparison, through Node's own with its connections kept. The
// targets are in another process, which answers any request with the same bytes. With a pause the pace is that of a secondary with
// 5,000 targets every 15 s, where every scrape is paid for with cold caches: those begin together that fall due in a pause, so
// that ticks of 12, 50 and 100 ms can be compared. Without one four begin together, and the next four at once after them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import { createServer } from "node:net";

import { systemClock } from "#/lib/clock/clock.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";

const [mode = "0", targetsText = "500", bodyText = "11000"] = process.argv.slice(2);
const pauseMs = Number(mode);
const targets = Number(targetsText);
const bodyBytes = Number(bodyText);
/** Half a minute when paused. */
const rounds = pauseMs > 0 ? 10 : 40;
const warmUpRounds = pauseMs > 0 ? 5 : 20;
const dueEachMs = 5000 / 15_000;
const atOnce = pauseMs > 0 ? Math.max(1, Math.round(pauseMs * dueEachMs)) : 4;

if (mode === "serve") serve();
else await measure();

function serve(): void {
  const body = "node_cpu_seconds_total 1234567.25\n".repeat(bodyBytes / 33);
  const answer = `HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", () => socket.write(answer, "latin1"));
  });
  server.listen(0, "0.0.0.0", () => process.send!((server.address() as { port: number }).port));
  process.on("disconnect", () => process.exit());
}

async function measure(): Promise<void> {
  const server = spawn(process.execPath, [import.meta.filename, "serve", `${targets}`, `${bodyBytes}`], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const [port] = (await once(server, "message")) as [number];
  const urls = Array.from({ length: targets }, (_, i) => `http://127.1.${i >> 8}.${i & 255}:${port}/metrics`);
  await fetching(urls);
  await fetchingByNode(urls);
  server.disconnect();
}

async function fetching(urls: readonly string[]): Promise<void> {
  const fetcher = httpFetcher({ clock: systemClock() });
  const { signal } = new AbortController();
  await timed("the secondary's", urls, async (url) => {
    const fetched = await fetcher.fetch({ url, timeoutMs: 10_000, bodyBytesMax: 0 }, signal);
    if (!fetched.ok) throw new Error(fetched.error);
    return fetched.body.length;
  });
  fetcher.close();
}

/** As a client has it that is written in an afternoon: no limits, no redirects, no decompression. */
async function fetchingByNode(urls: readonly string[]): Promise<void> {
  const agent = new http.Agent({ keepAlive: true });
  await timed("Node's own", urls, (url) => {
    const { promise, reject, resolve } = Promise.withResolvers<number>();
    const request = http.get(url, { agent, timeout: 10_000 }, (answer) => {
      let bytes = 0;
      answer.on("data", (piece) => (bytes += piece.length));
      answer.on("end", () => resolve(bytes));
    });
    request.on("error", reject);
    return promise;
  });
  agent.destroy();
}

/** Rounds of scrapes; the first ones open the connections and warm up. */
async function timed(name: string, urls: readonly string[], scrape: (url: string) => Promise<number>): Promise<void> {
  const clock = systemClock();
  let started = process.cpuUsage();
  let bytes = 0;
  for (let round = -warmUpRounds; round < rounds; round++) {
    if (round === 0) started = process.cpuUsage();
    for (let i = 0; i < urls.length; i += atOnce) {
      const begunMs = clock.monotonicMs();
      const lengths = await Promise.all(urls.slice(i, i + atOnce).map(scrape));
      bytes = lengths[0]!;
      if (pauseMs > 0) await clock.sleep(begunMs + pauseMs - clock.monotonicMs());
    }
  }
  const { system, user } = process.cpuUsage(started);
  const scrapes = urls.length * rounds;
  const per = (us: number) => (us / scrapes).toFixed(1);
  process.stdout.write(
    `${name}: ${per(user + system)} µs a scrape (${per(user)} user, ${per(system)} system), ${atOnce} at once, ${urls.length} connections, ${bytes} bytes\n`,
  );
}
