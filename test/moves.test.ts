// A small form of `make drill-moves`.

import t from "tap";
import { breachesOf, runMoves } from "#/test/moves/moves.ts";
import { natsServer } from "#/test/support/nats.ts";
import { openWorld } from "#/test/support/world.ts";

t.setTimeout(240_000);

const claim = "secondaries that die, stand still, are cut off or drained cost their targets what was promised";
t.test(claim, { skip: natsServer.missing }, async (t) => {
  const world = await openWorld(t);
  const options = { targets: 60, rows: 40, intervalMs: 2000, awayMs: 7000, say: (line: string) => t.comment(line) };
  const result = await runMoves(world, options);
  t.same(breachesOf(result), []);
  t.equal(result.rows.length, 5);
  t.ok(result.stored > 1000);
});

const quiet = { missing: 0, missingMost: 0, allowed: 0 };
const clean = {
  rows: [{ what: "s1 killed", targets: 3, ...quiet, allowed: 1 }],
  slots: 10,
  stored: 9,
  failed: 0,
  missing: 1,
  unexplained: [],
  doubled: 0,
  generations: 2,
};

t.test("what breaks a promise is told", async (t) => {
  t.same(breachesOf(clean), []);
  const [row] = clean.rows;
  t.same(breachesOf({ ...clean, rows: [{ ...row!, missingMost: 2 }] }), [
    "s1 killed: a target missed 2 slots, allowed are 1",
  ]);
  t.same(breachesOf({ ...clean, rows: [{ ...row!, targets: 0 }] }), [
    "s1 killed: it had no targets, so nothing is proved",
  ]);
  t.equal(breachesOf({ ...clean, unexplained: ["somewhere"] }).length, 1);
  t.equal(breachesOf({ ...clean, doubled: 1 }).length, 1);
  t.equal(breachesOf({ ...clean, failed: 1, stored: 8 }).length, 1);
  t.equal(breachesOf({ ...clean, slots: 11 }).length, 1);
});
