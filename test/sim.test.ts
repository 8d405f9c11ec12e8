import { randomInt } from "node:crypto";
import t from "tap";
import { minuteMs } from "#/lib/bytes/units.ts";
import { describe } from "#/test/sim/faults.ts";
import { simulateMoves } from "#/test/sim/moves.ts";
import { plants } from "#/test/sim/planted.ts";
import { simulate } from "#/test/sim/simulate.ts";
import { World } from "#/test/sim/world.ts";

/** What a held outcome waits for more scrapes, and as much for the verdict and the handover; a silent target takes its timeout. */
const heldMs = 6000;

const seed = Number(process.env.SEED ?? randomInt(2 ** 31));

t.setTimeout(120_000);

/** `make test` runs more of them on every core, and `make sim` hours. */
const minutes = 6;

t.test(`a federation keeps its promises through the faults of a seed (SEED=${seed})`, async (t) => {
  const { faults, story, violations } = await simulate({ seed, minutes });
  t.same(violations, [], `SEED=${seed} node test/sim/main.ts --minutes ${minutes}`);
  if (violations.length > 0) for (const line of [...faults.map(describe), ...story.slice(-40)]) t.comment(line);
});

t.test("one secondary alone cannot reach its targets: none is told as down, and others scrape them", async (t) => {
  for (const seed of [3, 4, 5, 6]) {
    const world = new World({ seed });
    const { machines, scheduler, shape, targets, witness } = world;
    for (const machine of machines) world.start(machine);
    await scheduler.run(minuteMs, () => false);
    const cut = machines.find(({ name }) => name === "fra-s1")!;
    cut.targetsCut = seed % 2 === 0 ? "refused" : "silent";
    await scheduler.run(minuteMs + 3 * shape.scrapeIntervalMs + 10_000, () => false);
    const tried = targets.hits.cut;
    t.ok(tried > 0);
    await scheduler.run(4 * minuteMs, () => false);
    t.ok(targets.hits.cut > tried, "it tries whether it reaches them again");
    cut.targetsCut = undefined;
    witness.reaches(cut.name);
    await scheduler.run(6 * minuteMs, () => false);
    t.same(witness.violations, []);
    const told = witness.outcomesOf(cut.name);
    t.same([told.failed_connect ?? 0, told.failed_timeout ?? 0], [0, 0], `seed ${seed}: ${JSON.stringify(told)}`);
    t.ok(told.missed_cut_off! > 0);
    for (const [instance, gapMs] of witness.gaps("fra")) {
      const bound = 2 * shape.scrapeIntervalMs + 2 * heldMs;
      if (gapMs > bound) t.fail(`seed ${seed}: ${instance} was not scraped for ${gapMs} ms, expected ${bound} at most`);
    }
    t.equal(witness.gaps("fra").size, 6);
    for (const machine of machines) world.kill(machine);
  }
});

t.test("a seed takes the same steps again", async (t) => {
  const first = await simulate({ seed, minutes: 1 });
  const again = await simulate({ seed, minutes: 1 });
  t.equal(again.steps, first.steps);
  t.same(again.story, first.story);
  t.same(again.counts, first.counts);
});

t.test(`a secondary that is lost costs its targets what was promised (SEED=${seed})`, async (t) => {
  for (const each of [seed, seed + 1, seed + 2]) {
    const { breaches, lost, missing, slots, stored } = await simulateMoves(each);
    t.same(breaches, []);
    t.equal(slots, stored + missing);
    t.equal(lost.length, 4);
  }
});

t.test("a planted bug is found within some seeds", async (t) => {
  const plant = plants.find(({ name }) => name === "first_scrape_wins")!;
  // What befalls a seed is another thing with each kind of fault that is added.
  for (let planted = 1; planted <= 10; planted++) {
    const { violations } = await simulate({ seed: planted, minutes: 30, plant });
    if (violations.length === 0) continue;
    // In the head, or of a slot that stored nothing in the ledger alone.
    t.match(violations[0]!.code, /^(outranked|ledger_wrong)$/);
    return;
  }
  t.fail("it was not found");
});
