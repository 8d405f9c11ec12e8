// The ledger of a data centre, fed by hand: what was due, and what became of it.

import t from "tap";
import { settleMs } from "#/lib/ledger/book.ts";
import { categories, categoryOf, causes, reasonOf, Tally } from "#/lib/ledger/cause.ts";
import { coverageOf } from "#/lib/ledger/coverage.ts";
import { encodeOutcome, generationIn, outcomeIn } from "#/lib/ledger/rings.ts";
import { findTarget, whyOf } from "#/lib/ledger/why.ts";
import { outcomes } from "#/lib/model/outcome.ts";
import { at, Feed, first, intervalMs, other, startMs, target } from "#/test/support/ledger.ts";

const minute = 60_000;
const hour = 60 * minute;

t.test("each cause has one category, and a tally's categories are together what was due", (t) => {
  const tally = new Tally();
  for (const cause of causes) tally.count(cause);
  t.equal(tally.due, causes.length);
  t.equal(
    categories.reduce((sum, category) => sum + tally.in(category), 0),
    causes.length,
  );
  t.same([categoryOf("failed_connect"), reasonOf("failed_connect")], ["failed", "connect"]);
  t.same([categoryOf("dead"), reasonOf("dead")], ["missed", "dead"]);
  t.same([categoryOf("dropped_full"), reasonOf("dropped_full")], ["dropped", "full"]);
  t.same([categoryOf("stored"), reasonOf("stored")], ["stored", ""]);
  t.same([categoryOf("backlog"), categoryOf("hole"), categoryOf("missed_down")], ["in_flight", "lost", "missed"]);
  t.end();
});

t.test("a byte has each outcome, and its generation as far as it is near the one in force", (t) => {
  for (const outcome of outcomes) t.equal(outcomeIn(encodeOutcome(outcome, 7, 7)), outcome);
  for (const inForce of [1, 5, 8, 1000]) {
    for (const off of [-4, -1, 0, 1, 3]) {
      const generation = Math.max(0, inForce + off);
      t.equal(generationIn(encodeOutcome("stored", generation, inForce), inForce), generation);
    }
  }
  t.equal(generationIn(encodeOutcome("stored", 3, 1000), 1000), 996);
  t.equal(generationIn(encodeOutcome("stored", 1900, 1000), 1000), 1003);
  t.end();
});

t.test("what was told is counted, and the terms are together what was due", async (t) => {
  const feed = new Feed();
  for (let n = 0; n < 20; n++) feed.tell(n, n === 3 ? "failed_connect" : n === 4 ? "partial" : "stored");
  feed.tell(7, "missed_overload", 2);
  feed.pass(at(20), "s1");
  const { rows, settledUntil, total } = await feed.terms();
  t.match(total, { due: 20, stored: 18, partial: 1, failed: { connect: 1 }, unexplained: 0, estimated: false });
  t.equal(total.repeated, 1, "the lesser outcome of slot 7");
  t.same(
    rows.map(({ due, owner }) => [owner, due]),
    [["s1", 20]],
  );
  t.equal(settledUntil, new Date(feed.nowMs).toISOString());
});

t.test(
  "of a slot that two tell, the highest generation that stored counts, and the same one again is no other",
  (t) => {
    const feed = new Feed();
    feed.tell(0, "missed_down", 1);
    feed.tell(0, "failed_timeout", 2);
    t.equal(feed.cause(0), "failed_timeout");
    feed.tell(0, "stored", 1);
    t.equal(feed.cause(0), "stored");
    feed.tell(0, "missed_down", 3);
    t.equal(feed.cause(0), "stored");
    feed.tell(1, "stored", 1);
    feed.tell(1, "stored", 1);
    t.equal(feed.book.minute(startMs / minute, { nowMs: at(2), dark: false }).tallies.get(1)!.repeated, 3);
    t.end();
  },
);

t.test("a slot is in flight while it is young, or while its owner lives and has not passed it", (t) => {
  const feed = new Feed();
  feed.tell(0);
  feed.batch(1);
  feed.pass(at(4), "s1");
  t.equal(feed.cause(1), "recent");
  feed.pass(at(1) + settleMs + 1000, "s1");
  t.equal(feed.cause(1), "backlog");
  t.equal(feed.cause(2), "recent");
  // Nothing is read any more, and time goes on.
  t.equal(feed.cause(8, { nowMs: at(60) }), "lag");
  t.equal(feed.cause(8, { nowMs: at(60), dark: true }), "dark");
  t.end();
});

t.test("what its owner passed without a word is unexplained, and known so to the metric", async (t) => {
  const feed = new Feed();
  for (const n of [0, 1, 3, 4]) feed.tell(n);
  for (let n = 1; n <= 5; n++) feed.batch(n);
  feed.pass(at(3) + settleMs, "s1");
  t.equal(feed.cause(2), "unexplained");
  t.equal((await feed.terms()).total.unexplained, 1);
  feed.tell(2);
  t.equal(feed.cause(2), "stored");
  t.equal((await feed.terms()).total.unexplained, 0);
});

t.test(
  "slots of an owner that is not living, or not heard any more, are missed; what it told late takes their place",
  (t) => {
    const silent = new Feed();
    silent.tell(0);
    silent.batch(1);
    silent.pass(at(1), "s1");
    silent.pass(at(3) + settleMs);
    t.equal(silent.cause(1), "dead");
    silent.tell(1);
    t.equal(silent.cause(1), "stored");

    const left = new Feed();
    left.tell(0);
    left.batch(1);
    left.generation([target], {
      number: 2,
      owner: "s2",
      validFromMs: at(3) - 1,
      secondaries: [{ name: "s2", capacity: 9 }],
    });
    left.pass(at(3) + settleMs, "s1", "s2");
    t.equal(left.cause(2), "dead");
    t.end();
  },
);

t.test("slots between two starts of their owner are missed, once what it had told before could have come", (t) => {
  const feed = new Feed();
  feed.tell(0);
  feed.batch(1);
  feed.pass(at(4), "s1");
  feed.tell(4);
  feed.batch(5, { bootEpoch: Math.floor(at(4) / 1000) - 2, watermarkMs: at(4) - 1000, sequence: 1 });
  feed.pass(at(2) + settleMs + 1000, "s1");
  t.equal(feed.cause(2), "backlog", "its spool may have it");
  feed.pass(feed.nowMs + 2 * minute, "s1");
  t.equal(feed.cause(2), "dead");
  t.end();
});

t.test("slots that were told in batches which are missing here are lost, until these come", (t) => {
  const feed = new Feed();
  feed.tell(0);
  feed.batch(1, { sequence: 1 });
  feed.batch(4, { sequence: 4, unreadable: 1 });
  feed.tell(4);
  feed.batch(5, { sequence: 5 });
  feed.pass(at(5) + settleMs, "s1");
  const row = feed.book.due.find(target.id)!;
  const { cause, missing } = feed.book.slot(row, at(1), { nowMs: feed.nowMs, dark: false })!;
  t.equal(cause, "unreadable", "or in the one that refers to them");
  t.equal(missing, undefined);
  feed.batch(4, { sequence: 4 });
  t.match(feed.book.slot(row, at(2), { nowMs: feed.nowMs, dark: false }), {
    cause: "hole",
    missing: { run: 1, shard: 0, from: 2, until: 3 },
  });
  for (const n of [1, 2, 3]) feed.tell(n);
  t.equal(feed.cause(2), "stored");
  t.end();
});

t.test("what a secondary says that it dropped is dropped, for the reason that it tells", (t) => {
  const feed = new Feed();
  feed.tell(0);
  feed.batch(1, { sequence: 1 });
  feed.tell(4);
  feed.batch(5, { sequence: 4 });
  feed.pass(at(5) + settleMs, "s1");
  t.equal(feed.cause(2), "hole");
  feed.book.dropped({
    secondary: "s1",
    bootEpoch: Math.floor(startMs / 1000) - 100,
    shard: 0,
    run: 1,
    from: 2,
    until: 3,
    reason: "full",
    scrapes: 3,
    slotsFromMs: at(1),
    slotsUntilMs: at(3),
  });
  t.same(
    [1, 2, 3, 4].map((n) => feed.cause(n)),
    ["dropped_full", "dropped_full", "dropped_full", "stored"],
  );
  t.end();
});

t.test("a slot belongs to the owner of the generation in force at its time; nobody's are unassigned", async (t) => {
  const feed = new Feed();
  feed.generation([target], { number: 2, owner: "s2", validFromMs: at(3) });
  feed.generation([target], { number: 3, owner: "", validFromMs: at(6) });
  feed.generation([target, other], { number: 4, owner: "s1", validFromMs: at(8) });
  // One that becomes valid no earlier than a newer one rules nothing.
  feed.generation([target, other], { number: 5, owner: "s3", validFromMs: at(100) });
  feed.generation([target], { number: 6, owner: "s4", validFromMs: at(10) });
  feed.pass(at(12), "s1");
  const { rows, total } = await feed.terms();
  const due = new Map(rows.map((row) => [row.owner, row.due]));
  t.same([due.get("s2"), due.get(""), due.get("s4"), due.has("s3")], [3, 2, 2, false]);
  t.equal(due.get("s1")! - 3, 4, "and of each of the two targets two");
  t.equal(total.unassigned, 2);
  t.equal(total.due, 3 + 3 + 2 + 4 + 2);
});

t.test("a target that changes its interval keeps what it was before", async (t) => {
  const feed = new Feed();
  for (let n = 0; n < 6; n++) feed.tell(n);
  const faster = { ...target, intervalMs: 5000 };
  feed.generation([faster], { number: 2, validFromMs: startMs + minute });
  feed.pass(startMs + 2 * minute, "s1");
  const { total } = await feed.terms();
  t.equal(total.due, 6 + 12);
  t.equal(total.stored, 6);
});

t.test("of a dark data centre it is supposed what was due, and said so", async (t) => {
  const feed = new Feed();
  for (let n = 0; n < 6; n++) feed.tell(n);
  feed.batch(6);
  feed.pass(at(6), "s1");
  feed.nowMs = at(6) + 10 * minute;
  const { total } = await feed.terms(startMs, feed.nowMs, true);
  t.match(total, { due: 66, stored: 6, dark: 55, inFlight: { recent: 5 }, estimated: true });
});

t.test("slots that a sleeping machine did not tell one by one are missed", (t) => {
  const feed = new Feed();
  feed.tell(0);
  feed.batch(1);
  feed.batch(300);
  feed.pass(at(302) + settleMs, "s1");
  t.equal(feed.cause(100), "asleep");
  t.equal(feed.cause(250), "unexplained", "the newest hundred it would have told");
  t.end();
});

t.test("slots of a generation that their owner never heard of are missed", (t) => {
  const feed = new Feed();
  feed.tell(0);
  feed.batch(1);
  feed.generation([target], { number: 2, validFromMs: at(2) });
  feed.generation([target], { number: 3, owner: "s2", validFromMs: at(4) });
  feed.batch(6, { generation: 3 });
  feed.pass(at(6) + settleMs, "s1");
  t.same(
    [1, 2, 3].map((n) => feed.cause(n)),
    ["unexplained", "unheard", "unheard"],
  );
  feed.batch(7, { generation: 2 });
  t.equal(feed.cause(2), "unexplained", "it did hear of it");
  t.end();
});

t.test("what is older than the ledger goes is forgotten, and its rows are used again", async (t) => {
  const feed = new Feed();
  for (let n = 0; n < 6; n++) feed.tell(n);
  feed.generation([other], { number: 2, validFromMs: startMs + minute });
  const { bytes } = feed.book;
  feed.nowMs = startMs + 3 * hour;
  feed.book.trim(feed.nowMs);
  t.equal(feed.book.due.find(target.id), undefined);
  feed.generation([target, other], { number: 3, validFromMs: feed.nowMs });
  t.equal(feed.book.due.rows, 2);
  t.equal(feed.book.bytes, bytes);
  t.equal((await feed.terms(0)).total.due, (2 * hour) / intervalMs);
});

t.test(
  "coverage is the share of what the wanted targets had due that is here, whatever way it is counted",
  async (t) => {
    const feed = new Feed();
    feed.generation([target, other], { number: 2, validFromMs: startMs });
    for (let n = 0; n < 60; n++) {
      for (const each of [target, other])
        if (n !== 33 || each === other) feed.tell(n, n === 40 ? "failed_timeout" : "stored", 2, each);
      feed.batch(n + 1, { generation: 2 });
    }
    feed.pass(at(60), "s1");
    const range = { fromMs: startMs, untilMs: startMs + 10 * minute };
    const one = () => coverageOf(feed.source(), ({ id }) => id === target.id, range);
    const both = () => coverageOf(feed.source(), () => true, range);
    const ofOne = { due: 60, answered: 59, failed: 1, causes: new Map([["unexplained", 1]]) };
    t.match(await one(), ofOne);
    const all = await both();
    t.match(all, { due: 120, answered: 119, failed: 2, causes: new Map([["unexplained", 1]]) });
    t.ok(all.settledUntilMs <= range.untilMs);
    t.match(await one(), ofOne, "the same once the minutes are known");
    t.match(await both(), { due: 120, answered: 119 });
    feed.tell(33, "stored", 2);
    t.match(await both(), { due: 120, answered: 120, causes: new Map() });
    t.match(await coverageOf(feed.source(), () => false, range), { due: 0, answered: 0 });
  },
);

t.test("one missing sample has its cause in a sentence", (t) => {
  const feed = new Feed();
  feed.generation([target, other], { number: 2, validFromMs: startMs });
  feed.tell(0, "stored", 2);
  feed.tell(1, "failed_connect", 2);
  feed.batch(2, { generation: 2 });
  feed.pass(at(2), "s1");
  feed.pass(at(3) + settleMs);
  const source = feed.source();
  const ask = (text: string, timeMs: number) => {
    const found = findTarget([source], text);
    if ("error" in found) return found.error;
    const why = whyOf(found.source, found.row, timeMs);
    return typeof why === "string" ? why : why.sentence;
  };
  const due = (n: number) =>
    `Slot ${first + n} of 10.0.0.1:9100 (node), due at ${new Date(at(n)).toISOString()}, was s1's by generation 2`;
  t.equal(ask("10.0.0.1:9100", at(0)), `${due(0)}: s1 scraped it, and it is stored.`);
  t.equal(ask(target.id, at(1) + 5000), `${due(1)}: s1 told it as failed connect: no connection could be made.`);
  t.equal(ask("0.1:", at(2)), `${due(2)}, and s1 was not running or not heard then, so it counts as missed.`);
  t.match(ask("10.0.0", at(2)), /may be any of http:\/\/10.0.0.\d:9100\/metrics of node in fra, /);
  t.match(ask("nowhere", at(2)), 'no target that was due within the ledger\'s time is like "nowhere"');
  t.match(ask("0.1:", at(2) + hour), "is still to come");
  t.match(ask("0.1:", startMs - hour), "is before what this server remembers");
  t.end();
});
