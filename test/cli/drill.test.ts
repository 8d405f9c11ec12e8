import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { type Account, type Blow, judge, missingInExcess, reportText } from "#/cli/drill/account.ts";
import { replicasOf } from "#/cli/drill/compare.ts";
import { mountSmallDisks } from "#/cli/drill/disk.ts";
import { watchBlow } from "#/cli/drill/evidence.ts";
import type { DemoStatus, Federation } from "#/cli/drill/federation.ts";
import { kindsText, kindsThatNeverHit, notPromisedText, replicasText, verdictText } from "#/cli/drill/report.ts";
import { faultKinds, type Step, stepText, type World, writeScript } from "#/cli/drill/script.ts";
import { countSlots, type ReadTarget, rowKey, type Sample } from "#/cli/drill/slots.ts";
import { unscrapedMsMax } from "#/cli/drill/strike.ts";
import { endedAlone } from "#/cli/drill/well.ts";
import { fleetBody } from "#/cli/fleet/body.ts";
import { fleetValue } from "#/cli/fleet/values.ts";

const intervalMs = 5000;
const fleet = fleetBody(20).rows;
const beginMs = 1_790_000_000_000;
/** Slots are due at 1234 ms past a multiple of the interval. */
const dueMs = (slot: number) => beginMs + 1234 + slot * intervalMs;
const span = { fromMs: beginMs, untilMs: beginMs + 8 * intervalMs, intervalMs };

const byTarget = <T>(values: readonly T[]): ReadonlyMap<number, T> => new Map(values.entries());

/** Target 7 as a perfect store would answer for it: eight slots, the body made 3 ms after each began. */
function perfect(slots: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7]): ReadTarget {
  const rows = new Map<string, Sample[]>();
  for (const row of fleet) {
    rows.set(
      rowKey(row),
      slots.map((slot) => [dueMs(slot), fleetValue(7, row, dueMs(slot) + 3)]),
    );
  }
  return { target: 7, up: slots.map((slot) => [dueMs(slot), 1]), rows };
}

t.test("a target whose every slot is stored and right has nothing to account for", async (t) => {
  t.same(countSlots(perfect(), fleet, span), {
    slots: 8,
    told: 8,
    missingMs: [],
    doubledMs: [],
    failedMs: [],
    incomplete: [],
    wrong: [],
    compared: 160,
  });
});

t.test(
  "a slot that was due before the time that counts is none of it, though it was scraped late within it",
  async (t) => {
    const late: ReadTarget = {
      target: 7,
      up: [
        [beginMs + 100, 1],
        [dueMs(1), 1],
        [dueMs(2), 1],
        [dueMs(3), 1],
      ],
      rows: new Map(),
    };
    const { missingMs, slots, told } = countSlots(late, [], { ...span, untilMs: dueMs(3) });
    t.same([slots, told, missingMs], [3, 2, [dueMs(0)]]);
  },
);

t.test("missing slots are told by when they were due, also those after the last sample", async (t) => {
  const { missingMs } = countSlots(perfect([0, 1, 4, 5, 6]), fleet, span);
  t.same(missingMs, [dueMs(2), dueMs(3), dueMs(7)]);
  t.equal(countSlots({ target: 7, up: [], rows: new Map() }, fleet, span).missingMs.length, 7);
});

t.test("a scrape that began late still counts for its own slot, and a second one is double", async (t) => {
  const read = perfect();
  const late = {
    ...read,
    up: read.up.map(([timeMs, value]): Sample => (timeMs === dueMs(3) ? [timeMs + 4800, value] : [timeMs, value])),
  };
  t.same(countSlots(late, [], span).missingMs, []);
  const twice = { ...read, up: [...read.up, [dueMs(3) + 40, 1] as const].sort(([a], [b]) => a - b) };
  t.same(countSlots(twice, [], span).doubledMs, [dueMs(3) + 40]);
});

t.test("a value that is off by one bit, a lost row and a stray sample are each found", async (t) => {
  const key = 'fleet_request_duration_seconds_bucket{le="0.02"}';
  const samples = perfect().rows.get(key)!;
  const with_ = (changed: readonly Sample[]) => ({ ...perfect(), rows: new Map([...perfect().rows, [key, changed]]) });

  const wrong = countSlots(
    with_(samples.map(([timeMs, value], i) => [timeMs, i === 2 ? value + 1 : value])),
    fleet,
    span,
  );
  t.equal(wrong.wrong.length, 1);
  t.match(wrong.wrong[0], `${key} at ${dueMs(2)}: expected ${samples[2]![1]}, got ${samples[2]![1] + 1}`);

  const lost = countSlots(with_(samples.slice(1)), fleet, span);
  t.same(lost.incomplete, [`${key} at ${dueMs(0)} is missing`]);

  const stray = countSlots(with_([...samples, [dueMs(7) + 1, 5]]), fleet, span);
  t.same(stray.incomplete, [`${key} at ${dueMs(7) + 1} belongs to no stored scrape`]);
});

t.test("a slot that failed by its target is not missing, and has no rows", async (t) => {
  const read = perfect();
  const rows = new Map(
    [...read.rows].map(([key, samples]) => [key, samples.filter(([timeMs]) => timeMs !== dueMs(4))]),
  );
  const up = read.up.map(([timeMs, value]): Sample => [timeMs, timeMs === dueMs(4) ? 0 : value]);
  const counts = countSlots({ target: 7, up, rows }, fleet, span);
  t.same(counts.failedMs, [dueMs(4)]);
  t.same([counts.missingMs, counts.incomplete, counts.wrong], [[], [], []]);
});

t.test(
  "a missing slot is excused by the last blow before it, for the targets and as often as that blow may cost",
  async (t) => {
    const blow = (name: string, atMs: number, targets: number[], allowedSlots: number): Blow => ({
      name,
      kind: "kill",
      atMs,
      downMs: 3000,
      hit: true,
      allowedTargets: new Set(targets),
      allowedSlots,
    });
    const blows = [blow("ams-secondary-1", dueMs(2), [0], 1), blow("global-1", dueMs(5) + 1000, [], 0)];
    const missing = (slots: number[]) => ({ ...countSlots(perfect(), fleet, span), missingMs: slots.map(dueMs) });
    const judged = (...targets: number[][]) => judge({ blows, counts: byTarget(targets.map(missing)), intervalMs });

    t.same(judged([2], []).breaches, []);
    t.same(judged([1], []).breaches, [], "the scrape before the kill died with the process");
    t.same(judged([2, 3], []).breaches, [
      "ams-secondary-1: 1 slots are missing beyond what is allowed; of servers 0 (14:13:31, 14:13:36)",
    ]);
    t.same(judged([], [2]).breaches, [
      "ams-secondary-1: 1 slots are missing beyond what is allowed; of servers 1 (14:13:31)",
    ]);
    t.same(judged([6], []).breaches, ["global-1: 1 slots are missing beyond what is allowed; of servers 0 (14:13:51)"]);
    t.same(judged([0], []).breaches, ["no blow: 1 slots are missing beyond what is allowed; of servers 0 (14:13:21)"]);
    t.equal(missingInExcess(blows, byTarget([[dueMs(2), dueMs(3)], [dueMs(6)]]), intervalMs), 2);

    const double = { ...missing([]), doubledMs: [dueMs(6)] };
    t.same(judge({ blows, counts: byTarget([double]), intervalMs }).breaches, ["global-1: 1 slots are there twice"]);
    const wrong = { ...missing([]), wrong: ["up at 1: expected 1, got 0"] };
    t.same(judge({ blows, counts: byTarget([wrong]), intervalMs }).breaches, ["1 values are wrong"]);
    t.same(judge({ blows: [], counts: new Map(), intervalMs }).breaches, ["no sample was there to compare"]);
  },
);

t.test("the report has a line a blow and both sums", async (t) => {
  const blows: Blow[] = [
    {
      name: "ams-secondary-1",
      kind: "kill",
      atMs: dueMs(2),
      downMs: 3400,
      hit: true,
      allowedTargets: new Set([0]),
      allowedSlots: 1,
    },
  ];
  const counts = byTarget([countSlots(perfect([0, 1, 3, 4, 5, 6, 7]), fleet, span)]);
  const text = reportText("global-1", blows, judge({ blows, counts, intervalMs }));
  t.equal(
    text,
    [
      "As global-1 tells it (missing: no outcome is stored; allowed: slots × servers; failed: stored with up 0):",
      "                        at   down   slots missing  most a target  allowed  failed  doubled",
      "ams-secondary-1   14:13:31  3.4 s  1 of 1 targets              1    1 × 1       0        0",
      "before the first                                0              0        0       0        0",
      "8 slots: 1 missing, of them 0 beyond what is allowed, 0 doubled, 0 failed",
      "140 samples compared: 0 wrong, 0 missing from stored scrapes",
    ].join("\n"),
  );
});

t.test(
  "where blows overlap, a missing slot belongs to the one that may cost it, and only while that one lasts",
  async (t) => {
    const common = { downMs: 3000, hit: true, allowedTargets: new Set<number>(), allowedSlots: 0 } as const;
    const blows: Blow[] = [
      { ...common, name: "kill", kind: "kill", atMs: dueMs(2), allowedTargets: new Set([0]), allowedSlots: 1 },
      { ...common, name: "cut", kind: "cut", atMs: dueMs(2) + 1000 },
    ];
    const missing = (slots: number[]) => ({ ...countSlots(perfect(), fleet, span), missingMs: slots.map(dueMs) });
    t.same(judge({ blows, counts: byTarget([missing([2])]), intervalMs }).breaches, []);
    t.same(judge({ blows, counts: byTarget([missing([3])]), intervalMs }).perBlow[0]?.missing, 1);
    t.same(judge({ blows, counts: byTarget([missing([5])]), intervalMs }).breaches, [
      "cut: 1 slots are missing beyond what is allowed; of servers 0 (14:13:46)",
    ]);
    const late = [{ ...blows[0]!, allowedSlots: 9 }];
    t.same(
      judge({ blows: late, counts: byTarget([missing([2, 3, 5])]), intervalMs }).breaches,
      ["kill: 1 slots are missing beyond what is allowed; of servers 0 (14:13:31, 14:13:36, 14:13:46)"],
      "what is missing long after a blow is not excused by it, however much it may cost",
    );
    const paused = [
      { ...blows[1]!, name: "pause", atMs: dueMs(2), downMs: 8000 },
      { ...blows[1]!, name: "next", atMs: dueMs(4) + 100 },
    ];
    t.match(judge({ blows: paused, counts: byTarget([missing([3])]), intervalMs }).breaches, [/^pause: 1 slots/]);
  },
);

t.test(
  "rows that a hurt server left out are not missing; the same scrape of another server is incomplete",
  async (t) => {
    const key = rowKey(fleet.find(({ name }) => name !== "fleet_time_ms")!);
    const read = perfect();
    const rows = new Map(read.rows);
    rows.set(key, read.rows.get(key)!.slice(1));
    const hurt = countSlots({ ...read, rows }, fleet, { ...span, mayLackRows: (timeMs) => timeMs === dueMs(0) });
    t.same(hurt.incomplete, []);
    t.same(countSlots({ ...read, rows }, fleet, span).incomplete, [`${key} at ${dueMs(0)} is missing`]);
  },
);

const world: World = {
  datacenters: ["ams", "nyc"],
  processes: [
    { name: "hub-nats", role: "nats" },
    { name: "ams-nats", role: "nats" },
    { name: "global-1", role: "global" },
    { name: "ams-primary-1", role: "primary" },
    { name: "ams-secondary-1", role: "secondary" },
    { name: "fleet", role: "fleet" },
    { name: "node-exporter", role: "node-exporter" },
  ],
  smallDisks: ["ams-primary-1", "ams-secondary-1"],
  targets: 50,
};

t.test("a seed writes the same script each time, and another seed another one", async (t) => {
  const script = writeScript({ seed: 42, minutes: 10, world });
  t.same(writeScript({ seed: 42, minutes: 10, world }), script);
  t.notSame(writeScript({ seed: 43, minutes: 10, world }), script);
});

t.test("ten minutes bring every kind of fault, each on something that exists and within its bounds", async (t) => {
  const names = world.processes.map(({ name }) => name).filter((name) => name !== "node-exporter");
  for (let seed = 0; seed < 200; seed++) {
    const script = writeScript({ seed, minutes: 10, world });
    t.same(new Set(script.map(({ kind }) => kind)), new Set(Object.keys(faultKinds)), `seed ${seed}`);
    const all: Step[] = script.flatMap((step) => (step.within ? [step, step.within] : [step]));
    for (const { kind, subject, lengthMs } of all) {
      const known = {
        kill: names,
        pause: names,
        cut: world.datacenters,
        cut_one_way: world.datacenters,
        wipe: world.datacenters,
        disk_full: world.smallDisks,
        target: [subject],
      }[kind];
      if (!known.includes(subject)) t.fail(`${kind} ${subject}`);
      if (kind === "pause" && (lengthMs < 1000 || lengthMs > 20_000)) t.fail(`a pause of ${lengthMs} ms`);
    }
    const killed = new Set(all.filter(({ kind }) => kind === "kill").map(({ subject }) => subject));
    for (const role of ["secondary", "primary", "global", "nats"]) {
      if (!world.processes.some((one) => one.role === role && killed.has(one.name)))
        t.fail(`seed ${seed} kills no ${role}`);
    }
    const filled = all.filter(({ kind }) => kind === "disk_full").map(({ subject }) => subject);
    if (filled.length > 1 && new Set(filled).size < 2)
      t.fail(`seed ${seed} fills ${filled.length} times the same disk`);
    const lastsMs = script.reduce((sum, { lengthMs, restMs }) => sum + lengthMs + restMs, 0);
    t.ok(lastsMs > 5 * 60_000 && lastsMs < 11 * 60_000, `${lastsMs} ms`);
  }
  const withoutDisks = writeScript({ seed: 1, minutes: 10, world: { ...world, smallDisks: [] } });
  t.notOk(withoutDisks.some(({ kind }) => kind === "disk_full"));
});

t.test("a step is told in one line", async (t) => {
  const kill: Step = { kind: "kill", subject: "fleet", direction: "both", lengthMs: 0, restMs: 0, within: undefined };
  t.equal(stepText(kill), "kill fleet");
  const cut: Step = { ...kill, kind: "cut_one_way", subject: "ams", direction: "out", lengthMs: 12_340, within: kill };
  t.equal(stepText(cut), "cut_one_way outward ams 12.3 s, within it kill fleet");
});

t.test("the seeded report counts each kind, also those that never came, and names what is not promised", async (t) => {
  const blows: Blow[] = [
    {
      name: "1 kill ams-secondary-1",
      kind: "kill",
      atMs: dueMs(2),
      downMs: 3400,
      hit: true,
      allowedTargets: new Set([0]),
      allowedSlots: 1,
      excuse: "killed secondary",
    },
  ];
  const counts = byTarget([{ ...countSlots(perfect([0, 1, 4, 5, 6, 7]), fleet, span), failedMs: [dueMs(4)] }]);
  const account = judge({ blows, counts, intervalMs });
  const [head, ...rows] = kindsText(blows, account).split("\n");
  t.equal(head, "kind         times  hit  seconds  slots missing  beyond  doubled  failed");
  t.same(rows.slice(0, 7), [
    "kill             1    1        3              2       1        0       1",
    "pause            0    0        0              0       0        0       0",
    "cut              0    0        0              0       0        0       0",
    "cut_one_way      0    0        0              0       0        0       0",
    "wipe             0    0        0              0       0        0       0",
    "disk_full        0    0        0              0       0        0       0",
    "target           0    0        0              0       0        0       0",
  ]);
  const text = notPromisedText(blows, account);
  t.match(text, "\n  killed secondary: 1 slots (");
  t.match(text, "\n  paused secondary: 0 slots (");
  t.match(text, "\n  failed scrape: 1 slots (");
});

t.test("a blow has hit when the place that it must show in shows it, and not before", async (t) => {
  let page = "";
  const server = createServer((_request, response) => response.end(page)).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.once("listening", resolve));
  const httpUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  t.teardown(() => child.kill("SIGKILL"));
  const view = { name: "ams-secondary-1", role: "secondary", datacenter: "ams", httpUrl, pid: child.pid };
  const status = { processes: [view] } as unknown as DemoStatus;
  let spoiled = 3;
  const federation = { process: async () => view, spoiled: async () => spoiled } as unknown as Federation;
  const watch = (kind: Step["kind"], subject: string) =>
    watchBlow(federation, status, { kind, subject, direction: "both", lengthMs: 6000, restMs: 0, within: undefined });

  const pause = await watch("pause", "ams-secondary-1");
  t.equal(await pause(), false);
  child.kill("SIGSTOP");
  // A signal takes a moment to be delivered.
  for (let look = 0; look < 100 && !(await pause()); look++) await new Promise((resolve) => setTimeout(resolve, 10));
  t.equal(await pause(), true);

  page = "heliograph_secondary_spool_batches 1\nheliograph_secondary_spool_batches_max 99\n";
  const cut = await watch("cut", "ams");
  const elsewhere = await watch("cut", "nyc");
  page = "heliograph_secondary_spool_batches 3\n";
  t.equal(await cut(), false, "two batches of six");
  page = "heliograph_secondary_spool_batches 4\n";
  t.equal(await cut(), true);
  t.equal(await elsewhere(), false, "another data centre's spools say nothing of it");

  page = 'heliograph_journal_write_errors_total{datacenter="ams"} 2\n';
  const full = await watch("disk_full", "ams-secondary-1");
  page += "heliograph_secondary_spool_write_seconds_count 7\n";
  t.equal(await full(), false);
  page += "heliograph_secondary_spool_write_errors_total 1\n";
  t.equal(await full(), true);

  const target = await watch("target", "half=1");
  t.equal(await target(), false);
  spoiled += 1;
  t.equal(await target(), true);
});

t.test("a blow that missed its mark is named, and a kind that never hit fails the drill", async (t) => {
  const common = { downMs: 3000, atMs: dueMs(2), allowedTargets: new Set<number>(), allowedSlots: 0 } as const;
  const blows: Blow[] = [
    { ...common, name: "1 pause fleet 3.0 s", kind: "pause", hit: false },
    { ...common, name: "2 cut ams 5.0 s", kind: "cut", hit: false },
    { ...common, name: "3 cut nyc 5.0 s", kind: "cut", hit: true },
  ];
  const account = judge({ blows, counts: byTarget([countSlots(perfect(), fleet, span)]), intervalMs });
  const text = kindsText(blows, account);
  t.match(text, /\npause +1 +0 +3 /);
  t.match(text, /\ncut +2 +1 +6 /);
  t.match(
    text,
    "\nMissed its mark: 1 pause fleet 3.0 s (not seen: the kernel calls the process stopped, just before it goes on)",
  );
  t.match(text, "\nMissed its mark: 2 cut ams 5.0 s (not seen: batches pile up");
  t.same(kindsThatNeverHit(blows), ["pause came 1 times and never hit"]);
});

t.test(
  "a failed scrape belongs to the blow that may have made it fail, also when another one came since",
  async (t) => {
    const common = { downMs: 12_000, hit: true, allowedTargets: new Set<number>(), allowedSlots: 0 } as const;
    const blows: Blow[] = [
      { ...common, name: "pause fleet", kind: "pause", atMs: dueMs(2), mayFail: new Set([0]) },
      { ...common, name: "kill global-1", kind: "kill", atMs: dueMs(3), downMs: 1000 },
    ];
    const failed = (slot: number) => ({ ...countSlots(perfect(), fleet, span), failedMs: [dueMs(slot)] });
    const judged = (slot: number) => judge({ blows, counts: byTarget([failed(slot)]), intervalMs }).perBlow;
    t.same(
      judged(4).map((line) => line.failed),
      [1, 0, 0],
    );
    t.same(
      judged(7).map(({ failed, failedUnhurt }) => [failed, failedUnhurt]),
      [
        [0, 0],
        [1, 1],
        [0, 0],
      ],
    );
  },
);

t.test("globals must have every server's samples, primaries those of their own data centre", async (t) => {
  const process = (name: string, role: string, datacenter: string) => ({
    name,
    role,
    datacenter,
    httpUrl: `http://${name}`,
  });
  const processes = [
    process("ams-primary-1", "primary", "ams"),
    process("nyc-primary-1", "primary", "nyc"),
    process("nyc-secondary-1", "secondary", "nyc"),
    process("global-1", "global", ""),
  ];
  const status = { datacenters: [{ name: "ams" }, { name: "nyc" }], fleet: { targets: 5 }, processes };
  t.same(replicasOf(status as unknown as DemoStatus), [
    { name: "global-1", httpUrl: "http://global-1", targets: [0, 1, 2, 3, 4] },
    { name: "ams-primary-1", httpUrl: "http://ams-primary-1", targets: [0, 1] },
    { name: "nyc-primary-1", httpUrl: "http://nyc-primary-1", targets: [2, 3, 4] },
  ]);
});

t.test("a replica that tells the same is not told twice, and one that tells otherwise is told in full", async (t) => {
  const replica = (name: string, targets: number[]) => ({ name, httpUrl: "", targets });
  const accountOf = (...targets: (readonly number[])[]): Account =>
    judge({
      blows: [],
      counts: byTarget(targets.map((slots) => countSlots(perfect(slots), fleet, span))),
      intervalMs,
    });
  const whole = [0, 1, 2, 3, 4, 5, 6, 7];
  const text = replicasText(
    [],
    [
      { replica: replica("global-1", [0, 1]), account: accountOf(whole, whole) },
      { replica: replica("global-2", [0, 1]), account: accountOf(whole, whole) },
      { replica: replica("ams-primary-1", [0]), account: accountOf(whole) },
      { replica: replica("ams-primary-2", [0]), account: accountOf([0, 1, 2, 3, 4, 5, 6]) },
    ],
  );
  const [first, second, third, fourth] = text.split("\n\n");
  t.match(first, /^As global-1 tells it .*:\n.*\nbefore the first .*\n16 slots: 0 missing/s);
  t.equal(second, "As global-2 tells it: the same as global-1, line by line.");
  t.match(third, /^As ams-primary-1 tells it, of its 1 servers:\n8 slots: 0 missing/);
  t.match(
    fourth,
    /^As ams-primary-2 tells it .*:\n.*BREACH: no blow: 1 slots are missing beyond what is allowed; of servers 0 \(14:13:56\)$/s,
  );
});

t.test("the last line says passed or failed, and what the pass left out", async (t) => {
  const blows: Blow[] = [
    {
      ...({ name: "kill", kind: "kill", atMs: dueMs(2), downMs: 3000, hit: true } as const),
      allowedTargets: new Set([0]),
      allowedSlots: 1,
    },
  ];
  const account = judge({
    blows,
    counts: byTarget([countSlots(perfect([0, 1, 3, 4, 5, 6, 7]), fleet, span)]),
    intervalMs,
  });
  t.match(verdictText(blows, { account, breaches: 0 }), /^PASSED: 0 lost and 0 doubled .*; 1 slots lost to what/);
  t.equal(verdictText(blows, { account, breaches: 2 }), "FAILED: 2 breaches, each named above.");
});

t.test(
  "a lost secondary may cost slots until others take over, and longer only where something else is hurt",
  async (t) => {
    const lost = { isAlone: true, intervalMs: 5000 };
    t.equal(unscrapedMsMax({ ...lost, downMs: 1200 }), 1200, "it is back before");
    t.equal(unscrapedMsMax({ ...lost, downMs: 20_000 }), 7500, "a lease of 2.5 s, and 5 s to hand over");
    t.equal(unscrapedMsMax({ ...lost, downMs: 20_000, isAlone: false }), 20_000);
  },
);

t.test("a process that ended without having been killed is named", async (t) => {
  const status = (starts: Record<string, number>) =>
    ({
      dataDir: "/d",
      processes: Object.entries(starts).map(([name, count]) => ({ name, starts: count })),
    }) as unknown as DemoStatus;
  const before = status({ "global-1": 1, "ams-nats": 2, fleet: 1 });
  const after = status({ "global-1": 3, "ams-nats": 3, fleet: 2 });
  const kills = new Map([
    ["global-1", 1],
    ["ams-nats", 1],
  ]);
  t.same(endedAlone(before, after, kills), [
    "global-1 ended by itself, 1 times (see /d/logs/global-1.log)",
    "fleet ended by itself, 1 times (see /d/logs/fleet.log)",
  ]);
});

t.test("a small disk can be filled to the last byte and emptied again, and leaves nothing mounted", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-disk-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const disks = await mountSmallDisks(dir, ["ams-primary-2"]);
  if (disks.missing !== undefined) {
    t.same(disks.names, []);
    return t.comment(disks.missing);
  }
  const file = join(dir, "ams-primary-2", "journal");
  await writeFile(file, "kept");
  await disks.fill("ams-primary-2");
  await t.rejects(writeFile(`${file}-2`, "no room"), { code: "ENOSPC" });
  await disks.empty("ams-primary-2");
  await writeFile(`${file}-3`, "room");
  await disks.close({ keepData: true });
  t.equal(await readFile(file, "utf8"), "kept");
  t.notMatch(await readFile("/proc/mounts", "utf8"), dir);
  t.equal((await stat(join(dir, "ams-primary-2"))).dev, (await stat(dir)).dev);
});
