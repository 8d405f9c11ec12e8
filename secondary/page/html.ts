// The secondary's pages for people: its targets, and the series of a layout. Everything that comes from outside is escaped.

import type { Labels } from "#/lib/model/labels.ts";
import { isStored } from "#/lib/model/outcome.ts";
import { documentOf } from "#/lib/page/document.ts";
import { FilterLinks, pageRowsMax, placeOf, selectBox } from "#/lib/page/filter.ts";
import { labelsLine, targetCell, tookCell } from "#/lib/page/row.ts";
import { escapeHtml, formatAge, formatBytes, formatCount, formatDuration, words } from "#/lib/page/text.ts";
import {
  conditionOf,
  conditions,
  type Filter,
  filterOf,
  type LayoutShare,
  type PageSource,
  type Selection,
  shareOfTimeout,
  type TargetView,
} from "#/secondary/page/view.ts";

export function targetsPage(source: PageSource, filter: Filter, selection: Selection, nowMs: number): string {
  const { common, counts, found, jobs, outcomes, total } = selection;
  const place = placeOf(filter, found);
  const rows = selection.rows.slice(place.from, place.from + pageRowsMax);
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
  return documentOf(
    `${source.name} · targets`,
    `${heading(source, common)}
<form><nav>${pills.join("")}</nav>${reasons.length > 0 ? `<nav class="reasons">${reasons.join("")}</nav>` : ""}
<div class="find">${links.hiddenInputs(["show", "outcome", "sort"])}${selectBox("job", "every job", jobs, filter.job)}
<input name="find" type="search" value="${escapeHtml(filter.find)}" placeholder="address, label=value or error" aria-label="find"><button>Find</button></div></form>
${
  rows.length === 0
    ? `<p class="none">${nothingFound(total)}</p>`
    : `<table><thead><tr>${links.head("Target", "name")}${links.head("State", "worst")}${links.head("Samples", "samples", "n")}${links.head("Took", "slow", "n")}<th class="n">Last / next</th><th>Layout, slot</th></tr></thead>
<tbody>
${rows.map((view) => rowOf(view, hidden, nowMs)).join("\n")}
</tbody></table>`
}
${links.pager(place, rows.length)}`,
  );
}

const plain: Filter = filterOf({});

function nothingFound(total: number): string {
  return total === 0
    ? "No targets are assigned to this secondary."
    : 'No target is like that. <a href="?">All of them</a>';
}

function heading(source: PageSource, common: Labels): string {
  const { datacenter, generation, name, primary, spool } = source;
  const facts = [
    `secondary of <b>${escapeHtml(datacenter)}</b>`,
    `generation <b>${generation}</b>`,
    primary ? `batches go to <b>${escapeHtml(primary)}</b>` : `<b class="bad">no primary takes batches</b>`,
    `spool <b>${spool.batches}</b> ${spool.batches === 1 ? "batch" : "batches"}, ${formatBytes(spool.bytes)}`,
  ];
  if (Number.isFinite(spool.roomMs)) {
    facts.push(
      `<b class="bad">${formatAge(spool.roomMs)} left</b> of ${formatBytes(spool.bytesMax)} at the present rate`,
    );
  }
  if (!spool.diskTakes) {
    facts.push(`<b class="bad">the disk takes nothing</b>, ${formatBytes(spool.memoryBytes)} in memory`);
  }
  return `<header><h1>${escapeHtml(name)}</h1><p>${facts.join(" · ")}</p><p class="links"><a href="/targets">targets</a><a href="/metrics">metrics</a><a href="/api/v1/targets">JSON</a></p>
${labelsLine(common)}</header>`;
}

function rowOf(view: TargetView, hidden: ReadonlySet<string>, nowMs: number): string {
  const { last, target } = view;
  const condition = conditionOf(view);
  const layout = view.layout
    ? `<a class="id" href="/targets/layout?id=${view.layout.id}" title="${formatCount(view.layout.series)} series">${view.layout.id.slice(0, 8)}</a>`
    : "";
  const slot = last ? `slot ${last.slot}, gen. ${last.generation}` : `gen. ${view.generation}`;
  const added = last && last.added > 0 ? `<small>${formatCount(last.added)} new</small>` : "";
  const tookMs = shareOfTimeout(view, target) === undefined ? undefined : last!.durationUs / 1000;
  const samples = last && (condition === "up" || condition === "partial") ? formatCount(last.samples) : "–";
  return `<tr class="${condition}">${targetCell(target, hidden)}<td class="state"><i>${last ? words(last.outcome) : "waiting"}</i>${why(view, nowMs)}</td><td class="n samples">${samples}${added}</td>${tookCell(tookMs, target.timeoutMs)}<td class="n when">${when(view, nowMs)}</td><td class="layout">${layout}<small>${slot}</small></td></tr>`;
}

function why({ last, lastStoredMs }: TargetView, nowMs: number): string {
  const said: string[] = [];
  if (!last) return "<small>not scraped yet</small>";
  if (last.error !== "") said.push(`<small class="error">${escapeHtml(last.error)}</small>`);
  const refused = Object.entries(last.refused ?? {})
    // Of those that the guard refused, the sentence above says more.
    .filter(([reason, series]) => series > 0 && reason !== "cardinality")
    .map(([reason, series]) => `${formatCount(series)} refused: ${escapeHtml(words(reason))}`);
  if (last.dropped > 0) refused.push(`${formatCount(last.dropped)} dropped by metric_relabel_configs`);
  if (refused.length > 0) said.push(`<small>${refused.join("; ")}</small>`);
  if (last.error !== "" && !isStored(last.outcome)) {
    const since =
      lastStoredMs === undefined ? "nothing was stored here yet" : `last stored ${formatAge(nowMs - lastStoredMs)} ago`;
    said.push(`<small>${since}</small>`);
  }
  return said.join("");
}

function when({ dueMs, last, running, target }: TargetView, nowMs: number): string {
  const ago = last ? `${formatAge(nowMs - last.beganMs)} ago` : "–";
  const next = running ? "being scraped" : `next in ${formatAge(dueMs - nowMs)}`;
  return `<span title="every ${formatDuration(target.intervalMs)}">${ago}</span><small>${next}</small>`;
}

/** A layout's series, in the order in which they are sent. */
export function layoutPage(source: PageSource, filter: Filter, { layout, targets, urls }: LayoutShare): string {
  const find = filter.find.toLowerCase();
  const rows = layout.rows.filter(({ name }) => find === "" || name.toLowerCase().includes(find));
  const pages = Math.max(1, Math.ceil(rows.length / pageRowsMax));
  const page = Math.min(filter.page, pages);
  const from = (page - 1) * pageRowsMax;
  const shown = rows.slice(from, from + pageRowsMax);
  const sharers = urls.map((url) => `<li>${escapeHtml(url)}</li>`);
  const more = targets - sharers.length;
  const step = (to: number, text: string) => {
    if (to < 1 || to > pages) return `<span>${text}</span>`;
    const query = new URLSearchParams({ id: layout.id, find: filter.find, page: String(to) });
    return `<a href="?${escapeHtml(query.toString())}">${text}</a>`;
  };
  return documentOf(
    `${source.name} · layout ${layout.id.slice(0, 8)}`,
    `${heading(source, [])}
<h2>Layout <code>${layout.id}</code></h2>
<p>${formatCount(layout.rows.length)} series of ${formatCount(layout.families.length)} metrics, after relabelling and without what their targets' labels add; an empty value takes a target's label away. <a href="/api/v1/targets/layout?id=${layout.id}">JSON</a></p>
<details><summary>${formatCount(targets)} ${targets === 1 ? "target exposes" : "targets expose"} them</summary><ul>${sharers.join("")}${more > 0 ? `<li>and ${formatCount(more)} more</li>` : ""}</ul></details>
<form><div class="find"><input type="hidden" name="id" value="${layout.id}"><input name="find" type="search" value="${escapeHtml(filter.find)}" placeholder="name" aria-label="find"><button>Find</button></div></form>
<table class="series"><thead><tr><th>Series</th><th>Type</th><th>Unit</th><th>Help</th></tr></thead><tbody>
${shown
  .map(({ family, labels, name }) => {
    const { help, type, unit } = layout.families[family]!;
    const braces = labels.map(([label, value]) => `${escapeHtml(label)}="<b>${escapeHtml(value)}</b>"`).join(", ");
    return `<tr><td><code>${escapeHtml(name)}${braces ? `<span>{${braces}}</span>` : ""}</code></td><td>${type}</td><td>${escapeHtml(unit)}</td><td>${escapeHtml(help)}</td></tr>`;
  })
  .join("\n")}
</tbody></table>
${rows.length === 0 ? '<p class="none">No series is called that.</p>' : ""}${pages > 1 ? `<p class="pager">${step(page - 1, "← before")} ${formatCount(from + 1)}–${formatCount(from + shown.length)} of ${formatCount(rows.length)} ${step(page + 1, "more →")}</p>` : ""}`,
  );
}

export function missingPage(source: PageSource, message: string): string {
  return documentOf(source.name, `${heading(source, [])}<p class="none">${escapeHtml(message)}</p>`);
}
