import { randomInt } from "node:crypto";
import t from "tap";
import { describe } from "#/test/sim/faults.ts";
import { plants } from "#/test/sim/planted.ts";
import { simulate } from "#/test/sim/simulate.ts";

const seed = Number(process.env.SEED ?? randomInt(2 ** 31));

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

t.test("a planted bug is found", async (t) => {
  const plant = plants.find(({ name }) => name === "first_scrape_wins")!;
  const { violations } = await simulate({ seed: 2, minutes: 30, plant });
  t.match(violations[0], { code: "outranked" });
});
