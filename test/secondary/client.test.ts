// Credentials, headers and redirects, from the lines of a scrape config to the bytes that a target gets.

import { Buffer } from "node:buffer";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";

import { systemClock } from "#/lib/clock/clock.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { type FileAccess, systemFiles } from "#/secondary/scrape/http/file.ts";
import type { Lookup } from "#/secondary/scrape/http/names.ts";
import { scraping, settingsOf, textOf } from "#/test/support/scrape-config.ts";
import { onRequest, response, serveSockets, type Teardown } from "#/test/support/sockets.ts";

/** Runs as the system's, and can be put forward. */
function hastyClock() {
  const system = systemClock();
  const hasty = { aheadMs: 0, clock: { ...system, monotonicMs: () => system.monotonicMs() + hasty.aheadMs } };
  return hasty;
}

async function folder(t: Teardown): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-client-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** A target that tells which of the headers with these names it got, in the bytes of UTF-8. */
async function mirror(t: Teardown) {
  const seen = { heads: [] as string[], connections: 0 };
  const url = await serveSockets(t, (socket, connection) => {
    seen.connections = connection;
    onRequest(socket, (head) => {
      seen.heads.push(Buffer.from(head, "latin1").toString());
      socket.write(response("a 1\n"));
    });
  });
  const lines = (name: string) =>
    seen.heads
      .at(-1)!
      .split("\r\n")
      .filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}: `));
  return { url, seen, lines };
}

t.test("credentials and headers go out as the scrape config has them, from texts and from files", async (t) => {
  const baseDir = await folder(t);
  await writeFile(join(baseDir, "name"), " höger \n");
  await writeFile(join(baseDir, "password"), "pässword:1\r\n");
  await writeFile(join(baseDir, "token"), "\n  abc.def \n\n");
  const { lines, url } = await mirror(t);
  // base64 of the UTF-8 bytes, by `printf … | base64`.
  const cases: readonly (readonly [config: string, header: string, expected: string[]])[] = [
    [
      "basic_auth: { username: aladdin, password: 'open sesame' }",
      "Authorization",
      ["Authorization: Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ=="],
    ],
    [
      "basic_auth: { username_file: name, password_file: password }",
      "Authorization",
      ["Authorization: Basic aMO2Z2VyOnDDpHNzd29yZDox"],
    ],
    ["basic_auth: { username: aladdin }", "Authorization", ["Authorization: Basic YWxhZGRpbjo="]],
    ["bearer_token: xyz", "Authorization", ["Authorization: Bearer xyz"]],
    ["bearer_token_file: token", "Authorization", ["Authorization: Bearer abc.def"]],
    ["authorization: { type: GenieKey, credentials: k }", "Authorization", ["Authorization: GenieKey k"]],
    [
      `authorization: { credentials_file: ${join(baseDir, "token")} }`,
      "Authorization",
      ["Authorization: Bearer abc.def"],
    ],
    [
      "http_headers: { X-T: { values: [a, ü], secrets: [s], files: [token] } }",
      "X-T",
      ["X-T: a", "X-T: ü", "X-T: s", "X-T: abc.def"],
    ],
    ["enable_compression: false", "Accept-Encoding", ["Accept-Encoding: identity"]],
    ["follow_redirects: false", "Accept-Encoding", ["Accept-Encoding: gzip, zstd, br"]],
    ["follow_redirects: false", "Authorization", []],
  ];
  for (const [config, header, expected] of cases) {
    t.equal(textOf(await scraping(t, config, { baseDir })(url)), "a 1\n", config);
    t.same(lines(header), expected, config);
  }
});

t.test("a file that changes is followed within seconds, however it is replaced", async (t) => {
  const baseDir = await folder(t);
  const path = join(baseDir, "token");
  const { lines, seen, url } = await mirror(t);
  const hasty = hastyClock();
  const later = () => {
    hasty.aheadMs += 2000;
  };
  const scrape = scraping(t, "bearer_token_file: token", { baseDir, clock: hasty.clock });
  await writeFile(path, "one");
  await scrape(url);
  t.same(lines("Authorization"), ["Authorization: Bearer one"]);
  await writeFile(`${path}.new`, "two");
  await rename(`${path}.new`, path);
  later();
  await scrape(url);
  t.same(lines("Authorization"), ["Authorization: Bearer two"], "by renaming");
  await writeFile(path, "six");
  later();
  await scrape(url);
  t.same(lines("Authorization"), ["Authorization: Bearer six"], "in place, with the same size");
  await rm(path);
  later();
  t.match(await scrape(url), {
    ok: false,
    outcome: "failed_credentials",
    error: `the file with the credentials, ${path}, cannot be read: ENOENT`,
  });
  t.equal(seen.heads.length, 3, "the target is not asked without them");
  await writeFile(path, "seven");
  later();
  t.equal(textOf(await scrape(url)), "a 1\n");
  t.same(lines("Authorization"), ["Authorization: Bearer seven"]);
  t.equal(seen.connections, 1, "over one connection: another token is no reason for another");
});

t.test("files are looked at once for all scrapes of some seconds", async (t) => {
  const baseDir = await folder(t);
  await writeFile(join(baseDir, "token"), "one");
  const { url } = await mirror(t);
  const looks = { stamp: 0, read: 0 };
  const files: FileAccess = {
    stamp(path) {
      looks.stamp++;
      return systemFiles.stamp(path);
    },
    read(path) {
      looks.read++;
      return systemFiles.read(path);
    },
  };
  const scrape = scraping(t, "bearer_token_file: token\nhttp_headers: { X-A: { files: [token] } }", { baseDir, files });
  await Promise.all(Array.from({ length: 50 }, () => scrape(url)));
  for (let i = 0; i < 50; i++) await scrape(url);
  t.same(looks, { stamp: 1, read: 1 });
});

t.test("a file that cannot be had fails its own job's scrapes, with a sentence that names it", async (t) => {
  const baseDir = await folder(t);
  await writeFile(join(baseDir, "lines"), "one\ntwo\n");
  await writeFile(join(baseDir, "large"), Buffer.alloc((4 << 20) + 1, "x"));
  const { seen, url } = await mirror(t);
  const cases: readonly (readonly [config: string, error: string | RegExp])[] = [
    [
      "basic_auth: { username: u, password_file: none }",
      `the file with the password, ${baseDir}/none, cannot be read: ENOENT`,
    ],
    [
      "basic_auth: { username_file: /none, password: p }",
      "the file with the user's name, /none, cannot be read: ENOENT",
    ],
    ["bearer_token_file: .", /^the file with the credentials, .*, cannot be read: EISDIR$/],
    ["bearer_token_file: lines", "the credentials: expected one line without control characters"],
    ["http_headers: { X-A: { files: [lines] } }", "the header X-A: expected one line without control characters"],
    ["http_headers: { X-A: { files: [large] } }", /large, cannot be read: expected at most 4194304 bytes, got more$/],
    [
      "tls_config: { ca_file: none }",
      `the file with the authorities' certificates, ${baseDir}/none, cannot be read: ENOENT`,
    ],
  ];
  for (const [config, error] of cases) {
    t.match(await scraping(t, config, { baseDir })(url), { ok: false, outcome: "failed_credentials", error }, config);
  }
  t.equal(seen.heads.length, 0, "no target was asked");

  const hanging = { stamp: () => new Promise<string>(() => {}), read: systemFiles.read };
  const clock = systemClock();
  const fetcher = httpFetcher({ clock, files: hanging });
  t.teardown(() => fetcher.close());
  const { signal } = new AbortController();
  const request = { url, timeoutMs: 300, bodyBytesMax: 0 };
  const hung = fetcher.fetch({ ...request, http: settingsOf("bearer_token_file: x") }, signal);
  t.equal(textOf(await fetcher.fetch(request, signal)), "a 1\n", "others are not held up");
  t.match(await hung, {
    outcome: "failed_credentials",
    error: "the files of the scrape config were not read within 0.3 s",
  });
});

t.test("a secret that this secondary's topology file has not is asked for by name", async (t) => {
  const { url } = await mirror(t);
  const scrape = scraping(t, "basic_auth: { username: u, password: p }", { secrets: () => undefined });
  t.match(await scrape(url), {
    outcome: "failed_credentials",
    error:
      "the topology file of this secondary has no basic_auth.password for the job node: give it the primaries' file and restart it",
  });
});

t.test("what a target echoes of its credentials is not shown", async (t) => {
  const url = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => {
      const got = /^Authorization: (.*)$/m.exec(head)?.[1]?.trim();
      const key = /^X-Key: (.*)$/m.exec(head)?.[1]?.trim();
      socket.write(`HTTP/1.1 401 ${got} ${key}\r\nContent-Length: 0\r\n\r\n`);
    }),
  );
  const config = (auth: string) => `${auth}\nhttp_headers: { X-Key: { secrets: [key-hunter2] } }`;
  t.match(await scraping(t, config("basic_auth: { username: us, password: hunter2 }"))(url), {
    error: "server returned HTTP status 401 Basic <secret> <secret>",
  });
  t.match(await scraping(t, config("bearer_token: hunter2"))(url), {
    error: "server returned HTTP status 401 Bearer <secret> <secret>",
  });
});

t.test("on a redirect credentials stay with the target's own host and what is below it", async (t) => {
  const lookup: Lookup = (_host, done) => done(null, [{ address: "127.0.0.1", family: 4 }]);
  const there = await mirror(t);
  const port = new URL(there.url).port;
  let to = "";
  const hops: string[] = [];
  const here = await serveSockets(t, (socket) =>
    onRequest(socket, (head) => {
      hops.push(/^Authorization: (.*)$/m.exec(head)?.[1] ?? "none");
      const [path] = /\/\S*/.exec(head)!;
      const next = path === "/back" ? `http://home.example:${port}/` : to;
      socket.write(`HTTP/1.1 302 Found\r\nLocation: ${next}\r\nContent-Length: 0\r\n\r\n`);
    }),
  );
  const home = here.replace("127.0.0.1", "home.example");
  const config =
    "bearer_token: hunter2\nhttp_headers: { X-Open: { values: [a] }, X-Key: { secrets: [b] }, X-Mixed: { values: [c], secrets: [d] } }";
  const scrape = scraping(t, config, { lookup });
  const got = () => ["Authorization", "X-Open", "X-Key", "X-Mixed"].flatMap((name) => there.lines(name));
  const all = ["Authorization: Bearer hunter2", "X-Open: a", "X-Key: b", "X-Mixed: c", "X-Mixed: d"];
  for (const [host, expected] of [
    ["home.example", all],
    ["deep.home.example", all],
    ["awayhome.example", ["X-Open: a"]],
    ["example", ["X-Open: a"]],
    ["127.0.0.1", ["X-Open: a"]],
  ] as const) {
    to = `http://${host}:${port}/metrics`;
    t.equal(textOf(await scrape(home)), "a 1\n", host);
    t.same(got(), expected, host);
  }
  // Away and back again: what was left out stays out.
  to = here.replace("/metrics", "/back");
  hops.length = 0;
  await scrape(home);
  t.same(hops, ["Bearer hunter2", "none"]);
  t.same(got(), ["X-Open: a"]);
  // Credentials in the redirect itself are for where it leads, as in any URL.
  to = `http://user:word@127.0.0.1:${port}/metrics`;
  await scrape(home);
  t.same(got(), ["Authorization: Basic dXNlcjp3b3Jk", "X-Open: a"]);
});

t.test("with follow_redirects: false a redirect is the answer, and fails the scrape", async (t) => {
  const there = await mirror(t);
  const here = await serveSockets(t, (socket) =>
    onRequest(socket, () => socket.write(`HTTP/1.1 302 Found\r\nLocation: ${there.url}\r\nContent-Length: 0\r\n\r\n`)),
  );
  t.match(await scraping(t, "follow_redirects: false")(here), {
    outcome: "failed_status",
    error: "server returned HTTP status 302 Found",
  });
  t.equal(there.seen.heads.length, 0);
  t.equal(textOf(await scraping(t, "follow_redirects: true")(here)), "a 1\n");
});

t.test("each scrape config has connections of its own, from generation to generation", async (t) => {
  const { seen, url } = await mirror(t);
  const fetcher = httpFetcher({ clock: systemClock(), secrets: () => "x" });
  t.teardown(() => fetcher.close());
  const { signal } = new AbortController();
  const scrape = (lines?: string, job?: string) => {
    const http = lines === undefined ? undefined : settingsOf(lines, job);
    return fetcher.fetch({ url, timeoutMs: 2000, bodyBytesMax: 0, http }, signal);
  };
  for (let i = 0; i < 3; i++) await scrape();
  t.equal(seen.connections, 1);
  for (let i = 0; i < 3; i++) await scrape("bearer_token: x");
  t.equal(seen.connections, 2, "another's is not used");
  for (let i = 0; i < 3; i++) await scrape("bearer_token: x", "other");
  t.equal(seen.connections, 3, "not even by one that says the same");
  for (let i = 0; i < 3; i++) await scrape();
  t.equal(seen.connections, 3);
});
