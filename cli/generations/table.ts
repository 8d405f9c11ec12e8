// The log of generations as lines for people.

import { aligned } from "#/cli/columns.ts";
import type { GenerationAnswer } from "#/lib/model/history.ts";
import { causeText } from "#/lib/page/assigned/generations.ts";
import { formatBytes, formatCount, words } from "#/lib/page/text.ts";

/** With more secondaries than these, least and most say enough. */
const secondariesNamedMax = 6;

/** Causes that are said; the others are counted. */
const causesSaidMax = 3;

export function renderGenerations(generations: readonly GenerationAnswer[]): string {
  if (generations.length === 0) return "No generation was read yet: nothing is assigned.";
  const several = generations.some(({ datacenter }) => datacenter !== generations[0]!.datacenter);
  const heads = [
    "VALID FROM (UTC)",
    ...(several ? ["DATA CENTRE"] : []),
    "NUMBER",
    "BY",
    "MOVED",
    "ADDED",
    "REMOVED",
    "TARGETS",
    "WRITTEN",
    "WHY",
    "TARGETS A SECONDARY",
  ];
  const rows = generations.map((generation) => {
    const { bytes, changes, datacenter, form, number, primary, targets, unassigned, validFrom } = generation;
    return [
      validFrom.slice(0, "2026-01-01T00:00:00.0".length).replace("T", " "),
      ...(several ? [datacenter] : []),
      `${number}`,
      primary,
      ...[changes?.moved, changes?.added, changes?.removed].map(countText),
      formatCount(targets),
      `${form} ${formatBytes(bytes)}`,
      whyText(generation),
      [secondariesText(generation), ...(unassigned > 0 ? [`nobody ${formatCount(unassigned)}`] : [])].join(", "),
    ];
  });
  const first = several ? 1 : 0;
  const right = new Set([1, 3, 4, 5, 6].map((column) => column + first));
  return aligned([heads, ...rows], right);
}

/** What is not known, or did not happen, is no number to read. */
function countText(count: number | undefined): string {
  return count === undefined ? "?" : count === 0 ? "–" : formatCount(count);
}

function whyText({ causes }: GenerationAnswer): string {
  const more = causes.length - causesSaidMax;
  const said = causes.slice(0, causesSaidMax).map(causeText);
  return [...said, ...(more > 0 ? [`and ${more} more`] : [])].join(", ") || "–";
}

function secondariesText({ secondaries }: GenerationAnswer): string {
  if (secondaries.length === 0) return "no secondary lives";
  const stated = ({ name, state }: (typeof secondaries)[number]) => `${name} is ${words(state)}`;
  if (secondaries.length <= secondariesNamedMax) {
    return secondaries
      .map(
        ({ name, state, targets }) =>
          `${name} ${formatCount(targets)}${state === "active" ? "" : ` (${words(state)})`}`,
      )
      .join(", ");
  }
  const active = secondaries.filter(({ state }) => state === "active");
  const counts = active.map(({ targets }) => targets);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const range = least === most ? `${formatCount(most)} each` : `${formatCount(least)} to ${formatCount(most)}`;
  const idle = secondaries.filter(({ state }) => state !== "active").map(stated);
  return [active.length > 0 ? `${active.length} have ${range}` : "none is active", ...idle].join(", ");
}
