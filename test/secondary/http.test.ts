// The secondary's HTTP client over real sockets: which connections it keeps, whom it asks for addresses, and how it ends.

import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from "node:tls";
import { promisify } from "node:util";
import zlib from "node:zlib";
import t from "tap";

import { systemClock } from "#/lib/clock/clock.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { type Fetched, httpFetcher } from "#/secondary/scrape/fetch.ts";
import { type Lookup, Names } from "#/secondary/scrape/http/names.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { nodeExporter, startNodeExporter } from "#/test/support/node-exporter.ts";
import { onRequest, response, serveSockets, type Teardown } from "#/test/support/sockets.ts";
import { openWorld, until } from "#/test/support/world.ts";

const sleep = promisify(setTimeout);

function fetching(t: Teardown, lookup?: Lookup) {
  const fetcher = httpFetcher({ clock: systemClock(), ...(lookup && { lookup }) });
  t.teardown(() => fetcher.close());
  const { signal } = new AbortController();
  return (url: string, options: { timeoutMs?: number; bodyBytesMax?: number } = {}): Promise<Fetched> =>
    fetcher.fetch({ url, timeoutMs: options.timeoutMs ?? 5000, bodyBytesMax: options.bodyBytesMax ?? 0 }, signal);
}

const text = (fetched: Fetched) => (fetched.ok ? Buffer.from(fetched.body).toString() : fetched);

t.test("each kind of answer leaves its connection as it may be used again", async (t) => {
  const cases: readonly (readonly [name: string, answer: string | Buffer, connections: number])[] = [
    ["a length", response("a 1\n"), 1],
    ["chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\nTrailer: x\r\n\r\n", 1],
    ["204", "HTTP/1.1 204 No Content\r\n\r\n", 1],
    ["304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 1],
    ["a short 500", "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", 1],
    ["a 500 whose body is not here yet", "HTTP/1.1 500 Oops\r\nContent-Length: 400\r\n\r\noops", 2],
    ["Connection: close", response("a 1\n", "Connection: close\r\n"), 2],
    ["bytes behind the answer", Buffer.concat([response("a 1\n"), Buffer.from("HTTP/1.1 200 OK\r\n\r\n")]), 2],
  ];
  for (const [name, answer, expected] of cases) {
    let connections = 0;
    const url = await serveSockets(t, (socket, connection) => {
      connections = connection;
      onRequest(socket, () => socket.write(answer));
    });
    const fetch = fetching(t);
    const first = await fetch(url);
    t.same(await fetch(url), first, name);
    t.equal(connections, expected, `${name}: ${expected} connections`);
  }
});

t.test("what comes unasked on a kept connection is never taken for an answer", async (t) => {
  const refused = Promise.withResolvers<void>();
  const url = await serveSockets(t, (socket, connection) => {
    if (connection === 1) socket.on("close", () => refused.resolve());
    onRequest(socket, () => {
      socket.write(response(`connection ${connection}\n`));
      if (connection === 1) setTimeout(() => socket.write(response("unasked 1\n")), 20);
    });
  });
  const fetch = fetching(t);
  t.equal(text(await fetch(url)), "connection 1\n");
  await refused.promise;
  t.equal(text(await fetch(url)), "connection 2\n");
});

t.test("a scrape is tried again once, and only on a kept connection that died before the answer began", async (t) => {
  const serve = async (onSecond: "close" | "begin" | "answer") => {
    const seen = { connections: 0, requests: 0 };
    const url = await serveSockets(t, (socket, connection) => {
      seen.connections = connection;
      onRequest(socket, () => {
        seen.requests++;
        if (seen.requests === 1) socket.write(response("a 1\n"));
        else if (connection === 1 && onSecond === "begin") socket.end("HTTP/1.1 2");
        else if (connection === 1 || onSecond === "close") socket.destroy();
        else socket.write(response("a 2\n"));
      });
    });
    return { url, seen };
  };
  const fetch = fetching(t);
  const healing = await serve("answer");
  t.equal(text(await fetch(healing.url)), "a 1\n");
  t.equal(text(await fetch(healing.url)), "a 2\n");
  t.same(healing.seen, { connections: 2, requests: 3 });

  const closing = await serve("close");
  t.equal(text(await fetch(closing.url)), "a 1\n");
  t.match(await fetch(closing.url), { outcome: "failed_closed", error: /without an answer/ });
  t.same(closing.seen, { connections: 2, requests: 3 }, "twice in vain, and no third time");

  const beginning = await serve("begin");
  t.equal(text(await fetch(beginning.url)), "a 1\n");
  t.match(await fetch(beginning.url), { outcome: "failed_closed", error: /after 10 bytes of an unfinished head/ });
  t.same(beginning.seen, { connections: 1, requests: 2 }, "what had begun is not asked for again");
});

t.test("a reset at any byte of an answer is a failure, and behind the last one is none", async (t) => {
  const whole = Buffer.from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n0\r\n\r\n");
  const url = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => {
      const sent = Number(/^GET \/(\d+) /.exec(head)![1]);
      socket.write(whole.subarray(0, sent));
      setTimeout(() => socket.resetAndDestroy(), 30);
    }),
  );
  const fetch = fetching(t);
  const all = await Promise.all([...whole, 0].map((_, sent) => fetch(new URL(`/${sent}`, url).href)));
  for (const [sent, fetched] of all.entries()) {
    if (sent === whole.length) t.equal(text(fetched), "a 1\n");
    else
      t.match(fetched, { ok: false, outcome: "failed_closed", error: /^the target closed the connection/ }, `${sent}`);
  }
});

t.test("a byte a moment is given up at the timeout, and delays nobody", async (t) => {
  const slow = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => {
      const bytes = head.startsWith("GET /body") ? "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" : "";
      socket.write(bytes);
      let at = 0;
      const timer = setInterval(
        () => socket.write(bytes === "" ? "HTTP/1.1 200 OK\r\nX: yyyyyy".charAt(at++) : "x"),
        20,
      );
      socket.on("close", () => clearInterval(timer));
    }),
  );
  const good = await serveSockets(t, (socket) => onRequest(socket, () => socket.write(response("good 1\n"))));
  const fetch = fetching(t);
  const began = performance.now();
  const slowly = Promise.all(["/head", "/body"].map((path) => fetch(new URL(path, slow).href, { timeoutMs: 600 })));
  t.equal(text(await fetch(good)), "good 1\n");
  t.ok(performance.now() - began < 600, "the good target was not delayed");
  const [head, body] = await slowly;
  t.match(head, { outcome: "failed_timeout", error: "no answer within 0.6 s" });
  t.match(body, { outcome: "failed_timeout", error: "the body was not complete within 0.6 s" });
  t.ok(performance.now() - began < 3000);
});

t.test("bodies in each encoding are read; cut, unknown and swollen ones are refused", async (t) => {
  const plain = Array.from({ length: 20_000 }, (_, i) => `metric{i="${i}"} ${i * 3}\n`).join("");
  const packed = { gzip: zlib.gzipSync(plain), zstd: zlib.zstdCompressSync(plain), br: zlib.brotliCompressSync(plain) };
  const zeros = Buffer.alloc(32 << 20);
  const bombs = { gzip: zlib.gzipSync(zeros), zstd: zlib.zstdCompressSync(zeros), br: zlib.brotliCompressSync(zeros) };
  const url = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => {
      const [, what, encoding] = /^GET \/(\w+)\/(\w+) /.exec(head)!;
      const name = encoding as keyof typeof packed;
      const body = what === "bomb" ? bombs[name] : what === "cut" ? packed[name].subarray(0, -20) : packed[name];
      socket.write(response(body ?? "x 1\n", `Content-Encoding: ${encoding}\r\n`));
    }),
  );
  const fetch = fetching(t);
  for (const name of ["gzip", "zstd", "br"] as const) {
    t.equal(text(await fetch(new URL(`/whole/${name}`, url).href)), plain, name);
    const cut = await fetch(new URL(`/cut/${name}`, url).href);
    t.match(cut, { outcome: "failed_closed", error: new RegExp(`^expected a whole ${name} body, got: `) });
    const bomb = await fetch(new URL(`/bomb/${name}`, url).href, { bodyBytesMax: 3 << 20 });
    t.match(bomb, {
      outcome: "failed_body_size",
      error: `body_size_limit exceeded: expected at most 3145728 bytes, got more after decompressing ${name}`,
    });
    const small = await fetch(new URL(`/bomb/${name}`, url).href, { bodyBytesMax: 100_000 });
    t.match(small, { outcome: "failed_body_size" }, "also below what is decompressed at once");
  }
  t.match(await fetch(new URL("/whole/deflate", url).href), {
    outcome: "failed_status",
    error: 'expected the Content-Encoding gzip, zstd, br or none, got "deflate"',
  });
});

t.test("a body of 100 MB is taken when it may be that long, and memory is given back", async (t) => {
  const piece = Buffer.alloc(1 << 20, "x");
  const url = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => {
      socket.write(
        head.startsWith("GET /known")
          ? "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\nConnection: close\r\n\r\n"
          : "HTTP/1.1 200 OK\r\n\r\n",
      );
      for (let i = 0; i < 100; i++) socket.write(piece);
      socket.end();
    }),
  );
  const fetch = fetching(t);
  // More than all bodies may have together, one after the other.
  for (const path of ["/known", "/unknown", "/known", "/unknown", "/known"]) {
    const fetched = await fetch(new URL(path, url).href, { timeoutMs: 20_000 });
    t.equal(fetched.ok && fetched.body.length, 104_857_600, path);
  }
});

t.test("any answer in random pieces over a socket gives the same body", async (t) => {
  const seed = Number(process.env.SEED ?? 7);
  const random = seededRandom(seed);
  const plain = "some_metric_total 12345.678\n".repeat(200);
  const packed = zlib.gzipSync(plain);
  const half = packed.length >> 1;
  const sizes = [half, packed.length - half].map((size) => size.toString(16));
  const answer = Buffer.concat([
    Buffer.from(
      "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n",
    ),
    Buffer.from(`${sizes[0]};a=b\r\n`),
    packed.subarray(0, half),
    Buffer.from(`\r\n${sizes[1]}\r\n`),
    packed.subarray(half),
    Buffer.from("\r\n0\r\nX: y\r\n\r\n"),
  ]);
  const url = await serveSockets(t, (socket) => {
    socket.setNoDelay(true);
    onRequest(socket, async () => {
      for (let at = 0; at < answer.length; ) {
        const length = 1 + random.below(random.below(2) === 0 ? 4 : 200);
        socket.write(answer.subarray(at, at + length));
        at += length;
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
  });
  const fetch = fetching(t);
  for (let i = 0; i < 20; i++) t.equal(text(await fetch(url)), plain, `SEED=${seed}`);
});

t.test("an IPv6 target is reached by its address, and told its own name", async (t) => {
  let head = "";
  const url = await serveSockets(
    t,
    (socket) =>
      onRequest(socket, (got) => {
        head = got;
        socket.write(response("six 1\n"));
      }),
    "::1",
  );
  const fetch = fetching(t);
  t.match(url, /^http:\/\/\[::1\]:\d+\/metrics$/);
  t.equal(text(await fetch(`${url}?a=b%20c&d=${encodeURIComponent("ü")}`)), "six 1\n");
  t.match(head, /^GET \/metrics\?a=b%20c&d=%C3%BC HTTP\/1\.1\r\nHost: \[::1\]:\d+\r\n/);
  t.match(head, /\r\nAccept-Encoding: gzip, zstd, br\r\n/);
});

t.test("a redirect may lead to another place, by a path or by a whole URL", async (t) => {
  const there = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => socket.write(response(`${head.split(" ")[1]} 1\n`))),
  );
  let connections = 0;
  const here = await serveSockets(t, (socket, connection) => {
    connections = connection;
    onRequest(socket, (head) => {
      const to = { "/a": "b?x=y", "/b?x=y": `${there}?z`, "/bad": "gopher://x/" }[head.split(" ")[1]!];
      socket.write(`HTTP/1.1 307 Temporary Redirect\r\nLocation: ${to}\r\nContent-Length: 0\r\n\r\n`);
    });
  });
  const fetch = fetching(t);
  t.equal(text(await fetch(new URL("/a", here).href)), "/metrics?z 1\n");
  t.equal(connections, 1, "over the same connection as far as it goes");
  t.match(await fetch(new URL("/bad", here).href), {
    outcome: "failed_name",
    error: 'expected an http or https URL, got "gopher://x/"',
  });
});

t.test("a name is looked up once for many, and tried at each of its addresses", async (t) => {
  const serve = (body: string) => serveSockets(t, (socket) => onRequest(socket, () => socket.write(response(body))));
  const port = new URL(await serve("here 1\n")).port;
  const asked: string[] = [];
  const fetch = fetching(t, (host, done) => {
    asked.push(host);
    // Nobody listens at the first.
    const addresses = ["127.99.0.1", "127.0.0.1"].map((address) => ({ address, family: 4 }));
    setTimeout(() => done(null, addresses), 20);
  });
  const all = await Promise.all([1, 2, 3].map(() => fetch(`http://web.example:${port}/`)));
  t.same(all.map(text), ["here 1\n", "here 1\n", "here 1\n"]);
  t.equal(text(await fetch(`http://web.example:${port}/`)), "here 1\n");
  t.same(asked, ["web.example"]);
});

t.test("a name that moved is followed, also while the old place still answers on a kept connection", async (t) => {
  const url = await serveSockets(
    t,
    (socket) => onRequest(socket, () => socket.write(response(`at ${socket.localAddress}\n`))),
    "0.0.0.0",
  );
  const clock = manualClock();
  let address = "127.0.0.1";
  const fetcher = httpFetcher({ clock, lookup: (_host, done) => done(null, [{ address, family: 4 }]) });
  t.teardown(() => fetcher.close());
  const { signal } = new AbortController();
  const moving = url.replace("0.0.0.0", "web.example");
  const get = async () => text(await fetcher.fetch({ url: moving, timeoutMs: 1000, bodyBytesMax: 0 }, signal));
  t.equal(await get(), "at 127.0.0.1\n");
  address = "127.0.0.2";
  t.equal(await get(), "at 127.0.0.1\n", "nobody has asked yet");
  await clock.advance(31_000);
  await get();
  t.equal(await get(), "at 127.0.0.2\n");
});

t.test("names: what is known is used while it is asked for again, and only two are asked for at a time", async (t) => {
  const clock = manualClock();
  const asked: { host: string; answer: (address: string | Error) => void }[] = [];
  const names = new Names({
    clock,
    lookup: (host, done) =>
      asked.push({
        host,
        answer: (address) => (address instanceof Error ? done(address, []) : done(null, [{ address, family: 4 }])),
      }),
  });
  const got: unknown[] = [];
  for (const host of ["a", "b", "c", "d", "a"]) names.wait(host, (resolved) => got.push([host, resolved]));
  names.wait("d", () => t.fail("it was left before"))();
  t.same(
    asked.map(({ host }) => host),
    ["a", "b"],
  );
  asked[0]!.answer("10.0.0.1");
  t.same(
    asked.map(({ host }) => host),
    ["a", "b", "c"],
  );
  t.match(got, [
    ["a", [{ address: "10.0.0.1" }]],
    ["a", [{ address: "10.0.0.1" }]],
  ]);
  asked[1]!.answer(new Error("getaddrinfo ENOTFOUND b"));
  t.match(got[2], ["b", { outcome: "failed_name", message: "no address for the host: getaddrinfo ENOTFOUND b" }]);
  asked[2]!.answer("10.0.0.3");
  asked[3]!.answer("10.0.0.4");

  t.match(names.known("a"), [{ address: "10.0.0.1" }]);
  t.equal(asked.length, 4, "fresh");
  await clock.advance(31_000);
  t.match(names.known("a"), [{ address: "10.0.0.1" }], "used while it is asked for again");
  t.match(names.known("c"), [{ address: "10.0.0.3" }]);
  t.match(names.known("d"), [{ address: "10.0.0.4" }]);
  names.wait("e", () => {});
  t.same(
    asked.slice(4).map(({ host }) => host),
    ["a", "c"],
  );
  asked[4]!.answer("10.0.0.9");
  t.match(names.known("a"), [{ address: "10.0.0.9" }], "it has moved");
  t.equal(asked[6]!.host, "e", "what nobody knows goes first");
  asked[5]!.answer(new Error("EAI_AGAIN"));
  t.match(names.known("c"), [{ address: "10.0.0.3" }], "a resolver that is away changes nothing");
  await clock.advance(300_000);
  t.equal(names.known("c"), undefined, "for five minutes");
});

t.test("a name that is never answered costs its own targets alone", async (t) => {
  const url = await serveSockets(t, (socket) => onRequest(socket, () => socket.write(response("good 1\n"))));
  const fetch = fetching(t, () => {});
  const [lost, good] = await Promise.all([fetch("http://lost.example/", { timeoutMs: 100 }), fetch(url)]);
  t.match(lost, { outcome: "failed_name", error: "no address for lost.example within 0.1 s" });
  t.equal(text(good), "good 1\n");
});

t.test("of more idle connections than may be kept, the longest idle is closed", async (t) => {
  const open = new Set<number>();
  const urls = await Promise.all(
    [1, 2, 3].map((i) =>
      serveSockets(t, (socket) => {
        open.add(i);
        socket.on("close", () => open.delete(i));
        onRequest(socket, () => socket.write(response("a 1\n")));
      }),
    ),
  );
  const fetcher = httpFetcher({ clock: systemClock(), idleConnectionsMax: 2 });
  t.teardown(() => fetcher.close());
  const { signal } = new AbortController();
  for (const i of [0, 1, 0, 2]) {
    t.equal(text(await fetcher.fetch({ url: urls[i]!, timeoutMs: 1000, bodyBytesMax: 0 }, signal)), "a 1\n");
  }
  await until("one connection is closed", 2000, async () => (open.size < 3 ? true : undefined));
  t.same([...open].sort(), [1, 3]);
});

t.test("connections idle for five minutes are closed", async (t) => {
  let open = 0;
  const url = await serveSockets(t, (socket) => {
    open++;
    socket.on("close", () => open--);
    onRequest(socket, () => socket.write(response("a 1\n")));
  });
  const clock = manualClock();
  const fetcher = httpFetcher({ clock });
  t.teardown(() => fetcher.close());
  const { signal } = new AbortController();
  t.equal(text(await fetcher.fetch({ url, timeoutMs: 1000, bodyBytesMax: 0 }, signal)), "a 1\n");
  await clock.advance(299_000);
  await sleep(20);
  t.equal(open, 1);
  await clock.advance(20_000);
  await until("the connection is closed", 2000, async () => (open === 0 ? true : undefined));
});

t.test("over TLS a target is believed when its certificate is good, and its connection kept", async (t) => {
  const authority = await makeAuthority();
  t.teardown(() => authority.close());
  const files = await authority.issue("target", undefined, "IP:127.0.0.1,DNS:target.example");
  const [ca, cert, key] = await Promise.all(
    [files.ca_file, files.cert_file, files.key_file].map((file) => readFile(file, "utf8")),
  );
  const names: unknown[] = [];
  const server = createTlsServer({ cert, key }, (socket) => {
    names.push(socket.servername);
    socket.on("error", () => {});
    onRequest(socket, () => socket.write(response("safe 1\n")));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  const url = `https://127.0.0.1:${(server.address() as { port: number }).port}/metrics`;
  const lookup: Lookup = (_host, done) => done(null, [{ address: "127.0.0.1", family: 4 }]);
  t.match(await fetching(t, lookup)(url), { outcome: "failed_tls", error: /^TLS: / });
  const before = getCACertificates("default");
  t.teardown(() => setDefaultCACertificates(before));
  setDefaultCACertificates([...before, ca!]);
  const fetch = fetching(t, lookup);
  for (let i = 0; i < 2; i++) t.equal(text(await fetch(url)), "safe 1\n");
  t.equal(text(await fetch(url.replace("127.0.0.1", "target.example"))), "safe 1\n");
  t.match(await fetch(url.replace("127.0.0.1", "other.example")), { outcome: "failed_tls", error: /other\.example/ });
  t.same(names, [false, "target.example"], "one connection each, where it was believed");
});

t.test("a real node_exporter's body is what any other client gets of it", { skip: nodeExporter.missing }, async (t) => {
  const url = `http://${await startNodeExporter(await openWorld(t))}/metrics`;
  const fetch = fetching(t);
  await until("node_exporter answers", 10_000, async () => ((await fetch(url)).ok ? true : undefined));
  const series = (body: string) =>
    body.split("\n").flatMap((line) => (/^node_/.test(line) ? [line.slice(0, line.lastIndexOf(" "))] : []));
  const mine = await fetch(url);
  const others = await (await globalThis.fetch(url)).text();
  t.ok(series(others).length > 200);
  t.same(series(text(mine) as string), series(others));
  t.match(mine, { ok: true, contentType: /^(text\/plain|application\/openmetrics-text)/ });
});
