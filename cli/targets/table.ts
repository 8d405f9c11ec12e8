// Secondaries and targets as lines for people.

import { aligned } from "#/cli/columns.ts";
import type { AssignedAnswer, AssignedSummary, DatacenterSummary } from "#/lib/page/assigned/answer.ts";
import { explain } from "#/lib/page/outcome.ts";
import { formatAge, formatCount, formatDuration, words } from "#/lib/page/text.ts";

export interface TargetsAnswer {
  readonly activeTargets: readonly AssignedAnswer[];
  readonly heliograph: AssignedSummary;
}

/** Cells of a bar. */
const barLength = 10;

export function renderTargets(
  { activeTargets, heliograph }: TargetsAnswer,
  { width = Number.POSITIVE_INFINITY }: { readonly width?: number } = {},
): string {
  const nowMs = Date.parse(heliograph.now);
  const parts = heliograph.datacenters.map((datacenter) => datacenterText(datacenter, nowMs));
  if (heliograph.datacenters.length === 0) parts.push("No generation was read yet: nothing is assigned.");
  if (activeTargets.length > 0) parts.push(targetsText(activeTargets, nowMs, heliograph.datacenters.length > 1));
  parts.push(countsText(heliograph, activeTargets.length));
  const lines = parts.join("\n\n").split("\n");
  return lines.map((line) => [...line].slice(0, width).join("")).join("\n");
}

function datacenterText(
  { generation, name, primary, secondaries, targets, unassigned, validFrom }: DatacenterSummary,
  nowMs: number,
): string {
  const none = unassigned > 0 ? `, ${formatCount(unassigned)} without an owner` : "";
  const age = formatAge(nowMs - Date.parse(validFrom));
  const head = `${name}: generation ${generation} by ${primary}, ${age} ago; ${formatCount(targets)} targets${none}`;
  const rows = secondaries.map((each) => [
    each.name,
    each.state === "unknown" ? "never heard" : words(each.state),
    formatCount(each.targets),
    formatCount(each.capacity),
    bar(each.targets / each.capacity),
    each.failing > 0 ? formatCount(each.failing) : "–",
    each.primary === "" ? "–" : each.primary,
    each.ageMs === null ? "never" : `${formatAge(each.ageMs)} ago`,
  ]);
  const heads = ["SECONDARY", "STATE", "TARGETS", "OF", "LOAD", "FAILING", "CONNECTED TO", "LAST WORD"];
  return `${head}\n${aligned([heads, ...rows], new Set([2, 3, 5, 7]))}`;
}

function bar(share: number): string {
  const full = Math.max(0, Math.min(barLength, share > 0 ? Math.max(1, Math.round(share * barLength)) : 0));
  return "█".repeat(full) + "·".repeat(barLength - full);
}

function targetsText(targets: readonly AssignedAnswer[], nowMs: number, several: boolean): string {
  const rows = targets.map(({ heliograph: facts, lastScrapeDuration, scrapePool, scrapeUrl }) => {
    const scraped = facts.condition === "up" || facts.condition === "partial";
    return [
      stateOf(facts),
      ...(several ? [facts.datacenter] : []),
      scrapePool,
      scrapeUrl,
      facts.owner ?? "none",
      facts.slot === null ? "–" : `${facts.slot}`,
      `${facts.generation}`,
      facts.slotTime === null ? "–" : `${formatAge(nowMs - Date.parse(facts.slotTime))} ago`,
      scraped ? formatDuration(lastScrapeDuration * 1000) : "–",
      scraped ? formatCount(facts.samples) : "–",
      whyOf(facts, nowMs),
    ];
  });
  const heads = [
    "STATE",
    ...(several ? ["DATA CENTRE"] : []),
    "JOB",
    "TARGET",
    "SECONDARY",
    "SLOT",
    "GEN",
    "LAST",
    "TOOK",
    "SAMPLES",
    "WHY",
  ];
  const first = several ? 5 : 4;
  return aligned([heads, ...rows], new Set([0, 1, 2, 3, 4].map((column) => first + column)));
}

function stateOf({ condition, outcome }: AssignedAnswer["heliograph"]): string {
  return (condition === "failing" || condition === "missed") && outcome !== null ? words(outcome) : condition;
}

function whyOf(
  { condition, outcome, owner, scrapedBy, since, unassigned }: AssignedAnswer["heliograph"],
  nowMs: number,
): string {
  const said: string[] = [];
  if (unassigned !== null) said.push(unassigned);
  else if (condition === "silent")
    said.push(outcome === null ? "nothing was ever told of it" : "nothing was told of it lately");
  else if (condition === "waiting") said.push("not scraped yet");
  else if (outcome !== null && explain(outcome) !== "") said.push(explain(outcome));
  if (since !== null && condition !== "up" && condition !== "silent") {
    said.push(`since ${formatAge(nowMs - Date.parse(since))}`);
  }
  if (owner !== null && scrapedBy !== null && scrapedBy !== owner) said.push(`last by ${scrapedBy}`);
  return said.join(", ");
}

function countsText({ counts, found }: AssignedSummary, listed: number): string {
  const named = Object.entries(counts)
    .filter(([name, count]) => name !== "all" && count > 0)
    .map(([name, count]) => `${formatCount(count)} ${name}`);
  const all = `${formatCount(counts.all)} ${counts.all === 1 ? "target" : "targets"}${named.length > 0 ? `: ${named.join(", ")}` : ""}.`;
  if (found === 0) return counts.all === 0 ? "No target is like that." : `${all} None of them is listed.`;
  return listed < found
    ? `${all} Listed are ${formatCount(listed)} of ${formatCount(found)}; --limit 0 lists all.`
    : all;
}
