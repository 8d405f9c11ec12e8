// Who gets targets, and when a generation that moves some begins to rule.

import t from "tap";
import type { Generation } from "#/lib/model/generation.ts";
import { aheadMsOf, leftWithout } from "#/primary/moves.ts";
import { Presence } from "#/primary/presence.ts";
import { Standings } from "#/primary/standing.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { makeGeneration, makeTarget } from "#/test/support/targets.ts";

const leaseMs = 5000;
const three = ["s1", "s2", "s3"].map((name) => ({ name, capacity: 100 }));

function standing() {
  const clock = manualClock();
  const presence = new Presence({ clock, secondaries: three.map(({ name }) => name), leaseMs });
  const cutOff: string[] = [];
  const book = new Standings({ clock, presence, secondaries: three, cutOff: () => cutOff });
  const talking = new Set<string>();
  clock.every(1000, () => {
    for (const name of talking) presence.heard(name, 0);
  });
  const say = () => book.list().map(({ name, state }) => (state === "active" ? name : `${name} ${state}`));
  const speak = async (...names: string[]) => {
    talking.clear();
    for (const name of names) talking.add(name);
    await clock.advance(1000);
  };
  return { book, clock, cutOff, presence, say, speak };
}

t.test("whoever lives is active, at once when it is heard for the first time", async (t) => {
  const { book, clock, say, speak } = standing();
  t.same(say(), []);
  await speak("s2", "s1");
  t.same(say(), ["s1", "s2"]);
  const list = book.list();
  await clock.advance(3000);
  t.equal(book.list(), list, "the same array as long as nothing changes");
});

t.test("one that died and comes back is damped, twice as long each time", async (t) => {
  const { clock, say, speak } = standing();
  await speak("s1", "s2");
  for (const dampedMs of [5000, 10_000, 20_000]) {
    await speak("s1");
    await clock.advance(leaseMs);
    t.same(say(), ["s1"]);
    await speak("s1", "s2");
    t.same(say(), ["s1", "s2 damped"]);
    await clock.advance(dampedMs - 1000);
    t.same(say(), ["s1", "s2 damped"]);
    await clock.advance(1000);
    t.same(say(), ["s1", "s2"]);
  }
});

t.test("for 5 minutes at most, and not for deaths of more than 10 minutes ago", async (t) => {
  const { clock, say, speak } = standing();
  await speak("s1", "s2");
  for (let death = 0; death < 20; death++) {
    await speak("s1");
    await clock.advance(leaseMs);
    await speak("s1", "s2");
  }
  await clock.advance(299_000);
  t.same(say(), ["s1", "s2 damped"]);
  await clock.advance(1000);
  t.same(say(), ["s1", "s2"]);
  await clock.advance(600_000);
  await speak("s1");
  await clock.advance(leaseMs);
  await speak("s1", "s2");
  await clock.advance(5000);
  t.same(say(), ["s1", "s2"], "as after a first death");
});

t.test("damping leaves no target without a secondary", async (t) => {
  const { book, clock, say, speak } = standing();
  await speak("s1", "s2", "s3");
  await speak("s1");
  await clock.advance(leaseMs);
  await speak("s1", "s3");
  await speak("s1", "s2", "s3");
  t.same(say(), ["s1", "s2 damped", "s3 damped"]);
  t.equal(book.listFor(100), book.list(), "who is active has room enough");
  const active = (targets: number) =>
    book.listFor(targets).flatMap(({ name, state }) => (state === "active" ? [name] : []));
  t.same(active(101), ["s1", "s3"], "the one that waits least comes first");
  t.equal(book.listFor(101), book.listFor(101));
  t.same(active(1000), ["s1", "s2", "s3"]);
});

t.test("one that is drained is so also while it is dead, until somebody wants it back", async (t) => {
  const { book, clock, say, speak } = standing();
  await speak("s1", "s2");
  book.drain("s2", true);
  t.same(say(), ["s1", "s2 draining"]);
  await speak("s1");
  await clock.advance(leaseMs);
  t.same(say(), ["s1", "s2 draining"]);
  const other = standing();
  other.book.follow({ secondaries: [{ name: "s2", capacity: 100, state: "draining" }] });
  t.same(other.say(), ["s2 draining"], "another primary reads it in the generation");
  book.drain("s2", false);
  t.same(say(), ["s1"]);
});

t.test("one that cannot reach its targets says so, and the topology may change under all", async (t) => {
  const { book, cutOff, presence, say, speak } = standing();
  await speak("s1", "s2", "s3");
  cutOff.push("s3");
  book.update();
  t.same(say(), ["s1", "s2", "s3 cut_off"]);
  const changed = [
    { name: "s2", capacity: 7 },
    { name: "s3", capacity: 100 },
    { name: "s4", capacity: 1 },
  ];
  presence.reconfigure(["s2", "s3", "s4"], leaseMs);
  book.reconfigure(changed);
  t.same(say(), ["s2", "s3 cut_off"]);
  t.equal(book.list()[0]!.capacity, 7);
  await speak("s1", "s2", "s3", "s4");
  t.same(say(), ["s2", "s3 cut_off", "s4"], "s1 is unknown now, whatever it says");
});

const targets = ["a", "b", "c"].map((host) => makeTarget(`http://${host}:9100/metrics`));

function generation(owners: readonly string[], secondaries: Generation["secondaries"] = three): Generation {
  const { targets: assigned, ...rest } = makeGeneration(targets.slice(0, owners.length), { secondaries });
  return { ...rest, targets: assigned.map(({ target }, i) => ({ target, owner: owners[i]! })) };
}

t.test("a generation rules at once, but for moves between the living: those are known a second before", async (t) => {
  const before = generation(["s1", "s1", ""]);
  const next = (owners: readonly string[], secondaries?: Generation["secondaries"]) =>
    aheadMsOf(before, generation(owners, secondaries));
  t.equal(aheadMsOf(undefined, before), 0);
  t.equal(next(["s1", "s1", "s2"]), 0, "nobody had it");
  t.equal(next(["s1"]), 0, "targets that end move nowhere");
  t.equal(next(["s1", "s2", ""]), 1000);
  t.equal(next(["s2", "s2", ""], [{ ...three[0]!, state: "draining" }, three[1]!]), 1000);
  t.equal(next(["s2", "s2", ""], [three[1]!]), 0, "s1 is dead");
  t.equal(next(["s2", "s2", ""], [{ ...three[0]!, state: "cut_off" }, three[1]!]), 0);
});

t.test("what has no room without a secondary is known beforehand", async (t) => {
  const room = [
    { name: "s1", capacity: 2 },
    { name: "s2", capacity: 2 },
  ];
  t.equal(leftWithout(generation(["s1", "s2", "s2"], room), "s2"), 1);
  t.equal(leftWithout(generation(["s1", "s2"], room), "s2"), 0);
  t.equal(leftWithout(generation(["s1", "s2", "s2"], [{ ...room[0]!, state: "damped" }, room[1]!]), "s2"), 3);
});
