// `node test/replay/main.ts [--minutes N] [--seed N]`: the same bodies to Heliograph and to Prometheus, and every sample compared.

import { parseArgs } from "node:util";
import { findTool } from "#/cli/tools.ts";
import { minuteMs } from "#/lib/bytes/units.ts";
import { replay } from "#/test/replay/replay.ts";

/** Of the scrapes that one of them did, those whose round both had. A machine that is busy with other things misses some. */
const commonShareMin = 0.5;

const { values } = parseArgs({ options: { minutes: { type: "string" }, seed: { type: "string" } } });
const say = (line: string) => void process.stdout.write(`${line}\n`);
const program = await findTool("prometheus", { onProgress: say });
const seed = Number(values.seed || Math.floor(Math.random() * 2 ** 31));
say(`SEED=${seed}`);
const comparisons = await replay({ program, seed, forMs: Number(values.minutes ?? 10) * minuteMs, say });

say("| target | scrapes: ours, theirs | rounds compared | series | samples | ends of series | differences |");
say("| --- | --- | --- | --- | --- | --- | --- |");
for (const { differing, play, rounds, samples, scrapes, series, staleMarkers } of comparisons) {
  const cells = [play, `${scrapes.ours}, ${scrapes.theirs}`, rounds, series, samples, staleMarkers, differing];
  say(`| ${cells.join(" | ")} |`);
}
const sum = (of: (each: (typeof comparisons)[number]) => number) =>
  comparisons.reduce((total, each) => total + of(each), 0);
say(`all: ${sum(({ samples }) => samples)} samples and ${sum(({ staleMarkers }) => staleMarkers)} ends compared.`);
for (const { differences } of comparisons) for (const difference of differences) say(difference);
const rare = comparisons.filter(
  ({ rounds, scrapes }) => rounds < commonShareMin * Math.max(scrapes.ours, scrapes.theirs),
);
for (const { play, rounds } of rare) say(`${play}: expected at least half of the scrapes in both, got ${rounds}`);
if (rare.length > 0 || sum(({ differing }) => differing) > 0) process.exitCode = 1;
