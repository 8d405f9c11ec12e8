// TLS to targets, with real servers and certificates: whom a secondary believes, what it shows, which versions it speaks, and what
// becomes of connections when certificates change.

import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createServer, type TLSSocket, type TlsOptions } from "node:tls";
import t from "tap";

import { systemClock } from "#/lib/clock/clock.ts";
import type { Lookup } from "#/secondary/scrape/http/names.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { scraping, textOf } from "#/test/support/scrape-config.ts";
import { onRequest, response, serveSockets, type Teardown } from "#/test/support/sockets.ts";

const lookup: Lookup = (_host, done) => done(null, [{ address: "127.0.0.1", family: 4 }]);

const authority = await makeAuthority();
const otherAuthority = await makeAuthority();
t.teardown(async () => {
  await authority.close();
  await otherAuthority.close();
});
const target = await authority.issue("target", undefined, "IP:127.0.0.1,DNS:target.example");
const scraper = await authority.issue("scraper", undefined);
const stranger = await otherAuthority.issue("stranger", undefined);
const ca = `ca_file: ${target.ca_file}`;

interface Served {
  readonly url: string;
  /** https://<host>:<port>/metrics */
  at(host: string): string;
  readonly connections: TLSSocket[];
  /** Of each connection, whether it went on with a session. */
  readonly resumed: boolean[];
  replace(files: { readonly cert_file: string; readonly key_file: string }): Promise<void>;
}

async function pemOf(files: { readonly cert_file: string; readonly key_file: string }) {
  return { cert: await readFile(files.cert_file), key: await readFile(files.key_file) };
}

async function serve(
  t: Teardown,
  options: TlsOptions = {},
  files: { readonly cert_file: string; readonly key_file: string } = target,
  answer: (socket: TLSSocket, head: string) => void = (socket) => socket.write(response("safe 1\n")),
): Promise<Served> {
  const connections: TLSSocket[] = [];
  const resumed: boolean[] = [];
  const server = createServer({ ...(await pemOf(files)), ...options }, (socket) => {
    connections.push(socket);
    resumed.push(socket.isSessionReused());
    socket.on("error", () => {});
    onRequest(socket, (head) => answer(socket, head));
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const at = (host: string) => `https://${host}:${port}/metrics`;
  const replace = async (files: { readonly cert_file: string; readonly key_file: string }) =>
    server.setSecureContext({ ...options, ...(await pemOf(files)) });
  return { url: at("127.0.0.1"), at, connections, resumed, replace };
}

const tls = (text: string) => `tls_config: { ${text} }`;

t.test("a target is believed when its authority, its name and its time are right, and never otherwise", async (t) => {
  const good = await serve(t);
  const expired = await serve(t, {}, await authority.issue("expired", undefined, "IP:127.0.0.1", -1));
  const text = JSON.stringify(await readFile(target.ca_file, "utf8"));
  const cases: readonly (readonly [name: string, config: string, url: string, expected: string | RegExp])[] = [
    ["by its address", tls(ca), good.url, "safe 1\n"],
    ["by its name", tls(ca), good.at("target.example"), "safe 1\n"],
    ["with the authority's text", tls(`ca: ${text}`), good.url, "safe 1\n"],
    ["with the name it was given", tls(`${ca}, server_name: target.example`), good.at("other.example"), "safe 1\n"],
    ["with the address it was given", tls(`${ca}, server_name: 127.0.0.1`), good.at("other.example"), "safe 1\n"],
    ["unseen", tls("insecure_skip_verify: true"), expired.at("other.example"), "safe 1\n"],
    ["without its authority", tls("server_name: target.example"), good.url, /^TLS: .*(certificate|issuer)/],
    ["by another authority", tls(`ca_file: ${stranger.ca_file}`), good.url, /^TLS: .*(certificate|issuer)/],
    ["under another name", tls(ca), good.at("other.example"), /other\.example/],
    ["with another name given", tls(`${ca}, server_name: other.example`), good.url, /other\.example/],
    ["with another address given", tls(`${ca}, server_name: 127.0.0.2`), good.url, /127\.0\.0\.2/],
    ["after its time", tls(ca), expired.url, /^TLS: certificate has expired$/],
  ];
  for (const [name, config, url, expected] of cases) {
    const fetched = await scraping(t, config, { lookup })(url);
    if (typeof expected === "string") t.equal(textOf(fetched), expected, name);
    else t.match(fetched, { ok: false, outcome: "failed_tls", error: expected }, name);
  }
  const names = good.connections.map(({ servername }) => servername);
  t.same(
    names.slice(0, 5),
    [false, "target.example", false, "target.example", false],
    "an address is no name to ask for",
  );
});

t.test("a target that wants a certificate gets the scrape config's", async (t) => {
  const server = await serve(t, { requestCert: true, rejectUnauthorized: true, ca: await readFile(target.ca_file) });
  const own = (files: typeof scraper) => `cert_file: ${files.cert_file}, key_file: ${files.key_file}`;
  t.equal(textOf(await scraping(t, tls(`${ca}, ${own(scraper)}`))(server.url)), "safe 1\n");
  t.equal(server.connections[0]!.getPeerCertificate().subject.CN, "scraper");
  const inline = await pemOf(scraper);
  const texts = `cert: ${JSON.stringify(`${inline.cert}`)}, key: ${JSON.stringify(`${inline.key}`)}`;
  t.equal(textOf(await scraping(t, tls(`${ca}, ${texts}`))(server.url)), "safe 1\n");
  t.match(await scraping(t, tls(ca))(server.url), { outcome: "failed_tls", error: /handshake: certificate required$/ });
  // Node's server ends the connection without a word when it does not believe a client.
  t.match(await scraping(t, tls(`${ca}, ${own(stranger)}`))(server.url), { outcome: "failed_closed" });
});

t.test("what is no certificate, no key, or not of one kind fails the scrape by name", async (t) => {
  const server = await serve(t);
  const { key_file } = scraper;
  const nonsense = join(authority.dir, "nonsense.pem");
  await writeFile(nonsense, "not PEM\n");
  for (const [config, error] of [
    [`ca_file: ${nonsense}`, "tls_config.ca: expected a certificate (PEM), got something else"],
    [
      `cert_file: ${nonsense}, key_file: ${key_file}`,
      "tls_config.cert: expected a certificate (PEM), got something else",
    ],
    [`cert_file: ${scraper.cert_file}, key_file: ${nonsense}`, /^tls_config\.key: expected a private key \(PEM\)/],
    [`cert_file: ${target.cert_file}, key_file: ${key_file}`, /^tls_config\.key: expected the key of the certificate/],
  ] as const) {
    t.match(await scraping(t, tls(config))(server.url), { ok: false, outcome: "failed_credentials", error }, config);
  }
  t.equal(server.connections.length, 0);
});

t.test("old versions of TLS are spoken only when they are asked for", async (t) => {
  const old = await serve(t, { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" });
  const usual = await serve(t, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" });
  const any = await serve(t, { minVersion: "TLSv1.2" });
  t.match(await scraping(t, tls(ca))(old.url), { outcome: "failed_tls", error: /protocol version/ });
  t.equal(textOf(await scraping(t, tls(`${ca}, min_version: TLS10`))(old.url)), "safe 1\n");
  t.equal(old.connections.at(-1)!.getProtocol(), "TLSv1.1");
  t.match(await scraping(t, tls(`${ca}, min_version: TLS13`))(usual.url), {
    outcome: "failed_tls",
    error: /protocol version/,
  });
  t.equal(textOf(await scraping(t, tls(ca))(usual.url)), "safe 1\n");
  await scraping(t, tls(ca))(any.url);
  t.equal(any.connections.at(-1)!.getProtocol(), "TLSv1.3");
  await scraping(t, tls(`${ca}, max_version: TLS12`))(any.url);
  t.equal(any.connections.at(-1)!.getProtocol(), "TLSv1.2");
});

t.test("a connection is kept, and where a target closes it the next one goes on with its session", async (t) => {
  const keeping = await serve(t);
  const scrape = scraping(t, tls(ca));
  for (let i = 0; i < 5; i++) t.equal(textOf(await scrape(keeping.url)), "safe 1\n");
  t.equal(keeping.connections.length, 1);
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    const closing = await serve(t, { maxVersion }, target, (socket) =>
      socket.end(response("safe 1\n", "Connection: close\r\n")),
    );
    for (let i = 0; i < 4; i++) t.equal(textOf(await scrape(closing.url)), "safe 1\n");
    t.same(closing.resumed, [false, true, true, true], maxVersion);
    t.equal(textOf(await scraping(t, tls(ca))(closing.url)), "safe 1\n");
    t.equal(closing.resumed.at(-1), false, "but no other scrape config's");
  }
});

t.test("a server that never comes to its handshake, or breaks it, costs itself one scrape", async (t) => {
  const silent = (await serveSockets(t, () => {})).replace("http:", "https:");
  t.match(await scraping(t, tls(ca))(silent, { timeoutMs: 300 }), {
    outcome: "failed_connect",
    error: "no connection within 0.3 s",
  });
  const broken = (
    await serveSockets(t, (socket) => socket.once("data", () => socket.end(Buffer.alloc(100, 0x16))))
  ).replace("http:", "https:");
  t.match(await scraping(t, tls(ca))(broken), { outcome: "failed_tls", error: /^TLS: / });
  const gone = (await serveSockets(t, (socket) => socket.once("data", () => socket.destroy()))).replace(
    "http:",
    "https:",
  );
  t.match(await scraping(t, tls(ca))(gone), {
    ok: false,
    error: /ECONNRESET|disconnected before secure|closed the connection/,
  });
});

t.test("an authority that is replaced is believed from then on, and the old one no longer", async (t) => {
  const path = join(authority.dir, "replaced.pem");
  await copyFile(target.ca_file, path);
  const server = await serve(t);
  const system = systemClock();
  let aheadMs = 0;
  const clock = { ...system, monotonicMs: () => system.monotonicMs() + aheadMs };
  const scrape = scraping(t, tls(`ca_file: ${path}`), { clock });
  t.equal(textOf(await scrape(server.url)), "safe 1\n");
  await copyFile(stranger.ca_file, path);
  aheadMs += 2000;
  t.match(await scrape(server.url), { outcome: "failed_tls" }, "also where a connection was open");
  await server.replace(stranger);
  t.equal(textOf(await scrape(server.url)), "safe 1\n");
  t.equal(server.connections.length, 2);
  const closed = new Promise((resolve) => server.connections[0]!.once("close", resolve));
  if (!server.connections[0]!.destroyed) await closed;
});

t.test("credentials are not sent on from https to http, and are from http to https", async (t) => {
  const heads: string[] = [];
  const plain = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => {
      heads.push(head);
      socket.write(response("plain 1\n"));
    }),
  );
  const down = await serve(t, {}, target, (socket) =>
    socket.write(`HTTP/1.1 302 Found\r\nLocation: ${plain}\r\nContent-Length: 0\r\n\r\n`),
  );
  const config = `bearer_token: hunter2\n${tls(ca)}`;
  t.equal(textOf(await scraping(t, config)(down.url)), "plain 1\n");
  t.notMatch(heads[0], /Authorization/);
  const safe = await serve(t, {}, target, (socket, head) => {
    heads.push(head);
    socket.write(response("safe 1\n"));
  });
  const up = await serveSockets(t, (socket) =>
    onRequest(socket, () => socket.write(`HTTP/1.1 301 Moved\r\nLocation: ${safe.url}\r\nContent-Length: 0\r\n\r\n`)),
  );
  t.equal(textOf(await scraping(t, config)(up)), "safe 1\n");
  t.match(heads[1], /\r\nAuthorization: Bearer hunter2/);
});
