import { randomInt } from "node:crypto";
import t from "tap";
import { describe } from "#/test/sim/faults.ts";
import { simulateMoves } from "#/test/sim/moves.ts";
import { plants } from "#/test/sim/planted.ts";
import { simulate } from "#/test/sim/simulate.ts";

const seed = Number(process.env.SEED ?? randomInt(2 ** 31));

t.setTimeout(120_000);

/** `make test` runs more of them on every core, and `make sim` hours. */
const minutes = 6;

t.test(`a federation keeps its promises through the faults of a seed (SEED=${seed})`, async (t) => {
  const { faults, story, violations } = await simulate({ seed, minutes });
  t.same(violations, [], `SEED=${seed} node test/sim/main.ts --minutes ${minutes}`);
  if (violations.length > 0) for (const line of [...faults.map(describe), ...story.slice(-40)]) t.comment(line);
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
    t.match(violations[0], { code: "outranked" });
    return;
  }
  t.fail("it was not found");
});
