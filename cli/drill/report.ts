// What the drill prints at its end: what was compared, a table as the first global tells it and what the other replicas tell,
// how often each kind of fault came and hit, and by name what the code does not promise yet.

import { type Account, type Blow, reportText, sumsText } from "#/cli/drill/account.ts";
import type { Comparison, ReplicaAccount } from "#/cli/drill/compare.ts";
import { replicasOf } from "#/cli/drill/compare.ts";
import { evidence } from "#/cli/drill/evidence.ts";
import { clockText, table } from "#/cli/drill/layout.ts";
import { type FaultKind, faultKinds } from "#/cli/drill/script.ts";
import { type NotPromised, notPromised } from "#/cli/drill/strike.ts";

/** What is about to be compared, and with what. */
export function comparisonText({ status, span, intervalMs }: Comparison): string {
  const { fleet } = status;
  const names = replicasOf(status).map(({ name, targets }) =>
    targets.length === fleet.targets ? name : `${name} (its ${targets.length})`,
  );
  return [
    `Compared is what was due from ${clockText(span.fromMs)} to ${clockText(span.untilMs)} (UTC, as in the logs):`,
    `each slot of ${fleet.targets} servers every ${intervalMs / 1000} s, whether it is there once, and each value of ${fleet.rows} series`,
    `with the function of time that the server computes it by; at ${names.join(", ")}.`,
  ].join("\n");
}

/** The first replica in full; another one only where it tells anything else, and its sums in any case. */
export function replicasText(blows: readonly Blow[], replicas: readonly ReplicaAccount[]): string {
  return replicas
    .map(({ replica, account }, index) => {
      const { name, targets } = replica;
      const textOf = (other: Account) => reportText("it", blows, other);
      const same = replicas.slice(0, index).find((before) => textOf(before.account) === textOf(account));
      if (same) return `As ${name} tells it: the same as ${same.replica.name}, line by line.`;
      if (index === 0 || account.breaches.length > 0) return reportText(name, blows, account);
      if (targets.length === replicas[0]!.replica.targets.length) return reportText(name, blows, account);
      return `As ${name} tells it, of its ${targets.length} servers:\n${sumsText(account)}`;
    })
    .join("\n\n");
}

/** A line a kind, also for those that never came. */
export function kindsText(blows: readonly Blow[], account: Account): string {
  const head = ["kind", "times", "hit", "seconds", "slots missing", "beyond", "doubled", "failed"];
  const rows = (Object.keys(faultKinds) as FaultKind[]).map((kind) => {
    const lines = account.perBlow.filter((_, index) => blows[index]?.kind === kind);
    const own = blows.filter((blow) => blow.kind === kind);
    const sum = (of: (line: (typeof lines)[number]) => number) =>
      String(lines.reduce((all, line) => all + of(line), 0));
    return [
      kind,
      String(own.length),
      String(own.filter(({ hit }) => hit).length),
      (own.reduce((all, { downMs }) => all + downMs, 0) / 1000).toFixed(0),
      sum(({ missing }) => missing),
      sum(({ beyond }) => beyond),
      sum(({ doubled }) => doubled),
      sum(({ failed }) => failed),
    ];
  });
  const legend = Object.entries(evidence).map(([kind, seen]) => `  ${kind}: ${seen}`);
  const missed = blows
    .filter(({ hit }) => !hit)
    .map(({ name, kind }) => `Missed its mark: ${name} (not seen: ${evidence[kind]})`);
  return [table([head, ...rows]), "A blow has hit when this was seen:", ...legend, ...missed].join("\n");
}

/** Kinds that came and never hit: the drill says nothing of them. */
export function kindsThatNeverHit(blows: readonly Blow[]): string[] {
  return (Object.keys(faultKinds) as FaultKind[]).flatMap((kind) => {
    const own = blows.filter((blow) => blow.kind === kind);
    return own.length > 0 && !own.some(({ hit }) => hit) ? [`${kind} came ${own.length} times and never hit`] : [];
  });
}

/** The last line. */
export function verdictText(
  blows: readonly Blow[],
  { account, breaches }: { account: Account; breaches: number },
): string {
  if (breaches > 0) return `FAILED: ${breaches} breaches, each named above.`;
  const excused = account.perBlow.reduce((sum, { missing }, index) => sum + (blows[index] ? missing : 0), 0);
  return `PASSED: 0 lost and 0 doubled beyond what is promised, no value wrong; ${excused} slots lost to what is listed as not promised.`;
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
