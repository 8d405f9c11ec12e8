import t from "tap";

import type { Random } from "#/lib/random/random.ts";
import { readCorpus } from "#/test/fuzz/corpus.ts";
import { type ExpositionStep, expositions } from "#/test/fuzz/exposition.ts";
import { reduced, runGroup } from "#/test/fuzz/group.ts";
import { runGroups } from "#/test/fuzz/pool.ts";

const progress = () => new Int32Array(new SharedArrayBuffer(4));

t.test("the corpus has bodies of each real exporter, and both formats", (t) => {
  const corpus = readCorpus();
  for (const name of [
    "node_cpu_seconds_total",
    "probe_success",
    "push_time_seconds",
    "prometheus_tsdb_",
    "etcd_server_",
  ]) {
    for (const format of ["text", "openmetrics"]) {
      const found = corpus.some((entry) => entry.format === format && entry.text.includes(name));
      t.ok(found, `${name} in ${format}`);
    }
  }
  t.end();
});

t.test("a group is repeated by its seed", (t) => {
  const [first, second, other] = [5, 5, 6].map((seed) => {
    const { counts, inputs, steps } = runGroup(expositions, { seed, inputs: 300, progress: progress() });
    return { counts, inputs, steps };
  });
  t.same(first, second);
  t.notSame(first, other);
  t.end();
});

t.test("most mutants are read, and both by walking and by learning", (t) => {
  const { counts, finding, inputs } = runGroup(expositions, { seed: 1, inputs: 2000, progress: progress() });
  t.equal(finding, undefined);
  t.ok(inputs >= 2000);
  for (const [what, least] of Object.entries({
    stored: 1500,
    partial: 200,
    refused: 500,
    learned: 1000,
    walked: 1000,
  })) {
    t.ok(counts[what]! > least, `${what}: ${counts[what]}`);
  }
  t.equal(counts.decoded, counts.stored! + counts.partial!);
  t.end();
});

/** A reader that is wrong about some bodies, and only after it has read some other. */
const planted = {
  ...expositions,
  open() {
    const trial = expositions.open();
    let primed = false;
    return {
      counts: trial.counts,
      isTaken: true,
      end: () => undefined,
      try({ body }: ExpositionStep) {
        if (/^node_\w+ 0$/m.test(body)) primed = true;
        return primed && body.includes("NaN") ? "planted" : undefined;
      },
    };
  },
};

t.test("a finding is made as small as shows it, with what was needed before it", (t) => {
  const { finding } = runGroup(planted, { seed: 7, inputs: 20_000, progress: progress() });
  t.equal(finding?.difference, "planted");
  t.equal(finding?.isMinimised, true);
  t.match(finding?.steps[0], /^"node_\w 0" \(\d+ bytes, /);
  t.match(finding?.steps.at(-1), /^"(node_\w 0\\n)?NaN" \(\d+ bytes, /);
  t.ok(finding!.steps.length <= 2);
  t.end();
});

t.test("an exception is a finding, with its stack", (t) => {
  const broken = {
    ...expositions,
    open: () => ({
      counts: {},
      isTaken: true,
      end: () => undefined,
      try(): string | undefined {
        throw new RangeError("out of bounds");
      },
    }),
  };
  const { finding } = runGroup(broken, { seed: 7, inputs: 10, progress: progress() });
  t.match(finding?.difference, /^RangeError: out of bounds\n +at /);
  t.match(finding?.steps, ['"" (0 bytes']);
  t.end();
});

t.test("lists are reduced to what is needed of them", (t) => {
  const numbers = Array.from({ length: 100 }, (_, i) => i);
  const needs = (some: readonly number[]) => some.includes(17) && some.includes(63);
  t.same(
    reduced(numbers, needs, () => true),
    [17, 63],
  );
  t.same(
    reduced(numbers, needs, () => false),
    numbers,
    "as they are, when there is no time",
  );
  t.end();
});

t.test("threads take groups until there are no more", async (t) => {
  const seeds = [1, 2, 3];
  const done: number[] = [];
  await runGroups(
    () => (seeds.length > 0 ? { name: "answer", seed: seeds.shift()!, inputs: 100 } : undefined),
    ({ seed }, { inputs }) => done.push(seed, inputs),
    2,
  );
  t.same(done.sort(), [1, 100, 100, 100, 2, 3]);
});

t.test("change upon change stays within bounds", (t) => {
  const random: Random = { next: () => 0.999, below: (below) => below - 1 };
  const steps = expositions.steps(random);
  for (let next = steps.next(); !next.done; next = steps.next(true)) t.ok(next.value.body.length <= 6000);
  t.end();
});
