// Targets behind a proxy: a real one, which forwards whole URLs and makes tunnels, and ones that do what they like.

import { Buffer } from "node:buffer";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import net, { type AddressInfo, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import t from "tap";

import { environmentProxy, fixedProxy } from "#/secondary/scrape/http/proxy.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { scraping, textOf } from "#/test/support/scrape-config.ts";
import { onRequest, response, serveSockets, type Teardown } from "#/test/support/sockets.ts";

const authority = await makeAuthority();
t.teardown(() => authority.close());
const files = await authority.issue("target", undefined, "IP:127.0.0.1,IP:::1,DNS:target.example");
const tls = `tls_config: { ca_file: ${files.ca_file} }`;

interface SeenRequest {
  readonly line: string;
  readonly headers: http.IncomingHttpHeaders;
}

/** Forwards to where it is asked for, but always to this host: names are the proxy's to resolve. */
async function startProxy(t: Teardown, options: { readonly user?: string } = {}) {
  const seen: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = http.createServer();
  const allowed = (request: http.IncomingMessage): boolean => {
    seen.push({ line: `${request.method} ${request.url}`, headers: request.headers });
    const expected = options.user && `Basic ${Buffer.from(options.user).toString("base64")}`;
    return expected === undefined || request.headers["proxy-authorization"] === expected;
  };
  server.on("connection", (socket) => {
    connections++;
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.on("request", (request, answer) => {
    if (!allowed(request)) return void answer.writeHead(407).end();
    const { pathname, port, search } = new URL(request.url!);
    const onward = http.request({ host: "127.0.0.1", port, path: pathname + search, headers: request.headers });
    onward.on("response", (from) => {
      answer.writeHead(from.statusCode!, from.headers);
      from.pipe(answer);
    });
    onward.on("error", () => answer.writeHead(502).end());
    onward.end();
  });
  server.on("connect", (request, socket: Socket, head) => {
    if (!allowed(request)) return void socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    const host = request.url!.startsWith("[::1]") ? "::1" : "127.0.0.1";
    const onward = net.connect(Number(/:(\d+)$/.exec(request.url!)![1]), host, () => {
      // Real ones say strange things here, a length among them.
      socket.write("HTTP/1.1 200 Connection established\r\nContent-Length: 0\r\n\r\n");
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    sockets.add(onward);
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { port, url: `http://127.0.0.1:${port}`, seen, connections: () => connections };
}

async function plainTarget(t: Teardown) {
  const heads: string[] = [];
  const url = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => {
      heads.push(head);
      socket.write(response("plain 1\n"));
    }),
  );
  return { url, port: new URL(url).port, heads };
}

async function safeTarget(
  t: Teardown,
  host = "127.0.0.1",
  answer: (socket: Socket) => unknown = (socket) => socket.write(response("safe 1\n")),
) {
  const [cert, key] = await Promise.all([readFile(files.cert_file), readFile(files.key_file)]);
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const server = createTlsServer({ cert, key }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onRequest(socket, (head) => {
      heads.push(head);
      answer(socket);
    });
  });
  server.on("tlsClientError", () => {});
  server.listen(0, host);
  await once(server, "listening");
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, heads };
}

t.test("an http target is asked for by its whole URL, over connections that all targets share", async (t) => {
  const proxy = await startProxy(t, { user: "us er:pass:word" });
  const target = await plainTarget(t);
  const config = `proxy_url: http://us%20er:pass%3Aword@127.0.0.1:${proxy.port}\nbearer_token: hunter2\nproxy_connect_header: { X-Way: [a] }`;
  const scrape = scraping(t, config, { lookup: () => t.fail("the proxy resolves names") });
  for (const host of ["target.example", "other.example", "127.0.0.1"]) {
    t.equal(textOf(await scrape(`http://${host}:${target.port}/metrics?a=b`)), "plain 1\n", host);
  }
  t.equal(proxy.seen[0]!.line, `GET http://target.example:${target.port}/metrics?a=b`);
  t.match(target.heads[0], /\r\nHost: target\.example:\d+\r\n/i);
  t.match(target.heads[0], /\r\nAuthorization: Bearer hunter2/i);
  t.notOk(proxy.seen[0]!.headers["x-way"], "headers of CONNECT are for CONNECT");
  t.equal(proxy.connections(), 1);
});

t.test("an https target is reached through a tunnel, which is kept, and in which the proxy sees nothing", async (t) => {
  const proxy = await startProxy(t, { user: "user:word" });
  const target = await safeTarget(t);
  const config = `proxy_url: http://user:word@127.0.0.1:${proxy.port}\nbearer_token: hunter2\nproxy_connect_header: { X-Way: [a, b] }\n${tls}`;
  const scrape = scraping(t, config, { lookup: () => t.fail("the proxy resolves names") });
  for (let i = 0; i < 3; i++) {
    t.equal(textOf(await scrape(`https://target.example:${target.port}/metrics`)), "safe 1\n");
  }
  t.equal(proxy.connections(), 1);
  t.match(proxy.seen, [{ line: `CONNECT target.example:${target.port}`, headers: { "x-way": "a, b" } }]);
  t.notMatch(JSON.stringify(proxy.seen), /hunter2|Bearer/);
  t.match(target.heads[0], new RegExp(`^GET /metrics HTTP/1\\.1\\r\\nHost: target\\.example:${target.port}\\r\\n`));
  t.match(target.heads[0], /\r\nAuthorization: Bearer hunter2\r\n/);
  t.notMatch(target.heads[0], /Proxy-Authorization/i);
  t.match(await scrape(`https://other.example:${target.port}/metrics`), {
    outcome: "failed_tls",
    error: /other\.example/,
  });
});

t.test("a large body that ends with its connection comes through a tunnel whole", async (t) => {
  const proxy = await startProxy(t);
  const body = "some_metric_total 1\n".repeat(100_000);
  const target = await safeTarget(t, "127.0.0.1", (socket) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${body}`));
  const scrape = scraping(t, `proxy_url: ${proxy.url}\n${tls}`);
  for (let i = 0; i < 5; i++) {
    t.ok(textOf(await scrape(`https://127.0.0.1:${target.port}/metrics`)) === body, `scrape ${i}`);
  }
});

t.test("an IPv6 target is asked for in brackets", async (t) => {
  const proxy = await startProxy(t);
  const target = await safeTarget(t, "::1");
  const scrape = scraping(t, `proxy_url: ${proxy.url}\n${tls}`);
  t.equal(textOf(await scrape(`https://[::1]:${target.port}/metrics`)), "safe 1\n");
  t.equal(proxy.seen[0]!.line, `CONNECT [::1]:${target.port}`);
});

t.test("a proxy that refuses, is not there or does not answer is named, and its password is not", async (t) => {
  const proxy = await startProxy(t, { user: "user:right" });
  const shown = `127\\.0\\.0\\.1:${proxy.port}`;
  const config = `proxy_url: http://user:hunter2@127.0.0.1:${proxy.port}\n${tls}`;
  t.match(await scraping(t, config)("https://target.example:1/"), {
    outcome: "failed_connect",
    error: new RegExp(
      `^the proxy ${shown} gave no connection to the target: HTTP status 407 Proxy Authentication Required$`,
    ),
  });
  t.match(await scraping(t, config)("http://target.example:1/"), {
    outcome: "failed_status",
    error: "server returned HTTP status 407 Proxy Authentication Required",
  });
  const gone = "proxy_url: http://user:hunter2@127.0.0.1:1";
  for (const url of ["http://target.example/", "https://target.example/"]) {
    t.match(await scraping(t, gone)(url), {
      outcome: "failed_connect",
      error: "through the proxy 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1",
    });
  }
  const silent = `proxy_url: ${(await serveSockets(t, () => {})).replace("/metrics", "")}`;
  t.match(await scraping(t, silent)("https://target.example/", { timeoutMs: 300 }), {
    outcome: "failed_connect",
    error: /^no connection through the proxy 127\.0\.0\.1:\d+ within 0\.3 s$/,
  });
});

t.test("what a proxy may answer instead of a tunnel ends as a failure with a sentence", async (t) => {
  for (const [answer, end, error] of [
    [
      "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nnever",
      false,
      /gave no connection to the target: HTTP status 403 Forbidden$/,
    ],
    ["HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", false, /HTTP status 302 Found$/],
    ["SSH-2.0-OpenSSH\r\n\r\n", false, /the answer is not HTTP/],
    ["", true, /closed the connection without an answer$/],
    ["HTTP/1.1 200 OK\r\n", true, /closed the connection without an answer$/],
    ["HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false, /sent bytes behind its answer to CONNECT$/],
    [`HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(5000)}`, false, /expected an answer, got 16384 bytes of headers$/],
    ["HTTP/1.1 100 Continue\r\n\r\n".repeat(400), true, /closed the connection without an answer$/],
  ] as const) {
    const url = await serveSockets(t, (socket) =>
      onRequest(socket, () => (end ? socket.end(answer) : socket.write(answer))),
    );
    const scrape = scraping(t, `proxy_url: ${url.replace("/metrics", "")}`);
    t.match(
      await scrape("https://target.example/"),
      { ok: false, outcome: "failed_connect", error },
      answer.slice(0, 30),
    );
  }
});

t.test("a tunnel that died between two scrapes is opened again", async (t) => {
  const target = await safeTarget(t);
  const lines: Socket[] = [];
  const url = await serveSockets(t, (socket) => {
    socket.once("data", () => {
      const onward = net.connect(target.port, "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        onward.pipe(socket).pipe(onward);
      });
      onward.on("error", () => {});
      onward.on("close", () => socket.destroy());
      lines.push(onward);
    });
  });
  const scrape = scraping(t, `proxy_url: ${url.replace("/metrics", "")}\n${tls}`);
  const at = `https://127.0.0.1:${target.port}/metrics`;
  t.equal(textOf(await scrape(at)), "safe 1\n");
  lines[0]!.resetAndDestroy();
  t.equal(textOf(await scrape(at)), "safe 1\n");
  t.equal(lines.length, 2);
});

t.test("NO_PROXY excepts hosts as Go's client reads it", (t) => {
  const cases: readonly (readonly [list: string, url: string, direct: boolean])[] = [
    ["example.com", "http://example.com/", true],
    ["example.com", "http://EXAMPLE.com/", true],
    ["example.com", "http://www.example.com/", true],
    ["example.com", "http://notexample.com/", false],
    [".example.com", "http://www.example.com/", true],
    [".example.com", "http://example.com/", false],
    ["*.example.com", "http://www.example.com/", true],
    ["*.example.com", "http://example.com/", false],
    ["a.example, B.example ,", "http://b.example/", true],
    ["example.com:80", "http://example.com/", true],
    ["example.com:443", "http://example.com/", false],
    ["example.com:443", "https://example.com/", true],
    ["10.0.0.0/8", "http://10.1.2.3:9100/", true],
    ["10.0.0.0/8", "http://11.1.2.3:9100/", false],
    ["10.1.2.3", "http://10.1.2.3:9100/", true],
    ["10.1.2.3:9100", "http://10.1.2.3:9101/", false],
    ["fd00::/8", "http://[fd00::1]:9100/", true],
    ["[fd00::1]:9100", "http://[fd00::1]:9100/", true],
    ["fd00::1", "http://[fd00::1]:9100/", true],
    ["fd00::/8", "http://10.1.2.3/", false],
    ["*", "http://any.example/", true],
    ["x", "http://localhost:9100/", true],
    ["x", "http://127.9.9.9:9100/", true],
    ["x", "http://[::1]:9100/", true],
    ["10.0.0.0/99", "http://10.1.2.3/", false],
  ];
  for (const [list, url, direct] of cases) {
    const choice = fixedProxy("http://proxy.example:3128", list);
    t.equal(choice(new URL(url)) === undefined, direct, `${list} ${url}`);
    t.equal(
      environmentProxy({ http: "proxy.example", https: "proxy.example", no: list })(new URL(url)) === undefined,
      direct,
    );
  }
  t.ok(
    fixedProxy("http://proxy.example:3128", "")(new URL("http://localhost/")),
    "without a list, nothing is excepted",
  );
  t.end();
});

t.test("the environment's proxy is the one for the target's scheme", async (t) => {
  const choice = environmentProxy({ http: "a.example:1", https: "http://b.example" });
  t.match(choice(new URL("http://x.example/")), { host: "a.example", port: 1 });
  t.match(choice(new URL("https://x.example/")), { host: "b.example", port: 80 });
  t.equal(environmentProxy({ https: "http://b.example" })(new URL("http://x.example/")), undefined);

  const proxy = await startProxy(t);
  const target = await plainTarget(t);
  const environment = { http: proxy.url, https: "socks5://user:hunter2@127.0.0.1:1" };
  const scrape = scraping(t, "proxy_from_environment: true", { environment });
  t.equal(textOf(await scrape(`http://target.example:${target.port}/metrics`)), "plain 1\n");
  t.equal(proxy.seen.length, 1);
  t.equal(textOf(await scrape(target.url)), "plain 1\n", "this host itself is reached directly");
  t.equal(proxy.seen.length, 1);
  t.match(await scrape("https://target.example/"), {
    outcome: "failed_connect",
    error: "HTTPS_PROXY: expected a proxy like http://proxy.example:3128, got socks5://",
  });
});
