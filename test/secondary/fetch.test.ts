// How a secondary gets its targets' bodies, from servers that behave and from servers that do not.

import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import t from "tap";

import { systemClock } from "#/lib/clock/clock.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import type { ScrapeFacts } from "#/lib/model/scrape.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { version } from "#/lib/telemetry/version.ts";
import { type Fetched, httpFetcher } from "#/secondary/scrape/fetch.ts";
import { Scraper } from "#/secondary/scrape/scrape.ts";
import { onRequest, response, serveSockets, type Teardown } from "#/test/support/sockets.ts";
import { makeTarget } from "#/test/support/targets.ts";

function fetching(t: Teardown) {
  const fetcher = httpFetcher({ clock: systemClock() });
  t.teardown(() => fetcher.close());
  const unstopped = new AbortController().signal;
  return (
    url: string,
    options: { timeoutMs?: number; bodyBytesMax?: number; signal?: AbortSignal } = {},
  ): Promise<Fetched> =>
    fetcher.fetch(
      { url, timeoutMs: options.timeoutMs ?? 2000, bodyBytesMax: options.bodyBytesMax ?? 0 },
      options.signal ?? unstopped,
    );
}

const text = (fetched: Fetched) => (fetched.ok ? Buffer.from(fetched.body).toString() : fetched);

t.test("a scrape asks as Prometheus does, and keeps its connection", async (t) => {
  const heads: string[] = [];
  let connections = 0;
  const url = await serveSockets(t, (socket) => {
    connections++;
    onRequest(socket, (head) => {
      heads.push(head.toLowerCase());
      socket.write(response(`a ${heads.length}\n`));
    });
  });
  const fetch = fetching(t);
  t.equal(text(await fetch(url, { timeoutMs: 1500 })), "a 1\n");
  t.equal(text(await fetch(`${url}?x=y`, { timeoutMs: 1500 })), "a 2\n");
  t.equal(connections, 1);
  t.match(heads[0], /^get \/metrics http\/1\.1/);
  t.match(heads[1], /^get \/metrics\?x=y http\/1\.1/);
  t.match(heads[0], /accept: application\/openmetrics-text;version=1\.0\.0.*text\/plain;version=0\.0\.4/);
  t.match(heads[0], /x-prometheus-scrape-timeout-seconds: 1\.5/);
  t.match(heads[0], new RegExp(`user-agent: heliograph/${version}`));
  t.match(heads[0], /accept-encoding: gzip/);
});

t.test("a body's memory is the next body's once it is given back, and not before", async (t) => {
  const url = await serveSockets(t, (socket) => {
    let answers = 0;
    onRequest(socket, (head) => {
      const body = `a ${++answers}\n`;
      if (!head.includes("/zipped")) socket.write(response(body));
      else {
        const zipped = gzipSync(body);
        socket.write(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${zipped.length}\r\n\r\n`);
        socket.write(zipped);
      }
    });
  });
  const fetch = fetching(t);
  const good = async (path: string) => {
    const fetched = await fetch(path);
    if (!fetched.ok) throw new Error(fetched.error);
    return fetched;
  };
  const first = await good(url);
  const second = await good(url);
  t.same([text(first), text(second)], ["a 1\n", "a 2\n"], "two that are looked at");
  t.not(first.body.buffer, second.body.buffer);
  first.release?.();
  const third = await good(url);
  t.equal(third.body.buffer, first.body.buffer, "the memory that was given back");
  t.same([text(second), text(third)], ["a 2\n", "a 3\n"]);
  const zipped = await good(url.replace("/metrics", "/zipped"));
  zipped.release?.();
  second.release?.();
  third.release?.();
  const more = await Promise.all([good(url), good(url), good(url)]);
  t.equal(new Set(more.map(({ body }) => body.buffer)).size, 3, "each has its own");
});

t.test("a kept connection that the target closed in the meantime costs no scrape", async (t) => {
  const url = await serveSockets(t, (socket, connection) => {
    let requests = 0;
    onRequest(socket, () => {
      if (connection === 1 && ++requests === 2) socket.resetAndDestroy();
      else socket.write(response("a 1\n"));
    });
  });
  const fetch = fetching(t);
  t.equal(text(await fetch(url)), "a 1\n");
  t.equal(text(await fetch(url)), "a 1\n");
});

t.test("gzip, chunks, redirects and a body that ends with its connection are taken", async (t) => {
  const url = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => {
      const path = head.split(" ")[1];
      if (path === "/gzip") socket.write(response(gzipSync("zipped 1\n"), "Content-Encoding: gzip\r\n"));
      else if (path === "/chunked") {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nchun\r\n");
        socket.write("6\r\nked 1\n\r\n0\r\n\r\n");
      } else if (path === "/moved") socket.write("HTTP/1.1 302 Found\r\nLocation: /gzip\r\nContent-Length: 0\r\n\r\n");
      else if (path === "/round") socket.write("HTTP/1.1 302 Found\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n");
      else socket.end("HTTP/1.0 200 OK\r\n\r\nold 1\n");
    }),
  );
  const fetch = fetching(t);
  t.equal(text(await fetch(new URL("/gzip", url).href)), "zipped 1\n");
  t.equal(text(await fetch(new URL("/chunked", url).href)), "chunked 1\n");
  t.equal(text(await fetch(new URL("/moved", url).href)), "zipped 1\n");
  t.equal(text(await fetch(new URL("/old", url).href)), "old 1\n");
  t.match(await fetch(new URL("/round", url).href), {
    outcome: "failed_status",
    error: /^expected an answer, got 10 redirects$/,
  });
});

t.test("each way in which a target can fail has its outcome and its sentence", async (t) => {
  const fetch = fetching(t);
  const raw = (bytes: string | Uint8Array, end = false) =>
    serveSockets(t, (socket) => onRequest(socket, () => (end ? socket.end(bytes) : socket.write(bytes))));
  const half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf a body";
  const cases: readonly (readonly [name: string, url: string, outcome: string, error: RegExp])[] = [
    ["never answers", await raw(""), "failed_timeout", /^no answer within 2 s$/],
    ["answers half and stops", await raw(half), "failed_timeout", /^the body was not complete within 2 s$/],
    ["answers half and closes", await raw(half, true), "failed_closed", /after 11 bytes of an unfinished body/],
    [
      "cuts a chunked body",
      await raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true),
      "failed_closed",
      /unfinished body/,
    ],
    [
      "closes at once",
      await serveSockets(t, (socket) => socket.destroy()),
      "failed_closed",
      /closed the connection without an answer/,
    ],
    [
      "500",
      await raw("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"),
      "failed_status",
      /^server returned HTTP status 500 Internal Server Error$/,
    ],
    ["404", await raw("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "failed_status", /404/],
    ["not HTTP", await raw("220 smtp.example ESMTP\r\n"), "failed_status", /not HTTP/],
    ["headers without end", await raw(`HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(20_000)}`), "failed_status", /not HTTP/],
    ["broken gzip", await raw(response("not gzip", "Content-Encoding: gzip\r\n")), "failed_closed", /gzip/],
    ["a port where nobody listens", "http://127.0.0.1:1/metrics", "failed_connect", /ECONNREFUSED/],
    ["a name that is none", "http://no-such-host.invalid/metrics", "failed_name", /no-such-host\.invalid/],
    ["no URL", "ftp://127.0.0.1/", "failed_name", /expected an http or https URL/],
    [
      "TLS to a plain port",
      (await serveSockets(t, (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))).replace("http:", "https:"),
      "failed_tls",
      /^TLS: /,
    ],
  ];
  const good = await serveSockets(t, (socket) => onRequest(socket, () => socket.write(response("good 1\n"))));
  const fetched = await Promise.all(
    cases.map(([name, url]) => fetch(url, { timeoutMs: name === "a name that is none" ? 5000 : 2000 })),
  );
  for (const [i, [name, , outcome, error]] of cases.entries()) {
    t.match(fetched[i], { ok: false, outcome, error }, name);
  }
  t.equal(text(await fetch(good)), "good 1\n", "and a good target beside them is untouched");
});

t.test("a body beyond its limit is given up early, announced or not, zipped or not", async (t) => {
  const fetch = fetching(t);
  let written = 0;
  const flood = Buffer.alloc(1 << 20, "x");
  const endless = await serveSockets(t, (socket) =>
    onRequest(socket, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      const more = () => {
        while (!socket.destroyed && socket.write(flood)) written += flood.length;
        written += flood.length;
      };
      socket.on("drain", more);
      more();
    }),
  );
  const announced = await serveSockets(t, (socket) =>
    onRequest(socket, () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${200 * 2 ** 20}\r\n\r\nx`)),
  );
  const bomb = await serveSockets(t, (socket) =>
    onRequest(socket, () => socket.write(response(gzipSync(Buffer.alloc(8 << 20)), "Content-Encoding: gzip\r\n"))),
  );
  const bodyBytesMax = 2 << 20;
  const [a, b, c] = await Promise.all([endless, announced, bomb].map((url) => fetch(url, { bodyBytesMax })));
  t.match(a, {
    outcome: "failed_body_size",
    error: "body_size_limit exceeded: expected at most 2097152 bytes, got more",
  });
  t.match(b, { outcome: "failed_body_size", error: /got 209715200 announced$/ });
  t.match(c, { outcome: "failed_body_size", error: /got more after decompressing gzip$/ });
  t.ok(written < 64 << 20, `of an endless body only a little was taken: ${written} bytes`);
});

t.test("what is no answer, and does not end, ends as a failure", async (t) => {
  const cases: [string, string | (() => string), string, RegExp][] = [
    [
      "another protocol",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
      "failed_status",
      /got 101: the target switched protocols/,
    ],
    ["interim answers", () => "HTTP/1.1 103 Early Hints\r\n\r\n", "failed_status", /more than 5 interim ones/],
    ["continue, for ever", () => "HTTP/1.1 100 Continue\r\n\r\n", "failed_status", /more than 5 interim ones/],
  ];
  const fetch = fetching(t);
  for (const [name, answer, outcome, error] of cases) {
    const url = await serveSockets(t, (socket) =>
      onRequest(socket, () => {
        if (typeof answer === "string") return void socket.write(answer);
        const again = () => {
          while (!socket.destroyed && socket.write(answer().repeat(10)));
        };
        socket.on("drain", again);
        again();
      }),
    );
    t.match(await fetch(url, { timeoutMs: 20_000 }), { ok: false, outcome, error }, name);
  }
});

t.test("a body in a flood of tiny pieces is given up long before its bytes are many", async (t) => {
  const url = await serveSockets(t, (socket) =>
    onRequest(socket, () => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      const flood = () => {
        while (!socket.destroyed && socket.write("1\r\n#\r\n".repeat(5000)));
      };
      socket.on("drain", flood);
      flood();
    }),
  );
  t.match(await fetching(t)(url, { timeoutMs: 30_000 }), {
    ok: false,
    outcome: "failed_body_size",
    error: /given up at 262145 bytes: they came in more than 262144 pieces/,
  });
});

t.test("when the secondary stops, a scrape on its way ends at once", async (t) => {
  const fetch = fetching(t);
  const url = await serveSockets(t, () => {});
  const stop = new AbortController();
  const fetched = fetch(url, { timeoutMs: 10_000, signal: stop.signal });
  stop.abort();
  t.match(await fetched, { outcome: "failed_closed", error: "the secondary is stopping" });
  t.match(await fetch(url, { signal: stop.signal }), { outcome: "failed_closed" });
});

t.test("a scrape says how large its body was, also when the body's memory is gone already", async (t) => {
  // 2.4 MB, above what bodies share.
  const large = `${`# ${"x".repeat(60_000)}\n`.repeat(40)}a 1\n`;
  const url = await serveSockets(t, (socket) => onRequest(socket, () => socket.write(response(large))));
  const clock = systemClock();
  const fetcher = httpFetcher({ clock });
  t.teardown(() => fetcher.close());
  const facts: ScrapeFacts[] = [];
  const scraper = new Scraper({
    fetcher,
    clock,
    log: silentLogger(),
    metrics: createRegistry({ tier: "secondary" }),
    emit: (scrape) => void facts.push(scrape.facts),
  });
  const state = scraper.adopt(makeTarget(url), undefined);
  const { signal } = new AbortController();
  for (const slot of [1, 2]) await scraper.scrape(state, { slot, generation: 1, timeoutMs: 5000 }, signal);
  t.same(
    facts.map(({ bodyBytes, outcome }) => [outcome, bodyBytes]),
    [
      ["stored", 2_400_124],
      ["stored", 2_400_124],
    ],
    "40 lines of 60,003 bytes and one of 4",
  );
});
