import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent, get } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { fleetBody, formatGo } from "#/cli/fleet/body.ts";
import { readFault } from "#/cli/fleet/faults.ts";
import { shareOf, writeFileSd } from "#/cli/fleet/filesd.ts";
import { type Fleet, type Framing, startFleet } from "#/cli/fleet/server.ts";
import { addressOfTarget, type FleetRow, fleetValue, targetOfAddress, targetsFrom } from "#/cli/fleet/values.ts";
import { systemClock } from "#/lib/clock/clock.ts";

const timeMs = 1_790_000_000_123;

async function withFleet(
  options: { targets: number; rows?: number; framing?: Framing },
  use: (fleet: Fleet) => Promise<void>,
): Promise<void> {
  const fleet = await startFleet({
    targets: options.targets,
    body: fleetBody(options.rows ?? 100),
    // Addresses of this file's own, so that no port can be taken by a demo.
    firstAddress: "127.71.3.250",
    port: 0,
    framing: options.framing ?? "mixed",
    clock: systemClock(),
  });
  try {
    await use(fleet);
  } finally {
    await fleet.close();
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly chunked: boolean;
  readonly reused: boolean;
}

function fetchText(url: string, agent?: Agent, timeoutMs = 5000): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: agent ?? false, timeout: timeoutMs }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode!,
          text: Buffer.concat(parts).toString("latin1"),
          chunked: response.headers["transfer-encoding"] === "chunked",
          reused: request.reusedSocket,
        }),
      );
    });
    request.on("timeout", () => request.destroy(Object.assign(new Error("no answer"), { code: "TIMEOUT" })));
    request.on("error", reject);
  });
}

/** Sends bytes, possibly in pieces, and resolves with everything that came until the far end closed. */
function exchange(address: string, pieces: readonly string[]): Promise<string> {
  const [host, port] = address.split(":") as [string, string];
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), noDelay: true });
    let got = "";
    socket.setEncoding("latin1");
    socket.on("data", (text) => {
      got += text;
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(got));
    void (async () => {
      for (const piece of pieces) {
        socket.write(piece);
        await systemClock().sleep(5);
      }
      socket.end();
    })();
  });
}

/** Series text to value, read as any client would. */
function parse(text: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const at = line.lastIndexOf(" ");
    values.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return values;
}

const keyOf = (row: FleetRow) => (row.labels === "" ? row.name : `${row.name}{${row.labels}}`);

t.test("known rows have known values", async (t) => {
  // Worked out by hand from the definitions, for target 3 at that time.
  const row = (name: string, motion: FleetRow["motion"]): FleetRow => ({ name, labels: "", motion, seed: 1 });
  t.equal(fleetValue(3, row("a", { kind: "clock_ms" }), timeMs), 1_790_000_000_123);
  t.equal(fleetValue(3, row("a", { kind: "clock_seconds" }), timeMs), 1_790_000_000.123);
  t.equal(fleetValue(3, row("a", { kind: "fixed", value: 1 }), timeMs), 1);
});

t.test("a body has exactly as many series as were asked for, none twice, and every family once", async (t) => {
  for (const rows of [20, 100, 961]) {
    const body = fleetBody(rows);
    const text = body.render(7, timeMs);
    t.equal(parse(text).size, rows);
    const types = text.split("\n").filter((line) => line.startsWith("# TYPE "));
    t.equal(new Set(types).size, types.length);
    t.equal(types.length, text.split("\n").filter((line) => line.startsWith("# HELP ")).length);
  }
});

t.test("about 37 % of a body's values change between two scrapes, and counters never fall", async (t) => {
  const body = fleetBody(961);
  let changed = 0;
  for (const row of body.rows) {
    const [before, after] = [fleetValue(3, row, timeMs), fleetValue(3, row, timeMs + 15_000)];
    if (before !== after) changed += 1;
    if (row.name.endsWith("_total") || row.motion.kind === "bucket") t.ok(after >= before, keyOf(row));
  }
  t.ok(Math.abs(changed / 961 - 0.37) < 0.01, `${changed} of 961 changed`);
});

t.test("a histogram's buckets are cumulative and end with its count", async (t) => {
  const values = parse(fleetBody(100).render(5, timeMs));
  const buckets = [...values].filter(([key]) => key.includes("_bucket{")).map(([, value]) => value);
  t.equal(buckets.length, 6);
  t.same(
    buckets,
    buckets.toSorted((a, b) => a - b),
  );
  t.equal(buckets.at(-1), values.get("fleet_request_duration_seconds_count"));
});

t.test("values are written as node_exporter writes them", async (t) => {
  t.equal(formatGo(0), "0");
  t.equal(formatGo(999_999.5), "999999.5");
  t.equal(formatGo(1_500_000), "1.5e+06");
  t.equal(formatGo(1_790_000_000.123), "1.790000000123e+09");
  t.equal(formatGo(0.000_025), "2.5e-05");
  t.equal(formatGo(-2_000_000), "-2e+06");
});

t.test("every value of every target equals its function at the body's own time, in every framing", async (t) => {
  const body = fleetBody(100);
  for (const framing of ["length", "chunked", "mixed"] as const) {
    await withFleet({ targets: 20, framing }, async (fleet) => {
      for (let target = 0; target < fleet.targets; target++) {
        const beforeMs = Date.now();
        const { text, chunked, status } = await fetchText(`http://${fleet.addressOf(target)}/metrics`);
        t.equal(status, 200);
        t.equal(chunked, framing === "chunked" || (framing === "mixed" && target % 2 === 1));
        const values = parse(text);
        t.equal(values.size, 100);
        const bodyMs = values.get("fleet_time_ms")!;
        t.ok(bodyMs >= beforeMs - 5 && bodyMs <= Date.now() + 5, "the body tells the present time");
        const wrong = body.rows.filter((row) => values.get(keyOf(row)) !== fleetValue(target, row, bodyMs));
        t.same(wrong, []);
      }
    });
  }
});

t.test("many clients at once, on connections that they keep, all get whole bodies", async (t) => {
  await withFleet({ targets: 10, rows: 300 }, async (fleet) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    const answers: Answer[] = [];
    for (let round = 0; round < 10; round++) {
      const urls = Array.from({ length: 40 }, (_, i) => `http://${fleet.addressOf(i % 10)}/metrics`);
      answers.push(...(await Promise.all(urls.map((url) => fetchText(url, agent)))));
    }
    t.ok(answers.every(({ text }) => parse(text).size === 300));
    t.ok(answers.filter(({ reused }) => reused).length >= 360, "connections were used again");
    t.equal(fleet.scrapes, 400);
    agent.destroy();
  });
});

t.test("odd but lawful HTTP is answered rightly", async (t) => {
  await withFleet({ targets: 2, rows: 20 }, async (fleet) => {
    const [even, odd] = [fleet.addressOf(0), fleet.addressOf(1)];
    const request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

    const piecewise = await exchange(even, [...request]);
    t.match(piecewise, /^HTTP\/1\.1 200 OK\r\n/, "one byte at a time");
    t.match(piecewise, /fleet_time_ms/);

    const ahead = await exchange(odd, [request + request + request]);
    t.equal(ahead.split("HTTP/1.1 200 OK").length - 1, 3, "three requests in one piece have three answers");

    const old = await exchange(odd, ["GET /metrics HTTP/1.0\r\n\r\n"]);
    t.notMatch(old, /chunked/i, "HTTP/1.0 knows no chunks");
    t.match(old, /Connection: close/);
    t.match(old, /fleet_time_ms/);

    const head = await exchange(even, ["HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"]);
    t.match(head, /Content-Length: \d{3,}\r\n/);
    t.notMatch(head, /fleet_time_ms/);

    t.match(await exchange(even, ["GET /metrics?collect[]=cpu HTTP/1.1\r\nHost: x\r\n\r\n"]), /200 OK/);
    t.match(await exchange(even, ["GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n"]), /404 Not Found/);
    t.match(await exchange(even, ["POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n"]), /405 Method Not Allowed/);
    t.match(await exchange(even, ["PUT / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd"]), /413 Content Too Large/);
    t.match(await exchange(even, ["what is this\r\n\r\n"]), /400 Bad Request/);
    t.match(await exchange(even, ["GET /metrics HTTP/1.1\r\nA: ", "b".repeat(20_000)]), /431 /);
  });
});

t.test("each fault does what it says, to its targets and to no other", async (t) => {
  await withFleet({ targets: 14, rows: 20 }, async (fleet) => {
    const url = (target: number) => `http://${fleet.addressOf(target)}/metrics`;
    await fleet.setFaults(
      ["slow:300ms=0", "dead=1", "hang=2", "status=3", "html=4", "garbage=5", "half=6-7", "layout=8"].map(readFault),
    );
    const startMs = performance.now();
    const slow = await fetchText(url(0));
    t.ok(performance.now() - startMs >= 295, "slow");
    t.equal(parse(slow.text).size, 20);
    await t.rejects(fetchText(url(1)), { code: "ECONNREFUSED" }, "dead");
    await t.rejects(fetchText(url(2), undefined, 150), { code: "TIMEOUT" }, "hanging");
    t.equal((await fetchText(url(3))).status, 500);
    t.match((await fetchText(url(4))).text, /<html>/);
    t.ok((await fetchText(url(5))).text.startsWith("\x00\xff\xfe"), "garbage");
    await t.rejects(fetchText(url(6)), { code: "ECONNRESET" }, "half a body with its length");
    await t.rejects(fetchText(url(7)), { code: "ECONNRESET" }, "half a body of a chunked target");
    const [first, second] = [parse((await fetchText(url(8))).text), parse((await fetchText(url(8))).text)];
    t.notSame([...first.keys()], [...second.keys()], "the layout changes");
    t.ok(first.has("fleet_time_ms") && second.has("fleet_time_ms"));
    t.equal(parse((await fetchText(url(9))).text).size, 20, "a target beside them is well");
    t.equal(fleet.spoiled, 10, "eight answers to others and two to the one whose layout changes, and one that refuses");

    await fleet.setFaults(["huge=1", "duplicate=2", "future=3", "label=4"].map(readFault));
    t.equal(await bytesUntil(url(1), 3_000_000), true, "huge");
    t.match((await fetchText(url(2))).text, /fleet_twice\{a="1"\} 1\nfleet_twice\{a="1"\} 2\n/);
    const [, futureMs] = /fleet_future 1 (\d+)\n/.exec((await fetchText(url(3))).text)!;
    t.ok(Math.abs(Number(futureMs) - Date.now() - 31_536_000_000) < 5000, "a year ahead");
    t.match((await fetchText(url(4))).text, /caf\xe9"/);

    await fleet.setFaults([]);
    for (let target = 0; target < 14; target++) t.equal(parse((await fetchText(url(target))).text).size, 20);
  });
});

/** Whether more than that many bytes come; then the client has enough. */
function bytesUntil(url: string, enough: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const request = get(url, (response) => {
      let bytes = 0;
      response.on("data", (part: Buffer) => {
        bytes += part.length;
        if (bytes < enough) return;
        resolve(true);
        request.destroy();
      });
      response.on("end", () => resolve(false));
      response.on("error", () => {});
    });
    request.on("error", reject);
  });
}

t.test("a fault that is not understood is refused with what would be", async (t) => {
  t.same(readFault("slow:1500ms=10-19"), { kind: "slow", firstTarget: 10, lastTarget: 19, delayMs: 1500 });
  t.throws(() => readFault("dead"), {
    message: 'a fault looks like dead=5, half=10-19 or slow:1500ms=0-3, got "dead"',
  });
  t.throws(() => readFault("ded=5"), { message: /"ded" is no fault; known are slow, dead, hang,/ });
  t.throws(() => readFault("dead:5ms=1"), { message: 'only slow takes a delay, got "dead:5ms=1"' });
  t.throws(() => readFault("dead=9-5"), { message: '"dead=9-5": the range ends before it begins' });
});

t.test("addresses follow one another over the end of a number", async (t) => {
  t.equal(addressOfTarget("127.64.0.1", 0), "127.64.0.1");
  t.equal(addressOfTarget("127.64.0.1", 254), "127.64.0.255");
  t.equal(addressOfTarget("127.64.0.1", 255), "127.64.1.0");
  t.equal(addressOfTarget("127.64.0.1", 65_535), "127.65.0.0");
  t.equal(targetOfAddress("127.64.0.1", "127.64.1.0"), 255);
  t.equal(targetsFrom("127.255.255.250"), 5);
});

t.test("discovery files hold every target once, split in neighbours", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-fleet-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const addresses = ["127.64.0.1:9100", "127.64.0.2:9100", "127.64.0.3:9100"];
  const file = join(dir, "sd", "fleet.json");
  t.same(await writeFileSd({ file, addresses, labels: { rack: "1" }, split: 2 }), [
    join(dir, "sd", "fleet-1.json"),
    join(dir, "sd", "fleet-2.json"),
  ]);
  t.same(JSON.parse(await readFile(join(dir, "sd", "fleet-1.json"), "utf8")), [
    { targets: ["127.64.0.1:9100"], labels: { rack: "1" } },
  ]);
  t.same(JSON.parse(await readFile(join(dir, "sd", "fleet-2.json"), "utf8")), [
    { targets: ["127.64.0.2:9100", "127.64.0.3:9100"], labels: { rack: "1" } },
  ]);
  t.same(await writeFileSd({ file, addresses, labels: {}, split: 1 }), [file]);
  t.same(
    [0, 1, 2].map((part) => shareOf(100, part, 3)),
    [
      [0, 33],
      [33, 66],
      [66, 100],
    ],
  );
});
