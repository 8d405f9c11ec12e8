// The ledger as tables for people: a data centre a table, its terms beside each other, and what stands behind them in words.

import { aligned } from "#/cli/columns.ts";
import type { LedgerOfDatacenter, LedgerRow, LedgerTerms, Reasons } from "#/lib/ledger/account.ts";
import { formatCount, words } from "#/lib/page/text.ts";

interface Column {
  readonly head: string;
  readonly of: (terms: LedgerTerms) => number;
  /** Left out where it is 0 everywhere. */
  readonly isRare?: boolean;
}

const columns: readonly Column[] = [
  { head: "DUE", of: ({ due }) => due },
  { head: "STORED", of: ({ stored }) => stored },
  { head: "PARTIAL", of: ({ partial }) => partial, isRare: true },
  { head: "FAILED", of: ({ failed }) => sum(failed) },
  { head: "MISSED", of: ({ missed }) => sum(missed) },
  { head: "DROPPED", of: ({ dropped }) => sum(dropped), isRare: true },
  { head: "SUPERSEDED", of: ({ superseded }) => superseded, isRare: true },
  { head: "UNASSIGNED", of: ({ unassigned }) => unassigned, isRare: true },
  { head: "LOST", of: ({ lost }) => sum(lost), isRare: true },
  { head: "DARK", of: ({ dark }) => dark, isRare: true },
  { head: "IN FLIGHT", of: ({ inFlight }) => sum(inFlight) },
  { head: "UNEXPLAINED", of: ({ unexplained }) => unexplained },
];

export function renderLedger(datacenters: readonly LedgerOfDatacenter[]): string {
  return datacenters.map(renderOne).join("\n\n");
}

function renderOne({ datacenter, from, rows, settledUntil, total, until }: LedgerOfDatacenter): string {
  const told = `${datacenter}, ${day(from)} ${time(from)} to ${time(until)} UTC`;
  if (total.due === 0) return `${told}: nothing was due, as far as this server knows.`;
  const shown = columns.filter(({ isRare, of }) => !isRare || of(total) > 0);
  const isSplit = rows.some((row) => row.from !== undefined);
  const heads = [
    ...(isSplit ? ["FROM (UTC)"] : []),
    ...(rows.some(({ generation }) => generation !== undefined) ? ["GENERATION"] : []),
    "OWNER",
    ...shown.map(({ head }) => head),
    "SHARE",
    "WHY",
  ];
  const lead = heads.indexOf("DUE");
  const line = (names: readonly string[], terms: LedgerTerms) => [
    ...names,
    ...shown.map(({ of }) => countText(of(terms))),
    shareText(terms),
    whyText(terms),
  ];
  const nameOf = ({ from: at, generation, owner }: LedgerRow) => [
    ...(at === undefined ? [] : [time(at)]),
    ...(generation === undefined ? [] : [`${generation}`]),
    owner === "" ? "nobody" : owner,
  ];
  const table = [heads, ...rows.map((row) => line(nameOf(row), row))];
  if (rows.length > 1) table.push(line(["all", ...Array.from({ length: lead - 1 }, () => "")], total));
  const right = new Set(heads.flatMap((head, column) => (column >= lead && head !== "WHY" ? [column] : [])));
  const notes = [`${told}; settled until ${time(settledUntil)}.`];
  if (total.repeated > 0) notes.push(`Told twice and counted once: ${formatCount(total.repeated)}.`);
  if (total.estimated) notes.push("What is dark was not told: it is supposed from the last generation.");
  return `${notes.join(" ")}\n${aligned(table, right)}`;
}

function sum(reasons: Reasons): number {
  return Object.values(reasons).reduce((all, count) => all + count, 0);
}

/** What did not happen is no number to read. */
function countText(count: number): string {
  return count === 0 ? "–" : formatCount(count);
}

/** Rounded down: it is 100 % only when all is there. */
function shareText({ due, partial, stored }: LedgerTerms): string {
  return `${(Math.floor(((stored + partial) / due) * 10_000) / 100).toFixed(2)} %`;
}

function whyText({ dropped, failed, inFlight, lost, missed }: LedgerTerms): string {
  const said = (name: string, reasons: Reasons) =>
    Object.entries(reasons)
      .sort(([, a], [, b]) => b - a)
      .map(([reason, count]) => `${name} ${words(reason)} ${formatCount(count)}`);
  return (
    [
      ...said("failed", failed),
      ...said("missed", missed),
      ...said("dropped", dropped),
      ...said("lost", lost),
      ...said("in flight", inFlight),
    ].join(", ") || "–"
  );
}

function day(text: string): string {
  return text.slice(0, "2026-01-01".length);
}

function time(text: string): string {
  return text.slice("2026-01-01T".length, "2026-01-01T00:00:00".length);
}
