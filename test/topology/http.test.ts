// What a scrape config may say of HTTP: what becomes of it, what is refused (as Prometheus' common/config refuses it), and that no
// secret is ever told, wherever somebody put it.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { inflate } from "#/lib/codec/envelope.ts";
import { encodeGeneration } from "#/lib/codec/generation.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { scrapeConfigOf, topologyText } from "#/test/support/scrape-config.ts";
import { makeGeneration, makeTarget, plainScrapeOptions } from "#/test/support/targets.ts";
import { loadTopology, parseTopology } from "#/topology/file.ts";
import { httpOf, secretsOf } from "#/topology/http.ts";
import { formatProblem } from "#/topology/problem.ts";

function told(lines: string): string[] {
  return parseTopology(topologyText(lines), "t.yaml").problems.map(formatProblem);
}

t.test("what a scrape config says of HTTP becomes settings that travel, and secrets that do not", async (t) => {
  const authority = await makeAuthority();
  t.teardown(() => authority.close());
  const pem = await readFile((await authority.issue("scrape", undefined)).cert_file, "utf8");
  const config = scrapeConfigOf(`basic_auth: { username: us, password: Secret-1 }
http_headers:
  X-Tenant: { values: [a, b] }
  X-Key: { secrets: [Secret-2, Secret-3], files: [key-file] }
tls_config:
  ca_file: ca.pem
  cert: |
${pem.trim().replace(/^/gm, "    ")}
  key: Secret-4
  server_name: target.example
  min_version: TLS11
proxy_url: http://user:Secret-5@proxy.example:3128
no_proxy: .example
proxy_connect_header: { X-Way: [Secret-6] }
follow_redirects: false
enable_compression: false
enable_http2: false`);
  const settings = httpOf(config)!;
  t.match(settings, {
    id: /^[0-9a-f]{32}$/,
    job: "node",
    followRedirects: false,
    compression: false,
    authorization: { type: "basic", username: { text: "us" }, password: { secret: "basic_auth.password" } },
    headers: [
      { name: "X-Tenant", values: [{ text: "a" }, { text: "b" }] },
      {
        name: "X-Key",
        values: [
          { secret: "http_headers.X-Key.secrets[0]" },
          { secret: "http_headers.X-Key.secrets[1]" },
          { file: "key-file" },
        ],
      },
    ],
    tls: {
      ca: { file: "ca.pem" },
      cert: { text: /BEGIN CERTIFICATE/ },
      key: { secret: "tls_config.key" },
      serverName: "target.example",
      insecureSkipVerify: false,
      minVersion: "TLS11",
    },
    proxy: {
      url: { secret: "proxy_url" },
      noProxy: ".example",
      connectHeaders: [{ name: "X-Way", values: [{ secret: "proxy_connect_header.X-Way[0]" }] }],
    },
  });
  t.same(Object.fromEntries(secretsOf(config)), {
    "basic_auth.password": "Secret-1",
    "http_headers.X-Key.secrets[0]": "Secret-2",
    "http_headers.X-Key.secrets[1]": "Secret-3",
    "tls_config.key": "Secret-4",
    proxy_url: "http://user:Secret-5@proxy.example:3128",
    "proxy_connect_header.X-Way[0]": "Secret-6",
  });

  const target = makeTarget("http://10.0.0.1:9100/metrics", { options: { ...plainScrapeOptions, http: settings } });
  const bytes = Buffer.from(encodeGeneration(makeGeneration([target])));
  const headerEnd = 8 + bytes.readUInt16LE(6);
  const header = bytes.subarray(8, headerEnd);
  const body = Buffer.from(
    inflate(bytes.subarray(headerEnd, -4), bodyBytes(header), "body", (code) => new Error(code)),
  ).toString("latin1");
  t.match(body, "target.example", "the settings are in the generation");
  t.notMatch(body, "Secret-", "and no secret is");
});

/** The header's last number. */
function bodyBytes(header: Buffer): number {
  const last = [header.at(-1)!];
  for (let at = header.length - 2; header[at]! >= 128; at--) last.unshift(header[at]! & 127);
  return last.reduceRight((sum, part) => sum * 128 + part, 0);
}

t.test("HTTP keys of format version 1 are still read as they were then", async (t) => {
  const { topology, warnings } = await loadTopology(join(import.meta.dirname, "../golden/topology-v1-http.yaml"));
  t.same(warnings, []);
  const read = topology.scrape_configs.map((config) => {
    const { id: _id, ...settings } = httpOf(config)!;
    return { ...settings, secrets: [...secretsOf(config).values()] };
  });
  const usual = { followRedirects: true, compression: true, headers: [] };
  t.same(read, [
    {
      job: "basic",
      followRedirects: false,
      compression: false,
      authorization: { type: "basic", username: { text: "u" }, password: { secret: "basic_auth.password" } },
      headers: [{ name: "X-A", values: [{ text: "a" }, { secret: "http_headers.X-A.secrets[0]" }, { file: "c" }] }],
      secrets: ["p", "b"],
    },
    {
      ...usual,
      job: "basic_files",
      authorization: { type: "basic", username: { file: "u" }, password: { file: "p" } },
      proxy: { noProxy: "", connectHeaders: [] },
      secrets: [],
    },
    {
      ...usual,
      job: "token",
      authorization: { type: "scheme", scheme: "Token", credentials: { secret: "authorization.credentials" } },
      proxy: {
        url: { text: "http://127.0.0.1:3128" },
        noProxy: ".example",
        connectHeaders: [{ name: "X-B", values: [{ secret: "proxy_connect_header.X-B[0]" }] }],
      },
      secrets: ["t", "http://127.0.0.1:3128", "c"],
    },
    {
      ...usual,
      job: "token_file",
      authorization: { type: "scheme", scheme: "Bearer", credentials: { file: "t" } },
      tls: {
        ca: { file: "ca" },
        cert: { file: "c" },
        key: { file: "k" },
        serverName: "n",
        insecureSkipVerify: false,
        minVersion: "TLS10",
        maxVersion: "TLS13",
      },
      secrets: [],
    },
    {
      ...usual,
      job: "bearer",
      authorization: { type: "scheme", scheme: "Bearer", credentials: { secret: "bearer_token" } },
      tls: { insecureSkipVerify: true },
      secrets: ["t"],
    },
    {
      ...usual,
      job: "bearer_file",
      authorization: { type: "scheme", scheme: "Bearer", credentials: { file: "t" } },
      secrets: [],
    },
  ]);
});

t.test("what is the default, or is left empty, travels as nothing", async (t) => {
  t.equal(httpOf(scrapeConfigOf("follow_redirects: true")), undefined);
  t.equal(httpOf(scrapeConfigOf("enable_http2: true\ntls_config: {}\nbearer_token: ''\nproxy_url: ''")), undefined);
  t.match(httpOf(scrapeConfigOf("bearer_token: Secret-1")), {
    authorization: { type: "scheme", scheme: "Bearer", credentials: { secret: "bearer_token" } },
  });
  t.match(httpOf(scrapeConfigOf("authorization: { type: ' ', credentials_file: token }")), {
    authorization: { type: "scheme", scheme: "Bearer", credentials: { file: "token" } },
  });
  t.match(httpOf(scrapeConfigOf("proxy_from_environment: true")), { proxy: { url: undefined, noProxy: "" } });
  t.not(httpOf(scrapeConfigOf("proxy_url: http://a:1"))!.id, httpOf(scrapeConfigOf("proxy_url: http://b:1"))!.id);
  t.equal(
    httpOf(scrapeConfigOf("basic_auth: { username: u, password: Secret-1 }"))!.id,
    httpOf(scrapeConfigOf("basic_auth: { username: u, password: Secret-2 }"))!.id,
    "not even a hash of a secret",
  );
});

t.test("what Prometheus refuses is refused, by place, expected and got", async (t) => {
  const cases: readonly (readonly [lines: string, line: number, column: number, rest: string])[] = [
    [
      "basic_auth: { username: u, password: p, password_file: f }",
      18,
      45,
      "basic_auth.password_file: expected one of password and password_file, got password too",
    ],
    [
      "basic_auth: { username: u, username_file: f }",
      18,
      32,
      "basic_auth.username_file: expected one of username and username_file, got username too",
    ],
    [
      "basic_auth: { username: 'a:b' }",
      18,
      29,
      "basic_auth.username: expected a name without a colon, which ends the name in HTTP's basic form",
    ],
    [
      "basic_auth: { username: u }\nbearer_token: t",
      19,
      5,
      "bearer_token: expected one of basic_auth, authorization, bearer_token and bearer_token_file, got basic_auth too",
    ],
    [
      "authorization: { credentials: t }\nbearer_token_file: t",
      19,
      5,
      "bearer_token_file: expected one of basic_auth, authorization, bearer_token and bearer_token_file, got authorization too",
    ],
    [
      "authorization: { credentials: t, credentials_file: f }",
      18,
      38,
      "authorization.credentials_file: expected one of credentials and credentials_file, got credentials too",
    ],
    [
      "authorization: { type: basic, credentials: t }",
      18,
      28,
      "authorization.type: expected another scheme than Basic; use basic_auth for it",
    ],
    ["authorization: { type: X }", 18, 20, "authorization: expected credentials or credentials_file, got neither"],
    [
      'bearer_token: "a\\nb"',
      18,
      19,
      "bearer_token: expected one line without control characters, which a header cannot hold",
    ],
    ["tls_config: { ca: a, ca_file: b }", 18, 26, "tls_config.ca_file: expected one of ca and ca_file, got ca too"],
    ["tls_config: { cert_file: a }", 18, 17, "tls_config: expected key or key_file beside a certificate, got neither"],
    ["tls_config: { key: a }", 18, 17, "tls_config: expected cert or cert_file beside a key, got neither"],
    [
      "tls_config: { ca: nonsense }",
      18,
      23,
      "tls_config.ca: expected a certificate (PEM): lines from -----BEGIN CERTIFICATE----- on",
    ],
    [
      "tls_config: { min_version: TLS13, max_version: TLS12 }",
      18,
      52,
      "tls_config.max_version: expected at least min_version (TLS13), got TLS12",
    ],
    [
      "tls_config: { max_version: TLS11 }",
      18,
      32,
      "tls_config.max_version: expected min_version beside TLS11: it is TLS12 when it is left out",
    ],
    [
      "tls_config: { min_version: SSL3 }",
      18,
      32,
      'tls_config.min_version: expected one of TLS10, TLS11, TLS12, TLS13, got "SSL3"',
    ],
    ["tls_config: { caa: x }", 18, 19, "tls_config.caa: unknown key; did you mean ca?"],
    [
      "http_headers: { authorization: { values: [a] } }",
      18,
      21,
      "http_headers.authorization: the header authorization is set by the scrape itself, or by a key of its own",
    ],
    [
      "http_headers: { Transfer-Encoding: { values: [chunked] } }",
      18,
      21,
      "http_headers.Transfer-Encoding: the header Transfer-Encoding is set by the scrape itself, or by a key of its own",
    ],
    [
      "http_headers: { 'X Y': { values: [a] } }",
      18,
      21,
      'http_headers["X Y"]: expected a header\'s name: letters, digits and hyphens',
    ],
    [
      "http_headers: { X-A: { values: [a] }, x-a: { values: [b] } }",
      18,
      43,
      "http_headers.x-a: expected each header once, whether its letters are small or capital",
    ],
    ["http_headers: { X-A: { value: [a] } }", 18, 28, "http_headers.X-A.value: unknown key; did you mean values?"],
    ["no_proxy: a.example", 18, 5, "no_proxy: expected proxy_url beside it, got none"],
    [
      "proxy_connect_header: { X-A: [b] }",
      18,
      5,
      "proxy_connect_header: expected proxy_url or proxy_from_environment beside it, got neither",
    ],
    [
      "proxy_url: http://p:1\nproxy_from_environment: true",
      18,
      5,
      "proxy_url: expected it without proxy_from_environment",
    ],
    [
      "proxy_url: socks5://p:1",
      18,
      16,
      "proxy_url: expected a proxy with http://, got socks5://, which is not supported",
    ],
    [
      "proxy_url: http://p:1/path",
      18,
      16,
      "proxy_url: expected a proxy like http://proxy.example:3128, or http://user:password@proxy.example:3128",
    ],
    [`tls_config: { ca: "${"x".repeat(70_000)}" }`, 17, 5, "expected at most 65536 bytes of HTTP settings"],
  ];
  for (const [lines, line, column, rest] of cases) {
    const at = `t.yaml:${line}:${column}: error: scrape_configs[0]${rest.startsWith("expected") ? ": " : "."}`;
    t.ok(
      told(lines).some((problem) => problem.startsWith(`${at}${rest}`)),
      `${lines.slice(0, 80)} → ${told(lines)[0]}`,
    );
  }
});

t.test("no secret is told, wherever it was put by mistake and whatever YAML takes it for", async (t) => {
  for (const lines of [
    "basic_auth: hunter2",
    "basic_auth: { username: u, password: { hunter2: 1 } }".replace("{ hunter2: 1 }", "[hunter2]"),
    "basic_auth: { username: [hunter2], password: x }",
    "basic_auth: { pasword: hunter2 }",
    "authorization: hunter2",
    "authorization: { type: Basic, credentials: hunter2 }",
    "authorization: { credentials: 7777 }",
    "bearer_token: 7777",
    "bearer_token: [hunter2]",
    "bearer_token: *hunter2",
    "bearer_token: &hunter2",
    "bearer_token: !hunter2",
    "bearer_token: !hunter2 ",
    "bearer_token: |hunter2",
    "bearer_token: >hunter2",
    "bearer_token: @hunter2",
    "bearer_token: %hunter2",
    "bearer_token: `hunter2",
    'bearer_token: "x"hunter2',
    "bearer_token: 'x'hunter2",
    "bearer_token: }hunter2",
    "bearer_token: ]hunter2",
    "bearer_token: a: hunter2",
    'bearer_token: "hunter2\\nx"',
    "tls_config: { key: [hunter2] }",
    "tls_config: { key_file: { a: hunter2 }, key: 7777 }",
    "http_headers: { X-A: hunter2 }",
    "http_headers: { X-A: { secrets: hunter2 } }",
    "http_headers: { X-A: { secrets: [7777] } }",
    'http_headers: { X-A: { secrets: ["hunter2\\r\\nX"] } }',
    "proxy_url: user:hunter2@proxy:1",
    "proxy_url: https://user:hunter2@proxy:1",
    "proxy_url: http://user:hunter2@proxy:1/x",
    "proxy_url: [http://user:hunter2@proxy:1]",
    "proxy_connect_header: { X-A: hunter2 }",
    "proxy_connect_header: { X-A: [7777] }",
    "oauth2: { client_secret: hunter2 }",
  ]) {
    const problems = told(lines);
    t.ok(problems.length > 0, lines);
    for (const problem of problems) t.notMatch(problem, /hunter2|7777/, lines);
  }
  t.same(told("bearer_token: 7777"), [
    "t.yaml:18:19: error: scrape_configs[0].bearer_token: expected a text, got a number (not shown, because it may be secret); put it in quotes if it is a text",
  ]);
});
