import t from "tap";
import { contentId } from "#/lib/bytes/hash.ts";
import { type Logger, silentLogger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { Target } from "#/lib/model/target.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { planGeneration, sameAssignments, unassignedCount, unassignedReason } from "#/primary/assign.ts";
import { gossipMs, keepAliveMs, Presence, presenceLeaseMs } from "#/primary/presence.ts";
import { Unassigned } from "#/primary/unassigned.ts";
import { manualClock } from "#/test/support/manual-clock.ts";

function target(index: number, edit: Partial<Target> = {}): Target {
  const address = `10.0.0.${index}:9100`;
  return {
    id: contentId(address),
    job: "node",
    url: `http://${address}/metrics`,
    labels: [
      ["instance", address],
      ["job", "node"],
    ],
    intervalMs: 15_000,
    timeoutMs: 10_000,
    options: {
      honorLabels: false,
      honorTimestamps: true,
      sampleLimit: 0,
      labelLimit: 0,
      labelNameLengthLimit: 0,
      labelValueLengthLimit: 0,
      bodyBytesMax: 1 << 20,
    },
    ...edit,
  };
}

const targets = Array.from({ length: 100 }, (_, i) => target(i));
const both = [
  { name: "s1", capacity: 5000 },
  { name: "s2", capacity: 5000 },
];

function plan(edit: Partial<Parameters<typeof planGeneration>[0]> = {}): Generation {
  return planGeneration({
    targets,
    living: both,
    number: 1,
    token: 7,
    primary: "p1",
    nowMs: 1_700_000_000_123.75,
    datacenter: "fra",
    ...edit,
  });
}

t.test("a generation has every target once, sorted by id, and an owner for each", async (t) => {
  const generation = plan({ targets: targets.toReversed(), living: both.toReversed() });
  t.equal(generation.datacenter, "fra");
  t.equal(generation.number, 1);
  t.equal(generation.token, 7);
  t.equal(generation.primary, "p1");
  t.equal(generation.validFromMs, 1_700_000_000_123);
  t.same(generation.secondaries, both);
  const ids = generation.targets.map((assigned) => assigned.target.id);
  t.same(ids, targets.map(({ id }) => id).sort());
  const owned = (name: string) => generation.targets.filter(({ owner }) => owner === name).length;
  t.equal(owned("s1") + owned("s2"), 100);
  t.ok(owned("s1") <= 53 && owned("s2") <= 53, `${owned("s1")} and ${owned("s2")}`);
});

t.test("both primaries would make the same one", async (t) => {
  const mine = plan();
  const peers = plan({ targets: targets.toReversed(), living: both.toReversed(), primary: "p2", token: 8, number: 2 });
  t.ok(sameAssignments(mine, peers));
  t.same(peers.targets, mine.targets);
});

t.test("a secondary that is lost gives its targets to the other, and has them again when it is back", async (t) => {
  const before = plan();
  const lost = plan({ previous: before, number: 2, living: both.slice(0, 1) });
  t.ok(lost.targets.every(({ owner }) => owner === "s1"));
  t.notOk(sameAssignments(before, lost));
  t.ok(sameAssignments(before, plan({ previous: lost, number: 3 })));
});

t.test("any change that a secondary would notice makes another content", async (t) => {
  const before = plan({ targets: [target(1), target(2)] });
  const changed = (edit: Partial<Target>) => plan({ targets: [target(1), target(2, edit)] });
  t.ok(sameAssignments(before, changed({})));
  t.notOk(sameAssignments(before, changed({ id: contentId("other") })));
  t.notOk(sameAssignments(before, changed({ intervalMs: 5000 })));
  t.notOk(sameAssignments(before, changed({ timeoutMs: 5000 })));
  for (const [option, value] of Object.entries(target(2).options)) {
    const other = typeof value === "boolean" ? !value : value + 1;
    t.notOk(sameAssignments(before, changed({ options: { ...target(2).options, [option]: other } })), option);
  }
  t.notOk(sameAssignments(before, plan({ targets: [target(1)] })));
  t.notOk(
    sameAssignments(before, plan({ targets: [target(1), target(2)], living: [both[0]!, { name: "s3", capacity: 1 }] })),
  );
  t.notOk(sameAssignments(before, plan({ targets: [target(1), target(2)], datacenter: "nyc" })));
});

t.test("targets beyond the capacity have no owner, and it is said why", async (t) => {
  const generation = plan({
    living: [
      { name: "s1", capacity: 60 },
      { name: "s2", capacity: 30 },
    ],
  });
  t.equal(unassignedCount(generation), 10);
  t.equal(
    unassignedReason(generation),
    "10 of 100 targets have no owner: the living secondaries (s1, s2) have room for 90; left out: 10 of node (priority 0); add a secondary, or raise a capacity",
  );
  t.equal(unassignedReason(plan({ living: [] })), "100 of 100 targets have no owner: no secondary lives");
  t.equal(unassignedReason(plan()), undefined);
});

t.test("a secondary that is draining, cut off or damped is told of, and gets no target", async (t) => {
  const active = plan();
  const draining = plan({ previous: active, number: 2, living: [both[0]!, { ...both[1]!, state: "draining" }] });
  t.same(draining.secondaries, [
    { name: "s1", capacity: 5000 },
    { name: "s2", capacity: 5000, state: "draining" },
  ]);
  t.ok(draining.targets.every(({ owner }) => owner === "s1"));
  t.notOk(sameAssignments(active, draining));
  const idle = plan({ targets: [], living: [both[0]!, { ...both[1]!, state: "cut_off" }] });
  t.notOk(sameAssignments(plan({ targets: [] }), idle), "also when nothing moves");
  const nobody = plan({ living: both.map((each, i) => ({ ...each, state: i === 0 ? "cut_off" : "damped" })) });
  t.equal(
    unassignedReason(nobody),
    "100 of 100 targets have no owner: no living secondary takes any (s1 is cut_off, s2 is damped)",
  );
});

t.test("a generation says why it was made", async (t) => {
  const [s1, s2] = both as [(typeof both)[0], (typeof both)[0]];
  const previous = plan();
  t.same(previous.causes, [{ kind: "first", subject: "" }]);
  const after = (living: Parameters<typeof planGeneration>[0]["living"], from = previous) =>
    plan({ previous: from, number: 2, living }).causes;
  t.same(after([s1]), [{ kind: "left", subject: "s2" }]);
  t.same(after([s1, s2, { name: "s3", capacity: 10 }]), [{ kind: "joined", subject: "s3" }]);
  t.same(after([s1, { ...s2, capacity: 70 }]), [{ kind: "capacity", subject: "s2", count: 70 }]);
  for (const [state, kind] of [
    ["draining", "drain"],
    ["cut_off", "cut_off"],
    ["damped", "damped"],
  ] as const) {
    t.same(after([s1, { ...s2, state }]), [{ kind, subject: "s2" }]);
    const back = plan({ living: [s1, { ...s2, state }] });
    t.same(after(both, back), [{ kind: state === "draining" ? "undrain" : "recovered", subject: "s2" }]);
  }
  const other = plan({
    previous,
    number: 2,
    targets: [...targets.slice(2), target(2, { timeoutMs: 1 }), target(200), target(201, { job: "db" })].slice(1),
    causes: [{ kind: "reload", subject: "" }],
  });
  t.same(other.causes, [
    { kind: "reload", subject: "" },
    // 0 and 1 went, 2 changed, 200 came.
    { kind: "targets", subject: "node", count: 4 },
    { kind: "targets", subject: "db", count: 1 },
  ]);
  const many = Array.from({ length: 30 }, (_, i) => target(300 + i, { job: `${"j".repeat(200)}${i}` }));
  const cut = plan({ previous, number: 2, targets: many }).causes!;
  t.equal(cut.length, 16);
  t.same(cut.at(-1), { kind: "targets", subject: "j".repeat(120), count: 1 });
});

t.test("where room runs out, the lowest priority is left out, and within it the highest ids", async (t) => {
  const jobs = ["batch", "node", "core"];
  const mixed = targets.map((each, i) => ({ ...each, job: jobs[i % 3]! }));
  const priorities = new Map([
    ["batch", -1],
    ["core", 10],
  ]);
  const living = [
    { name: "s1", capacity: 30 },
    { name: "s2", capacity: 20 },
  ];
  const generation = plan({ targets: mixed, living, priorities });
  const ownerless = generation.targets.filter(({ owner }) => owner === "").map(({ target }) => target);
  // 34 batch, 33 node, 33 core targets, and room for 50.
  t.same(
    jobs.map((job) => ownerless.filter((each) => each.job === job).length),
    [34, 16, 0],
  );
  const nodes = generation.targets.filter(({ target }) => target.job === "node");
  t.ok(nodes.slice(0, 17).every(({ owner }) => owner !== ""));
  t.ok(nodes.slice(17).every(({ owner }) => owner === ""));
  t.equal(
    unassignedReason(generation, priorities),
    "50 of 100 targets have no owner: the living secondaries (s1, s2) have room for 50; left out: 34 of batch (priority -1), 16 of node (priority 0); add a secondary, or raise a capacity",
  );
  t.same(plan({ targets: mixed.toReversed(), living: living.toReversed(), priorities }).targets, generation.targets);
});

t.test("a reason names a few jobs and secondaries, not all of a thousand", async (t) => {
  const mixed = targets.map((each, i) => ({ ...each, job: `j${i % 7}` }));
  const living = Array.from({ length: 8 }, (_, i) => ({ name: `s${i}`, capacity: 1 }));
  const reason = unassignedReason(plan({ targets: mixed, living }))!;
  t.match(reason, "the living secondaries (s0, s1, s2, s3, s4 and 3 more) have room for 8; left out: ");
  t.match(reason, /left out: (\d+ of j\d \(priority 0\), ){4}\d+ of j\d \(priority 0\) and 2 more; add/);
});

t.test("who is left out is a metric by job, and is logged by who made the generation when it changes", async (t) => {
  const metrics = createRegistry({ tier: "primary" });
  const told: string[] = [];
  const note = (fields: object, sentence: string) =>
    void told.push(`${sentence} ${"reason" in fields ? fields.reason : ""}`);
  const log: Logger = { ...silentLogger(), info: note, error: note };
  const unassigned = new Unassigned({ primary: "p1", priorities: () => new Map(), log, metrics });
  const left = (job: string) => metrics.get("heliograph_primary_unassigned_targets", { job });
  unassigned.tell(plan());
  t.same(told, []);
  unassigned.tell(plan({ living: [{ name: "s1", capacity: 90 }] }));
  unassigned.tell(plan({ living: [{ name: "s1", capacity: 90 }], number: 2 }));
  t.equal(left("node"), 10);
  t.equal(told.length, 1);
  t.match(told[0], /^Some targets are not scraped: they have no owner. 10 of 100 targets have no owner: the living/);
  unassigned.tell(plan());
  t.equal(left("node"), 0);
  t.equal(told[1], "Every target has an owner again. ");
  unassigned.tell(plan({ living: [], primary: "p2" }));
  t.equal(left("node"), 100);
  t.equal(told.length, 2, "the peer says it");
});

t.test("a generation must follow the one before", async (t) => {
  t.throws(() => plan({ previous: plan({ number: 5 }), number: 5 }), /BUG: generation 5 does not follow 5/);
});

function presence(secondaries = ["s1", "s2"]) {
  const clock = manualClock();
  const book = new Presence({ clock, secondaries, leaseMs: 5000 });
  const changes: string[] = [];
  book.onChange(() => changes.push(book.living().join(" ")));
  return { clock, book, changes };
}

t.test(
  "the presence lease is half the shortest interval, from 1 to 5 s, and whoever speaks speaks well within it",
  async (t) => {
    t.equal(presenceLeaseMs(15_000), 5000);
    t.equal(presenceLeaseMs(8000), 4000);
    t.equal(presenceLeaseMs(1000), 1000);
    for (const leaseMs of [1000, 2500, 5000]) {
      t.ok(1.5 * keepAliveMs(leaseMs) + gossipMs(leaseMs) <= 0.72 * leaseMs, `${leaseMs}`);
    }
    t.equal(keepAliveMs(5000), 500);
    t.equal(gossipMs(5000), 1000);
  },
);

t.test("a secondary lives until one lease after its last word, and not a moment longer", async (t) => {
  const { clock, book, changes } = presence();
  book.heard("s1", 0);
  t.same(book.living(), ["s1"]);
  await clock.advance(3000);
  book.heard("s1", 1000);
  await clock.advance(3999);
  t.same(book.living(), ["s1"]);
  await clock.advance(1);
  t.same(book.living(), []);
  t.same(changes, ["s1", ""], "the change was told when it happened");
});

t.test("one that comes back joins at once", async (t) => {
  const { clock, book, changes } = presence();
  book.heard("s2", 0);
  await clock.advance(6000);
  book.heard("s2", 0);
  t.same(changes, ["s2", "", "s2"]);
});

t.test("an older word than known changes nothing, and neither does one of somebody unknown", async (t) => {
  const { clock, book, changes } = presence();
  book.heard("s1", 0);
  book.heard("s1", 4999);
  book.heard("stranger", 0);
  await clock.advance(4999);
  t.same(book.living(), ["s1"]);
  t.same(changes, ["s1"]);
});

t.test("a word that is a lease old does not make anybody live", async (t) => {
  const { book, changes } = presence();
  book.heard("s1", 5000);
  t.same(book.living(), []);
  t.same(changes, []);
});

t.test("a primary that has just taken the lease gives everybody the time to come over", async (t) => {
  const { clock, book, changes } = presence(["s1", "s2", "s3"]);
  book.heard("s3", 0);
  await clock.advance(1000);
  book.tookLease(["s1", "s2"]);
  t.same(book.living(), ["s1", "s2", "s3"]);
  await clock.advance(3000);
  book.heard("s1", 0);
  // Six seconds, in which a secondary notices that its primary is gone and comes over.
  await clock.advance(2999);
  t.same(book.living(), ["s1", "s2"]);
  await clock.advance(1);
  t.same(book.living(), ["s1"]);
  t.same(changes, ["s3", "s1 s2 s3", "s1 s2", "s1"]);
});

t.test(
  "one that the generation before did not count stays dead until it is heard; without one all are waited for",
  async (t) => {
    const known = presence();
    known.book.tookLease(["s1"]);
    t.same(known.book.living(), ["s1"]);
    const fresh = presence();
    fresh.book.tookLease();
    t.same(fresh.book.living(), ["s1", "s2"]);
  },
);

t.test("a primary that was itself held up does not take its own absence for theirs", async (t) => {
  let nowMs = 0;
  const timers: (() => void)[] = [];
  const clock = {
    ...manualClock(),
    monotonicMs: () => nowMs,
    after: (_delayMs: number, callback: () => void) => {
      timers.push(callback);
      return { cancel: () => {} };
    },
  };
  const held = new Presence({ clock, secondaries: ["s1", "s2"], leaseMs: 5000 });
  held.heard("s1", 0);
  held.heard("s2", 0);
  // The process stood still for a minute; its timer comes before what waits in its sockets.
  nowMs = 60_000;
  timers.at(-1)!();
  t.same(held.living(), ["s1", "s2"]);
  held.heard("s1", 0);
  nowMs = 65_000;
  timers.at(-1)!();
  t.same(held.living(), [], "a lease later it knows");
});

t.test("when the peer falls silent, those that it spoke for get the time to come over", async (t) => {
  const { clock, book, changes } = presence(["s1", "s2", "s3"]);
  const peer = (...names: string[]) => book.peerHeard(names.map((name) => ({ name, ageMs: 500 })));
  book.heard("s3", 0);
  peer("s1", "s2");
  // The peer stops here. A lease after its words s3, who spoke to this primary, is dead; nobody knows that of the others.
  await clock.advance(5000);
  t.same(book.living(), ["s1", "s2"]);
  book.heard("s1", 0);
  await clock.advance(999);
  t.same(book.living(), ["s1", "s2"]);
  await clock.advance(1);
  t.same(book.living(), ["s1"], "s2 did not come");
  await clock.advance(4000);
  t.same(changes, ["s3", "s1 s2 s3", "s1 s2", "s1", ""]);
});

t.test("one that the peer no longer hears is dead after one lease as long as the peer speaks", async (t) => {
  const { clock, book } = presence();
  for (let second = 0; second < 5; second++) {
    book.peerHeard([
      { name: "s1", ageMs: 0 },
      { name: "s2", ageMs: second * 1000 },
    ]);
    t.same(book.living(), ["s1", "s2"]);
    await clock.advance(1000);
  }
  t.same(book.living(), ["s1"]);
});

t.test("a report of the peer that names nobody still says that it speaks", async (t) => {
  const { clock, book } = presence();
  book.peerHeard([{ name: "s1", ageMs: 0 }]);
  for (let second = 0; second < 4; second++) {
    await clock.advance(1000);
    book.peerHeard([]);
  }
  await clock.advance(999);
  t.same(book.living(), ["s1"]);
  await clock.advance(1);
  t.same(book.living(), []);
});

t.test("after close nothing is told", async (t) => {
  const { clock, book, changes } = presence();
  book.heard("s1", 0);
  book.close();
  book.close();
  await clock.advance(10_000);
  t.same(changes, ["s1"]);
});
