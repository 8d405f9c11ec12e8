import { join } from "node:path";
import t from "tap";
import { contentId } from "#/lib/bytes/hash.ts";
import { loadTopology } from "#/topology/file.ts";
import { findGlobal, findPrimary, findSecondary } from "#/topology/find.ts";
import { assignOwners } from "#/topology/ring.ts";

const targets = Array.from({ length: 100_000 }, (_, i) => ({
  id: contentId(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:9100`),
}));
const secondaries = Array.from({ length: 20 }, (_, i) => ({ name: `fra1-secondary-${i + 1}`, capacity: 6000 }));

function loads(owners: ReadonlyMap<string, string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const owner of owners.values()) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return counts;
}

function movedShare(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): number {
  let moved = 0;
  for (const [id, owner] of before) if (after.get(id) !== owner) moved += 1;
  return moved / before.size;
}

t.test("the same targets and secondaries have the same owners, whatever their order and process", async (t) => {
  const few = targets.slice(0, 2000);
  const owners = assignOwners(few, secondaries);
  t.same([...assignOwners(few.toReversed(), secondaries.toReversed())], [...owners]);
  // Written out once: another release, on another machine, must give each target the same owner.
  t.same(
    few.slice(0, 5).map(({ id }) => owners.get(id)),
    ["fra1-secondary-10", "fra1-secondary-17", "fra1-secondary-12", "fra1-secondary-7", "fra1-secondary-7"],
  );
});

t.test("20 secondaries share 100,000 targets within 5 % of the mean", async (t) => {
  const counts = [...loads(assignOwners(targets, secondaries)).values()];
  t.equal(counts.length, 20);
  t.ok(Math.max(...counts) <= 5250, `the most is ${Math.max(...counts)}`);
});

t.test("one of 20 that joins or leaves moves at most 5.5 % of 100,000 targets, whatever the names", async (t) => {
  const namings: readonly ((i: number) => string)[] = [
    (i) => `fra1-secondary-${i + 1}`,
    (i) => `s${i}`,
    (i) => `mon-${String(i).padStart(3, "0")}.ams1.example.org`,
  ];
  for (const [seed, nameOf] of namings.entries()) {
    const of = targets.map(({ id }) => ({ id: contentId(`${seed} ${id}`) }));
    const by = Array.from({ length: 20 }, (_, i) => ({ name: nameOf(i), capacity: 6000 }));
    const owners = assignOwners(of, by);
    const most = Math.max(...loads(owners).values());
    t.ok(most <= 5250, `the most is ${most}`);
    for (const gone of [0, 7, 19]) {
      const without = by.filter((_, i) => i !== gone);
      const moved = movedShare(owners, assignOwners(of, without));
      t.ok(moved <= 0.055, `${nameOf(gone)} left and moved ${moved}`);
    }
    for (const name of [nameOf(20), nameOf(33)]) {
      const moved = movedShare(owners, assignOwners(of, [...by, { name, capacity: 6000 }]));
      t.ok(moved <= 0.055, `${name} joined and moved ${moved}`);
    }
  }
});

t.test("one that leaves and comes back gets back what it had", async (t) => {
  const few = targets.slice(0, 5000);
  const before = assignOwners(few, secondaries);
  assignOwners(few, secondaries.slice(1));
  t.same([...assignOwners(few, secondaries)], [...before]);
});

t.test("shares follow capacity", async (t) => {
  const owners = assignOwners(targets.slice(0, 20_000), [
    { name: "small", capacity: 2000 },
    { name: "large", capacity: 20_000 },
    { name: "ordinary", capacity: 5000 },
  ]);
  const counts = loads(owners);
  const within = (name: string, fair: number) => {
    const share = counts.get(name)!;
    t.ok(share <= Math.ceil(fair * 1.05) && share >= fair * 0.8, `${name}: ${share} of ${fair.toFixed(0)}`);
  };
  within("small", 20_000 * (2 / 27));
  within("large", 20_000 * (20 / 27));
  within("ordinary", 20_000 * (5 / 27));
});

t.test("nobody gets more than its capacity, and what is left over has no owner", async (t) => {
  const owners = assignOwners(targets.slice(0, 25), [
    { name: "a", capacity: 10 },
    { name: "b", capacity: 5 },
  ]);
  t.same(Object.fromEntries(loads(owners)), { a: 10, b: 5, "": 10 });
  t.same([...assignOwners(targets.slice(0, 2), []).values()], ["", ""]);
  t.equal(assignOwners([], secondaries).size, 0);
  const exact = assignOwners(targets.slice(0, 15), [
    { name: "a", capacity: 10 },
    { name: "b", capacity: 5 },
  ]);
  t.same(Object.fromEntries(loads(exact)), { a: 10, b: 5 }, "an exact fit fits");
});

t.test("a target of weight counts for as many", async (t) => {
  const owners = assignOwners([{ id: "0-heavy", weight: 8 }, ...targets.slice(0, 4)], [{ name: "a", capacity: 10 }]);
  t.equal([...owners.values()].filter((owner) => owner === "").length, 2);
});

t.test("a process is found by its name, and a wrong name is met with a hint", async (t) => {
  const { topology } = await loadTopology(join(import.meta.dirname, "../../topology/example.yaml"));
  t.equal(findGlobal(topology, "global-b").http.address, "global-b.example:9480");
  t.equal(findPrimary(topology, "nyc1-primary-b").datacenter.name, "nyc1");
  t.equal(findSecondary(topology, "fra1-secondary-3").secondary.capacity, 2500);
  t.throws(() => findSecondary(topology, "fra1-secondry-3"), {
    name: "TopologyError",
    code: "unknown_name",
    message: 'the topology has no secondary named "fra1-secondry-3"; did you mean fra1-secondary-3?',
  });
  t.throws(() => findPrimary(topology, "global-a"), {
    message: 'the topology has no primary named "global-a"; that is a global',
  });
  t.throws(() => findGlobal(topology, "x"), {
    message: 'the topology has no global named "x"; known: global-a, global-b',
  });
});
