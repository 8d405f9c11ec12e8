// A large data centre, 20 secondaries of capacity 6,000 and 100,000 targets: what both primaries make of it, and what of that is
// written. How long it takes tells `make bench-assign`.

import t from "tap";
import { contentId } from "#/lib/bytes/hash.ts";
import { encodeDelta, encodeGeneration, readGeneration } from "#/lib/codec/generation.ts";
import { applyDelta, diffGenerations, type GenerationDelta } from "#/lib/model/delta.ts";
import type { Generation, GenerationSecondary } from "#/lib/model/generation.ts";
import { changesBetween } from "#/lib/model/history.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { planGeneration, sameAssignments } from "#/primary/assign.ts";
import { plainScrapeOptions } from "#/test/support/targets.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);
const random = seededRandom(seed);

const targets = Array.from({ length: 100_000 }, (_, i) => {
  const address = `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}:9100`;
  const labels = labelsOf({ job: "node", instance: address, datacenter: "ams", rack: `r${i % 400}` });
  const times = { intervalMs: 15_000, timeoutMs: 10_000, options: plainScrapeOptions };
  return { id: contentId(`${seed} ${address}`), job: "node", url: `http://${address}/metrics`, labels, ...times };
});
const living: readonly GenerationSecondary[] = Array.from({ length: 20 }, (_, i) => ({
  name: `ams-secondary-${seed % 97}-${i + 1}`,
  capacity: 6000,
}));

function shuffled<T>(items: readonly T[]): T[] {
  const all = [...items];
  for (let i = all.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all;
}

function plan(by: readonly GenerationSecondary[], previous?: Generation): Generation {
  const number = (previous?.number ?? 0) + 1;
  const facts = { number, token: 3, primary: "p1", nowMs: 1_700_000_000_000, datacenter: "ams" };
  return planGeneration({ ...facts, previous, targets: shuffled(targets), living: shuffled(by) });
}

const base = plan(living);

t.test("nobody has more than 1.05 times the mean", async (t) => {
  const counts = [...Map.groupBy(base.targets, ({ owner }) => owner).values()].map(({ length }) => length);
  t.equal(counts.length, 20);
  t.ok(Math.max(...counts) <= 5250, `${Math.max(...counts)} of 5000`);
});

t.test("whoever makes it makes the same", async (t) => {
  t.ok(sameAssignments(base, plan(living)));
});

t.test(
  "one that joins, leaves or is drained moves at most 5.5 %, and less than half a percent of the bytes is written",
  async (t) => {
    const whole = encodeGeneration(base).length;
    const [first, ...others] = living as readonly [GenerationSecondary, ...GenerationSecondary[]];
    for (const [what, by] of [
      ["joins", [...living, { name: "ams-secondary-new", capacity: 6000 }]],
      ["leaves", others],
      ["is drained", [{ ...first, state: "draining" as const }, ...others]],
    ] as const) {
      const next = plan(by, base);
      const { added, moved, removed } = changesBetween(base.targets, next.targets);
      t.same([added, removed], [0, 0]);
      t.ok(moved <= 5500, `${what}: ${moved} moved`);
      const bytes = encodeDelta(diffGenerations(base, next));
      t.ok(bytes.length <= whole * 0.005, `${what}: ${bytes.length} of ${whole} bytes`);
      t.ok(sameAssignments(applyDelta(base, readGeneration(bytes) as GenerationDelta), next));
    }
  },
);
