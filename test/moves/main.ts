// `make drill-moves`: who scrapes what when secondaries die, stand still, are cut off and are drained; prints a table, and ends with 1
// when a promise is broken.

import { parseArgs } from "node:util";
import { table } from "#/cli/drill/layout.ts";
import { breachesOf, runMoves } from "#/test/moves/moves.ts";
import { openWorld } from "#/test/support/world.ts";

const { values } = parseArgs({
  options: {
    targets: { type: "string", default: "2000" },
    rows: { type: "string", default: "50" },
    interval: { type: "string", default: "5000" },
    away: { type: "string", default: "30000" },
  },
});
const say = (line: string) => void process.stdout.write(`${line}\n`);
const ends: (() => unknown)[] = [];
let passed = false;
const world = await openWorld({
  teardown: (end: () => unknown) => void ends.push(end),
  passing: () => passed,
  comment: say,
});
try {
  const result = await runMoves(world, {
    targets: Number(values.targets),
    rows: Number(values.rows),
    intervalMs: Number(values.interval),
    awayMs: Number(values.away),
    say,
  });
  const head = ["", "targets", "slots missing", "most of a target", "allowed"];
  const rows = result.rows.map((row) => [row.what, row.targets, row.missing, row.missingMost, row.allowed].map(String));
  say(`\n${table([head, ...rows])}\n`);
  const { doubled, failed, generations, missing, slots, stored } = result;
  say(`${slots} slots were due: ${stored} stored, ${failed} failed, ${missing} missing; ${doubled} doubled.`);
  say(`${generations} generations.`);
  const breaches = breachesOf(result);
  for (const breach of breaches) say(`BREACH: ${breach}`);
  say(breaches.length === 0 ? "all promises held" : "a promise was broken");
  passed = breaches.length === 0;
} finally {
  for (const end of ends.reverse()) await end();
}
process.exit(passed ? 0 : 1);
