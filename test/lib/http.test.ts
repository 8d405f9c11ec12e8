import { createServer } from "node:http";
import { connect } from "node:net";
import { Readable } from "node:stream";
import { gunzipSync } from "node:zlib";
import t from "tap";

import { createHttpServer, HttpServerError, parseListen } from "#/lib/http/server.ts";
import { type Logger, silentLogger } from "#/lib/logger/logger.ts";
import { exposeProcess } from "#/lib/telemetry/process.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { version } from "#/lib/telemetry/version.ts";

const fine = { healthy: () => undefined, ready: () => undefined };

function serverWith(overrides: Partial<Parameters<typeof createHttpServer>[0]> = {}) {
  const metrics = overrides.metrics ?? createRegistry({ tier: "tool" });
  return {
    metrics,
    server: createHttpServer({ listen: "127.0.0.1:0", metrics, health: fine, log: silentLogger(), ...overrides }),
  };
}

t.test("a healthy and ready process says so, and one that is not says why with 503", async (t) => {
  let reason: string | undefined;
  const { server } = serverWith({ health: { healthy: () => undefined, ready: () => reason } });
  t.teardown(() => server.close());
  const address = await server.start();
  const healthy = await fetch(`http://${address}/-/healthy`);
  t.equal(healthy.status, 200);
  t.equal(await healthy.text(), "Heliograph is healthy.\n");
  t.equal((await fetch(`http://${address}/-/ready`)).status, 200);
  reason = "The journal is being replayed: 40 %.";
  const busy = await fetch(`http://${address}/-/ready`);
  t.equal(busy.status, 503);
  t.equal(await busy.text(), "The journal is being replayed: 40 %.\n");
});

t.test("/metrics is the text format 0.0.4 and counts the requests by route and status class", async (t) => {
  const { server, metrics } = serverWith();
  t.teardown(() => server.close());
  const address = await server.start();
  await (await fetch(`http://${address}/-/healthy`)).text();
  await (await fetch(`http://${address}/no/such/path`)).text();
  const answer = await fetch(`http://${address}/metrics`);
  t.equal(answer.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  t.match(await answer.text(), /^heliograph_http_requests_total\{route="\/-\/healthy",status="2xx"\} 1$/m);
  t.equal(metrics.get("heliograph_http_requests_total", { route: "unmatched", status: "4xx" }), 1);
});

t.test("the process tells its CPU, memory, start and delays from the probe it was handed", async (t) => {
  const metrics = createRegistry({ tier: "tool" });
  exposeProcess(
    metrics,
    { tier: "tool", name: "example" },
    {
      cpuSeconds: () => 1.5,
      residentBytes: () => 4096,
      startTimeSeconds: 1700000000,
      eventLoopDelaySeconds: () => 0.25,
      eventLoopBusySeconds: () => 1.5,
      close() {},
    },
  );
  const text = metrics.expose();
  t.match(text, /^heliograph_process_cpu_seconds_total 1\.5$/m);
  t.match(text, /^heliograph_process_resident_memory_bytes 4096$/m);
  t.match(text, /^heliograph_process_start_time_seconds 1700000000$/m);
  t.match(text, /^heliograph_event_loop_delay_seconds 0\.25$/m);
  t.equal(metrics.get("heliograph_build_info", { version, tier: "tool", name: "example" }), 1);
  t.match(version, /^\d+\.\d+\.\d+$/);
});

t.test("an unknown path is answered in plain text, like Prometheus", async (t) => {
  const { server } = serverWith();
  t.teardown(() => server.close());
  const answer = await fetch(`http://${await server.start()}/api/v1/nosuch`);
  t.equal(answer.status, 404);
  t.equal(answer.headers.get("content-type"), "text/plain; charset=utf-8");
  t.equal(await answer.text(), "404 page not found\n");
});

t.test("forms are read, and bodies of types that nobody reads are ignored rather than refused", async (t) => {
  const { server } = serverWith();
  t.teardown(() => server.close());
  server.app.post("/echo", async (request) => ({ body: request.body ?? null }));
  const url = `http://${await server.start()}/echo`;
  const form = await fetch(url, { method: "POST", body: new URLSearchParams("match[]=a&match[]=b%20c&d=e") });
  t.same(await form.json(), { body: { "match[]": ["a", "b c"], d: "e" } });
  const odd = await fetch(url, { method: "POST", headers: { "content-type": "application/x-odd" }, body: "?" });
  t.same(await odd.json(), { body: null });
  const empty = await fetch(url, { method: "POST", headers: { "content-type": "application/json" } });
  t.same(await empty.json(), { body: null });
});

t.test("a body beyond the limit is refused with 413", async (t) => {
  const { server } = serverWith();
  t.teardown(() => server.close());
  server.app.post("/echo", async () => "read");
  const url = `http://${await server.start()}/echo`;
  const answer = await fetch(url, { method: "POST", body: new URLSearchParams({ q: "x".repeat(3_000_000) }) });
  t.equal(answer.status, 413);
});

t.test("a bug behind a route is logged, and the client is told no more than that", async (t) => {
  const errors: string[] = [];
  const log: Logger = { ...silentLogger(), error: (fields) => errors.push(String(fields.err)) };
  const { server } = serverWith({ log });
  t.teardown(() => server.close());
  server.app.get("/broken", async () => {
    throw new Error("a secret of the house");
  });
  const answer = await fetch(`http://${await server.start()}/broken`);
  t.equal(answer.status, 500);
  t.equal(await answer.text(), "internal server error\n");
  t.same(errors, ["Error: a secret of the house"]);
});

t.test("large JSON is gzipped for those who take it, streamed or whole, and small JSON is not", async (t) => {
  const { server } = serverWith();
  t.teardown(() => server.close());
  const text = JSON.stringify({ data: "abc ".repeat(2000) });
  server.app.get("/whole", async (_request, reply) => reply.type("application/json").send(text));
  server.app.get("/stream", async (_request, reply) =>
    reply.type("application/json").send(Readable.from([text.slice(0, 3000), text.slice(3000)])),
  );
  server.app.get("/small", async (_request, reply) => reply.type("application/json").send("{}"));
  await server.app.ready();
  const ask = (url: string, coding: string) => server.app.inject({ url, headers: { "accept-encoding": coding } });
  for (const url of ["/whole", "/stream"]) {
    const packed = await ask(url, "gzip, deflate");
    t.equal(packed.headers["content-encoding"], "gzip", url);
    t.equal(gunzipSync(packed.rawPayload).toString(), text, url);
    for (const coding of ["identity", "gzip;q=0"]) {
      const plain = await ask(url, coding);
      t.equal(plain.headers["content-encoding"], undefined, `${url} ${coding}`);
      t.equal(plain.payload, text, `${url} ${coding}`);
    }
  }
  t.equal((await ask("/small", "gzip")).headers["content-encoding"], undefined);
});

t.test("a taken port is named in the error", async (t) => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
  t.teardown(() => blocker.close());
  const { port } = blocker.address() as { port: number };
  const { server } = serverWith({ listen: `127.0.0.1:${port}` });
  t.teardown(() => server.close());
  const error = await server.start().catch((reason: unknown) => reason);
  t.ok(error instanceof HttpServerError);
  t.equal((error as HttpServerError).code, "address_in_use");
  t.equal((error as HttpServerError).message, `cannot listen on 127.0.0.1:${port}: another process already does`);
});

t.test("listen addresses are host:port, with brackets around IPv6", async (t) => {
  t.same(parseListen("127.0.0.1:9090"), { host: "127.0.0.1", port: 9090 });
  t.same(parseListen("[::1]:9090"), { host: "::1", port: 9090 });
  t.same(parseListen("localhost:0"), { host: "localhost", port: 0 });
  for (const bad of ["9090", "::1:9090", "host:", "host:99999", "[::1]", "a b:1x"]) {
    t.throws(() => parseListen(bad), { code: "bad_listen_address" }, bad);
  }
  const { server } = serverWith({ listen: "[::1]:0" });
  t.teardown(() => server.close());
  t.match(await server.start(), /^\[::1\]:[1-9]\d*$/);
});

t.test("closing ends idle keep-alive connections at once, and may be asked for twice", async (t) => {
  const { server } = serverWith();
  const address = await server.start();
  const socket = connect(Number(address.split(":")[1]), "127.0.0.1");
  socket.write("GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
  await new Promise((resolve) => socket.once("data", resolve));
  const ended = new Promise((resolve) => socket.once("close", resolve));
  await Promise.all([server.close(), server.close()]);
  await ended;
  t.pass("closed");
});
