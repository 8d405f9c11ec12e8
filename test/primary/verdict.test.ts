// Who is cut off from its targets: two primaries, their secondaries' streams, and who has the say.

import t, { type Test } from "tap";

import { silentLogger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { ReachVerdict, Suspicion } from "#/lib/model/reach.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { type Door, Verdicts } from "#/primary/verdict.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { makeGeneration, makeTarget } from "#/test/support/targets.ts";

const targets = Array.from({ length: 30 }, (_, i) => makeTarget(`http://10.0.0.${i}:9100/metrics`));
const names = ["s1", "s2", "s3"];
const sample = targets.slice(0, 20).map(({ id }) => id);
const suspicion: Suspicion = { sinceMs: 7000, failed: 90, of: 100, sample };

/** A pair of primaries of which the first has the lease; what one publishes the other hears. */
function pair(t: Test) {
  const clock = manualClock();
  let holder = "p1";
  let generation: Generation = makeGeneration(targets, {
    secondaries: names.map((name) => ({ name, capacity: 100 })),
  });
  const log: string[] = [];
  const make = (primary: string, peer: () => Verdicts) => {
    const metrics = createRegistry({ tier: "primary" });
    const verdicts: Verdicts = new Verdicts({
      primary,
      secondaries: () => names,
      lease: { held: () => holder === primary },
      generation: () => generation,
      clock,
      random: seededRandom(1),
      log: silentLogger(),
      metrics,
      publish: () => void clock.after(1, () => peer().hear(verdicts.gossip())),
    });
    const timer = clock.every(1000, () => {
      verdicts.review();
      peer().hear(verdicts.gossip());
    });
    t.teardown(() => timer.cancel());
    return { metrics, verdicts };
  };
  const p1: ReturnType<typeof make> = make("p1", () => p2.verdicts);
  const p2: ReturnType<typeof make> = make("p2", () => p1.verdicts);
  const heard = new Map<string, string[]>(names.map((name) => [name, []]));
  /** A secondary that reaches those of the targets that are probed, or never answers. */
  const join = (name: string, { verdicts }: typeof p1, reaches: (index: number) => boolean, answers = true): Door => {
    const door: Door = {
      verdict: (verdict: ReachVerdict, sinceMs) => heard.get(name)!.push(`${verdict} ${sinceMs}`),
      probe(id, asked) {
        log.push(`${name} probes ${asked.length}`);
        if (!answers) return;
        const reached = asked.filter((target) => reaches(targets.findIndex((each) => each.id === target.id)));
        clock.after(5, () =>
          verdicts.probed(
            id,
            reached.map((target) => target.id),
          ),
        );
      },
    };
    verdicts.join(name, door);
    return door;
  };
  return {
    clock,
    p1,
    p2,
    log,
    heard: (name: string) => heard.get(name)!.splice(0),
    join,
    lease: (name: string) => {
      holder = name;
    },
    take: (next: Generation) => {
      generation = next;
      p1.verdicts.follow(next);
      p2.verdicts.follow(next);
    },
  };
}

t.test(
  "when others reach half of a sample, the secondary is cut off; reached less, the targets are down",
  async (t) => {
    for (const [reached, verdict] of [
      [20, "cut_off"],
      [10, "cut_off"],
      [9, "targets_down"],
      [0, "targets_down"],
    ] as const) {
      const world = pair(t);
      world.join("s1", world.p1, () => false);
      world.join("s2", world.p1, (i) => i < reached);
      t.strictSame(world.heard("s1"), ["reachable 0"], "its greeting");
      world.p1.verdicts.suspects("s1", suspicion);
      await world.clock.advance(10);
      t.strictSame(world.heard("s1"), [`${verdict} 7000`]);
      t.strictSame(world.log, ["s2 probes 20", "s1 probes 20"]);
      t.strictSame(world.p1.verdicts.cutOff(), verdict === "cut_off" ? ["s1"] : []);
      t.equal(world.p1.metrics.get("heliograph_primary_reach_verdicts_total", { verdict }), 1);
      world.p1.verdicts.suspects("s1", suspicion);
      t.strictSame(world.heard("s1"), [`${verdict} 7000`], "who asks again has the same answer");
      t.equal(world.log.length, 2);
    }
  },
);

t.test("it makes no difference which primary a secondary is connected to", async (t) => {
  for (const [suspecting, probing] of [
    ["p1", "p2"],
    ["p2", "p1"],
    ["p2", "p2"],
  ] as const) {
    const world = pair(t);
    world.join("s1", world[suspecting], () => false);
    world.join("s2", world[probing], () => true);
    await world.clock.advance(1100);
    world.heard("s1");
    world[suspecting].verdicts.suspects("s1", suspicion);
    await world.clock.advance(30);
    t.strictSame(world.heard("s1"), ["cut_off 7000"], `${suspecting} ${probing}`);
    t.strictSame(world.p1.verdicts.cutOff(), ["s1"], "and the lease holder knows");
    t.strictSame(world.log.toSorted(), ["s1 probes 20", "s2 probes 20"]);
  }
});

t.test("targets that are back by the time that others reach them make nobody cut off", async (t) => {
  const world = pair(t);
  world.join("s1", world.p2, (i) => i < 10);
  world.join("s2", world.p1, () => true);
  await world.clock.advance(1100);
  world.heard("s1");
  world.p2.verdicts.suspects("s1", suspicion);
  await world.clock.advance(30);
  t.strictSame(world.heard("s1"), ["unknown 7000"], "what failed is told as failed");
  t.strictSame(world.p1.verdicts.cutOff(), []);
});

t.test("who suspects itself and does not answer for 1.5 s while others reach the sample is cut off", async (t) => {
  const world = pair(t);
  world.join("s1", world.p1, () => true, false);
  world.join("s2", world.p1, () => true);
  world.heard("s1");
  world.p1.verdicts.suspects("s1", suspicion);
  await world.clock.advance(990);
  t.strictSame(world.heard("s1"), []);
  await world.clock.advance(1100);
  t.strictSame(world.heard("s1"), ["cut_off 7000"]);
});

t.test("nobody else, or nobody who answers in 5 s, is no verdict; of two who are asked one suffices", async (t) => {
  const world = pair(t);
  world.join("s1", world.p1, () => false);
  world.heard("s1");
  world.p1.verdicts.suspects("s1", suspicion);
  t.strictSame(world.heard("s1"), ["unknown 7000"]);

  const mute = world.join("s2", world.p1, () => true, false);
  world.p1.verdicts.suspects("s1", { ...suspicion, sinceMs: 8000 });
  await world.clock.advance(4900);
  t.strictSame(world.heard("s1"), []);
  await world.clock.advance(1200);
  t.strictSame(world.heard("s1"), ["unknown 8000"]);
  t.equal(world.p1.metrics.get("heliograph_primary_reach_probes_total", { result: "unanswered" }), 1);

  world.join("s3", world.p1, () => true);
  world.p1.verdicts.suspects("s1", { ...suspicion, sinceMs: 9000 });
  await world.clock.advance(10);
  t.strictSame(world.heard("s1"), ["cut_off 9000"]);
  world.p1.verdicts.leave("s2", mute);
});

t.test("those who suspect themselves, are cut off or get no targets are not asked", async (t) => {
  const world = pair(t);
  world.take(
    makeGeneration(targets, {
      secondaries: [
        { name: "s1", capacity: 100 },
        { name: "s2", capacity: 100 },
        { name: "s3", capacity: 100, state: "draining" },
      ],
    }),
  );
  for (const name of names) world.join(name, world.p1, () => true);
  world.p1.verdicts.suspects("s2", { ...suspicion, sinceMs: 6000 });
  await world.clock.advance(1);
  world.log.length = 0;
  world.heard("s1");
  world.p1.verdicts.suspects("s1", suspicion);
  t.strictSame([world.heard("s1"), world.log], [["unknown 7000"], []]);
});

t.test("who is cut off is tried every 10 s, and is back after two good ones in a row", async (t) => {
  const world = pair(t);
  let reaches = false;
  world.join("s1", world.p2, () => reaches);
  world.join("s2", world.p1, (i) => i < 12);
  await world.clock.advance(1100);
  world.p2.verdicts.suspects("s1", suspicion);
  await world.clock.advance(50);
  t.strictSame(world.p1.verdicts.cutOff(), ["s1"]);
  let changes = 0;
  world.p1.verdicts.onChange(() => changes++);
  world.log.length = 0;
  await world.clock.advance(25_000);
  t.strictSame(world.log, ["s1 probes 12", "s1 probes 12"], "of those that others reached");
  reaches = true;
  await world.clock.advance(10_000);
  t.strictSame(world.p1.verdicts.cutOff(), ["s1"], "one is not enough");
  world.heard("s1");
  await world.clock.advance(11_000);
  t.strictSame([world.p1.verdicts.cutOff(), changes], [[], 1]);
  t.match(world.heard("s1").at(-1), /^reachable /);
});

t.test("a new lease holder takes over who is cut off, and goes on trying", async (t) => {
  const world = pair(t);
  let reaches = false;
  world.join("s1", world.p2, () => reaches);
  world.join("s2", world.p2, () => true);
  await world.clock.advance(1100);
  world.p2.verdicts.suspects("s1", suspicion);
  await world.clock.advance(50);
  t.strictSame(world.p1.verdicts.cutOff(), ["s1"]);
  t.strictSame(world.p2.verdicts.cutOff(), [], "it stands in no generation yet");
  const secondaries = names.map((name) => ({
    name,
    capacity: 100,
    ...(name === "s1" && { state: "cut_off" as const }),
  }));
  world.take(makeGeneration(targets, { number: 2, owner: "s2", secondaries }));
  t.strictSame(world.p2.verdicts.cutOff(), ["s1"]);
  world.lease("p2");
  world.log.length = 0;
  await world.clock.advance(12_000);
  t.strictSame(world.log, ["s1 probes 20"], "any of them, since it does not know what others reached");
  reaches = true;
  await world.clock.advance(25_000);
  t.strictSame(world.p2.verdicts.cutOff(), []);
});

t.test("what a lease holder that is gone was asked, the next one answers", async (t) => {
  const world = pair(t);
  world.lease("nobody");
  world.join("s1", world.p1, () => false);
  world.join("s2", world.p2, () => true);
  world.heard("s1");
  world.p1.verdicts.suspects("s1", suspicion);
  await world.clock.advance(2000);
  t.strictSame(world.heard("s1"), []);
  world.lease("p2");
  await world.clock.advance(1100);
  t.strictSame(world.heard("s1"), ["cut_off 7000"]);
});

t.test("a stream that was followed by another one takes nothing along when it ends", (t) => {
  const { join, p1 } = pair(t);
  const first = join("s1", p1, () => true);
  const second = join("s1", p1, () => true);
  p1.verdicts.leave("s1", first);
  t.strictSame(p1.verdicts.gossip().connected, ["s1"]);
  p1.verdicts.leave("s1", second);
  t.strictSame(p1.verdicts.gossip().connected, []);
  t.end();
});
