// `make sim-moves`: secondaries that are lost in a simulated data centre, by many seeds, and what that cost their targets.
//
//     node test/sim/moves-main.ts --seeds N [--seed FIRST]

import { parseArgs } from "node:util";
import { secondMs } from "#/lib/bytes/units.ts";
import { type MovesOutcome, waysToLose } from "#/test/sim/moves.ts";
import { runSeeds } from "#/test/sim/pool.ts";

const progressEveryMs = 30 * secondMs;

const { values } = parseArgs({
  options: { seeds: { type: "string", default: "1000" }, seed: { type: "string", default: "1" } },
});
const seeds = Number(values.seeds);
const first = Number(values.seed);
const say = (line: string) => void process.stdout.write(`${line}\n`);
const outcomes: MovesOutcome[] = [];
let begun = 0;
let saidMs = performance.now();
await runSeeds<{ readonly seed: number }, MovesOutcome>(
  "./moves-worker.ts",
  () => (begun === seeds ? undefined : { seed: first + begun++ }),
  (_, outcome) => {
    outcomes.push(outcome);
    for (const breach of outcome.breaches) say(`seed ${outcome.seed}: BREACH: ${breach}`);
    if (performance.now() - saidMs < progressEveryMs) return;
    saidMs = performance.now();
    say(`${outcomes.length} of ${seeds} seeds`);
  },
);
const sum = (of: (outcome: MovesOutcome) => number) => outcomes.reduce((total, each) => total + of(each), 0);
say(`\n${outcomes.length} seeds, ${first} to ${first + seeds - 1}`);
say("| a secondary was | times | slots missing | most of a target | of those allowed | times each |");
say("| --- | --- | --- | --- | --- | --- |");
for (const way of waysToLose) {
  const lost = outcomes.flatMap((outcome) => outcome.lost.filter((each) => each.way === way));
  const missing = lost.reduce((total, each) => total + each.missing, 0);
  const most = Math.max(...lost.map(({ missingMost }) => missingMost));
  const allowed = Math.max(...lost.map((each) => each.allowed));
  say(`| ${way} | ${lost.length} | ${missing} | ${most} | ${allowed} | ${(missing / lost.length).toFixed(1)} |`);
}
const [slots, stored, missing] = [sum((each) => each.slots), sum((each) => each.stored), sum((each) => each.missing)];
say(`\n${slots} slots were due: ${stored} stored, ${missing} missing, ${slots - stored - missing} unaccounted`);
const failed = outcomes.filter(({ breaches }) => breaches.length > 0).map(({ seed }) => seed);
say(failed.length === 0 ? "all promises held" : `FAILED seeds: ${failed.toSorted((a, b) => a - b).join(" ")}`);
process.exit(failed.length === 0 && slots === stored + missing ? 0 : 1);
