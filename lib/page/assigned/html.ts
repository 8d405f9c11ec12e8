// The page that says who scrapes what: the secondaries with their loads, and the targets. Everything that comes from outside is
// escaped.

import type { AssignedTarget } from "#/lib/model/generation.ts";
import type { LastOutcome } from "#/lib/model/outcome.ts";
import { assignedTarget, type DatacenterSummary, datacentersOf, nextSlotMs } from "#/lib/page/assigned/answer.ts";
import { type Filter, filterOf, type Row, type Selection } from "#/lib/page/assigned/select.ts";
import {
  type Condition,
  conditionOf,
  conditions,
  type SecondaryCondition,
  unassignedReason,
} from "#/lib/page/assigned/source.ts";
import { documentOf } from "#/lib/page/document.ts";
import { FilterLinks, placeOf, selectBox } from "#/lib/page/filter.ts";
import { explain } from "#/lib/page/outcome.ts";
import { labelsLine, targetCell, tookCell } from "#/lib/page/row.ts";
import { escapeHtml, formatAge, formatCount, formatDuration, words } from "#/lib/page/text.ts";

/** A secondary this full has no room for a lost neighbour's share. */
const fullShareMin = 0.9;

/** More secondaries than this stand on a data centre's own page only. */
const secondariesShownMax = 60;

const stateWords: Readonly<Record<SecondaryCondition, string>> = {
  active: "active",
  draining: "draining",
  cut_off: "cut off from its targets",
  damped: "damped: came and went too often",
  silent: "silent",
  unknown: "never heard",
};

const plain: Filter = filterOf({});

export interface AssignedPage {
  readonly server: string;
  readonly filter: Filter;
  readonly selection: Selection;
  /** All that there are, in order. */
  readonly datacenters: readonly string[];
  /** Why what stands here is not all; undefined when it is. */
  readonly incomplete: string | undefined;
  readonly nowMs: number;
}

export function assignedPage(page: AssignedPage): string {
  const { datacenters, filter, nowMs, selection } = page;
  const { common, counts, found, jobs, outcomes, rows } = selection;
  const place = placeOf(filter, found);
  const hidden = new Set(common.map(([name]) => name));
  const links = new FilterLinks(filter, plain);
  const pills = (["all", ...conditions] as const).map((show) =>
    links.pill({ show, outcome: "" }, { text: show, number: counts[show], current: filter.show === show, kind: show }),
  );
  const reasons = outcomes.map(([outcome, number]) =>
    links.pill(
      { show: "all", outcome: filter.outcome === outcome ? "" : outcome },
      { text: words(outcome), number, current: filter.outcome === outcome, kind: "reason" },
    ),
  );
  const summaries = datacentersOf(selection);
  const owners = summaries.flatMap(({ secondaries }) => secondaries.map(({ name }) => name));
  // Names are unique over all tiers.
  const urls = new Map(
    summaries.flatMap(({ secondaries }) => secondaries.map(({ name, url }) => [name, url] as const)),
  );
  const several = datacenters.length > 1;
  return documentOf(
    `${titleOf(page)} · targets`,
    `${heading(page, summaries)}
${secondariesTable(summaries, links, several)}
<form><nav>${pills.join("")}</nav>${reasons.length > 0 ? `<nav class="reasons">${reasons.join("")}</nav>` : ""}
<div class="find">${links.hiddenInputs(["show", "outcome", "sort"])}${several ? selectBox("datacenter", "every data centre", datacenters, filter.datacenter) : ""}${selectBox("owner", "every secondary", owners, filter.owner)}${selectBox("job", "every job", jobs, filter.job)}
<input name="find" type="search" value="${escapeHtml(filter.find)}" placeholder="address, label=value, outcome" aria-label="find"><button>Find</button></div></form>
${
  rows.length === 0
    ? `<p class="none">${nothingFound(selection)}</p>`
    : `<table><thead><tr>${links.head("Target", "name")}${links.head("State", "worst")}<th>Secondary</th>${links.head("Samples", "samples", "n")}${links.head("Took", "slow", "n")}<th class="n">Last / next</th><th>Slot</th></tr></thead>
<tbody>
${rows.map((row) => rowOf(row, { hidden, nowMs, urls })).join("\n")}
</tbody></table>`
}
${links.pager(place, rows.length)}`,
  );
}

function titleOf({ datacenters, filter, server }: AssignedPage): string {
  return datacenters.length === 1 ? datacenters[0]! : filter.datacenter || server;
}

function nothingFound({ snapshots, total }: Selection): string {
  if (snapshots.length === 0) return "No generation was read yet: nothing is assigned.";
  return total === 0 ? "Discovery found no targets here." : 'No target is like that. <a href="?">All of them</a>';
}

function heading(page: AssignedPage, summaries: readonly DatacenterSummary[]): string {
  const { datacenters, incomplete, nowMs, selection, server } = page;
  const facts = [`answered by <b>${escapeHtml(server)}</b>`];
  for (const { name, generation, primary, validFrom } of summaries) {
    const of = datacenters.length > 1 ? ` of <b>${escapeHtml(name)}</b>` : "";
    const age = formatAge(nowMs - Date.parse(validFrom));
    facts.push(`generation <b>${generation}</b>${of} by ${escapeHtml(primary)}, ${age} ago`);
  }
  const unassigned = selection.snapshots.flatMap(({ generation, source }) => {
    const count = selection.loads.get(source.datacenter)?.get("")?.targets ?? 0;
    if (count === 0) return [];
    const where = datacenters.length > 1 ? ` in ${escapeHtml(source.datacenter)}` : "";
    const many = count === 1 ? "target has" : "targets have";
    const why =
      source.whyUnassigned?.(generation) ?? `${formatCount(count)} ${many} no owner: ${unassignedReason(generation)}`;
    return [`<p class="note"><b class="bad">Not all is scraped${where}:</b> ${escapeHtml(why)}.</p>`];
  });
  return `<header><h1>${escapeHtml(titleOf(page))}</h1><p>${facts.join(" · ")}</p><p class="links"><a href="/targets">targets</a><a href="/metrics">metrics</a><a href="/api/v1/targets?limit=100">JSON</a></p>
${labelsLine(selection.common)}</header>${incomplete === undefined ? "" : `<p class="note"><b class="bad">Not all is known here yet:</b> ${escapeHtml(incomplete)}.</p>`}${unassigned.join("")}`;
}

function secondariesTable(
  summaries: readonly DatacenterSummary[],
  links: FilterLinks<Filter>,
  several: boolean,
): string {
  const all = summaries.flatMap((summary) => summary.secondaries.map((secondary) => ({ ...secondary, summary })));
  if (all.length === 0) return "";
  const rows = all.slice(0, secondariesShownMax).map((each) => {
    const share = each.targets / each.capacity;
    const width = Math.min(100, Math.round(share * 100));
    const look =
      each.state === "active"
        ? "up"
        : each.state === "silent"
          ? "failing"
          : each.state === "unknown"
            ? "waiting"
            : "missed";
    const where = several ? `<small>${escapeHtml(each.summary.name)}</small>` : "";
    const failing =
      each.failing === 0
        ? "–"
        : `<a href="${links.href({ datacenter: several ? each.summary.name : "", owner: each.name, show: "failing", outcome: "", page: 1 })}">${formatCount(each.failing)}</a>`;
    return `<tr class="${look}"><td class="name"><a href="${escapeHtml(each.url)}/targets">${escapeHtml(each.name)}</a>${where}</td><td class="state"><i>${escapeHtml(stateWords[each.state])}</i></td><td class="load"><a href="${links.href({ datacenter: several ? each.summary.name : "", owner: each.name, show: "all", outcome: "", page: 1 })}">${formatCount(each.targets)}</a> of ${formatCount(each.capacity)}<s class="${share >= fullShareMin ? "slow" : ""}"><u style="width:${width}%"></u></s></td><td class="n">${width} %</td><td class="n fail">${failing}</td><td class="to">${each.primary === "" || each.state === "silent" ? "–" : escapeHtml(each.primary)}</td><td class="n age">${each.ageMs === null ? "–" : `${formatAge(each.ageMs)} ago`}</td></tr>`;
  });
  const more =
    all.length > rows.length
      ? `<p class="note">${formatCount(all.length - rows.length)} more: choose a data centre.</p>`
      : "";
  return `<table class="secondaries"><thead><tr><th>Secondary</th><th>State</th><th>Targets</th><th class="n">Full</th><th class="n">Failing</th><th>Connected to</th><th class="n">Last word</th></tr></thead>
<tbody>
${rows.join("\n")}
</tbody></table>${more}`;
}

interface RowContext {
  readonly hidden: ReadonlySet<string>;
  readonly nowMs: number;
  /** Where a secondary's own pages are, by its name. */
  readonly urls: ReadonlyMap<string, string>;
}

function rowOf(row: Row, { hidden, nowMs, urls }: RowContext): string {
  const { assigned, snapshot } = row;
  const { owner, target } = assigned;
  const { generation, source } = snapshot;
  const last = source.last(target.id);
  const condition = conditionOf(assigned, last, { nowMs, validFromMs: generation.validFromMs });
  const { heliograph: facts } = assignedTarget(row, nowMs);
  const said: string[] = [];
  if (condition === "unassigned") said.push(unassignedReason(generation));
  if (condition === "silent") {
    said.push(last ? `nothing was told since ${formatAge(nowMs - last.timestampMs)}` : "nothing was ever told of it");
  } else if (last && explain(last.outcome) !== "") said.push(explain(last.outcome));
  if (condition === "waiting") said.push("not scraped yet");
  if (last && condition !== "up" && condition !== "silent") said.push(agesOf(last, condition, nowMs));
  const tried = condition === "up" || condition === "partial" || condition === "failing";
  const state = condition === "failing" || condition === "missed" ? words(last!.outcome) : condition;
  const samples = condition === "up" || condition === "partial" ? formatCount(last!.samples) : "–";
  const title = last && condition === "up" ? ` title="since ${formatAge(nowMs - last.sinceMs)}"` : "";
  const moved =
    last && owner !== "" && last.secondary !== owner ? `<small>last by ${escapeHtml(last.secondary)}</small>` : "";
  const slotTime = escapeHtml(facts.slotTime ?? "");
  const slot = last ? `<small title="${slotTime}">slot ${last.slot}</small>` : "";
  const scrapedUnder = `<small>generation ${last?.generation ?? generation.number}</small>`;
  return `<tr class="${condition}">${targetCell(target, hidden)}<td class="state"><i${title}>${escapeHtml(state)}</i>${said.map((each) => `<small>${escapeHtml(each)}</small>`).join("")}</td><td class="owner">${ownerLink(assigned, urls)}${moved}</td><td class="n samples">${samples}</td>${tookCell(tried ? last!.durationUs / 1000 : undefined, target.timeoutMs)}<td class="n when"><span title="every ${formatDuration(target.intervalMs)}">${last ? `${formatAge(nowMs - last.timestampMs)} ago` : "–"}</span>${owner === "" ? "" : `<small>next in ${formatAge(nextSlotMs(target, nowMs) - nowMs)}</small>`}</td><td class="slot">${slot}${scrapedUnder}</td></tr>`;
}

/** Since when it is so, and when it was last well. */
function agesOf({ lastStoredMs, sinceMs }: LastOutcome, condition: Condition, nowMs: number): string {
  const since = `since ${formatAge(nowMs - sinceMs)}`;
  if (condition === "partial") return since;
  const stored =
    lastStoredMs === undefined ? "nothing was stored yet" : `last stored ${formatAge(nowMs - lastStoredMs)} ago`;
  return `${since}, ${stored}`;
}

/** To the target on the page of the secondary that scrapes it: there stands the error as a sentence. */
function ownerLink({ owner, target }: AssignedTarget, urls: RowContext["urls"]): string {
  if (owner === "") return `<b class="bad">none</b>`;
  const url = urls.get(owner);
  if (url === undefined) return escapeHtml(owner);
  const query = new URLSearchParams({ find: target.url });
  return `<a href="${escapeHtml(`${url}/targets?${query.toString()}`)}">${escapeHtml(owner)}</a>`;
}
