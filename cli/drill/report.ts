// What the seeded drill prints beside the line of each blow: how often each kind came and what it cost, and by name what the code
// does not promise yet.

import type { Account, Blow } from "#/cli/drill/account.ts";
import { type FaultKind, faultKinds } from "#/cli/drill/script.ts";
import { type NotPromised, notPromised } from "#/cli/drill/strike.ts";

/** A line a kind, also for those that never came. */
export function kindsText(blows: readonly Blow[], account: Account): string {
  const head = ["kind", "times", "seconds", "slots missing", "beyond", "doubled", "failed"];
  const rows = (Object.keys(faultKinds) as FaultKind[]).map((kind) => {
    const lines = account.perBlow.filter((_, index) => blows[index]?.kind === kind);
    const sum = (of: (line: (typeof lines)[number]) => number) =>
      String(lines.reduce((all, line) => all + of(line), 0));
    const downMs = blows.filter((blow) => blow.kind === kind).reduce((all, blow) => all + blow.downMs, 0);
    return [
      kind,
      String(lines.length),
      (downMs / 1000).toFixed(0),
      sum(({ missing }) => missing),
      sum(({ beyond }) => beyond),
      sum(({ doubled }) => doubled),
      sum(({ failed }) => failed),
    ];
  });
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  return [head, ...rows]
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "))
    .join("\n");
}

/** Every loss that is excused, under its name, also where it came to nothing. */
export function notPromisedText(blows: readonly Blow[], account: Account): string {
  const lines = (Object.keys(notPromised) as NotPromised[]).map((name) => {
    const slots = account.perBlow.reduce(
      (sum, { missing, beyond }, index) => sum + (blows[index]?.excuse === name ? missing - beyond : 0),
      0,
    );
    return `  ${name}: ${slots} slots (${notPromised[name]})`;
  });
  const unhurt = account.perBlow.reduce((sum, line) => sum + line.failedUnhurt, 0);
  const failed = `  failed scrape: ${unhurt} slots (up 0 though nobody had hurt the server: a scrape that did not end in time)`;
  return ["Not promised yet, and what it cost:", ...lines, failed].join("\n");
}
