import t from "tap";
import { describe } from "#/test/sim/faults.ts";
import { plants } from "#/test/sim/planted.ts";
import { simulate } from "#/test/sim/simulate.ts";

/** The same one each time until the simulator runs on the log's twin; `make sim` takes fresh ones. */
const seed = Number(process.env.SEED ?? 20_261_120);
t.comment(`SEED=${seed}`);

/** `make sim` runs hours; this is the share that fits beside other tests. */
const minutes = 8;

t.test("a federation keeps its promises through the faults of a seed", async (t) => {
  const { faults, story, violations } = await simulate({ seed, minutes });
  t.same(violations, [], `SEED=${seed} node test/sim/main.ts --minutes ${minutes}`);
  if (violations.length > 0) for (const line of [...faults.map(describe), ...story.slice(-40)]) t.comment(line);
});

t.test("a seed takes the same steps again", async (t) => {
  const first = await simulate({ seed, minutes: 2 });
  const again = await simulate({ seed, minutes: 2 });
  t.equal(again.steps, first.steps);
  t.same(again.story, first.story);
  t.same(again.counts, first.counts);
});

t.test("a planted bug is found", async (t) => {
  const plant = plants.find(({ name }) => name === "watermark_over_hole")!;
  const { violations } = await simulate({ seed: 1, minutes: 12, plant });
  t.match(violations[0], { code: "durable_lost" });
});
