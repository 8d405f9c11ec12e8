// The secondary's pages for people. They need nothing but themselves (no script, no font, no other host), so that they also
// work from a text browser over an ssh tunnel. Everything that comes from outside is escaped: labels and errors are other
// people's text.

import type { Labels } from "#/lib/model/labels.ts";
import { isStored } from "#/lib/model/outcome.ts";
import { style } from "#/secondary/page/style.ts";
import {
  conditionOf,
  conditions,
  type Filter,
  filterOf,
  type LayoutShare,
  type Order,
  type PageSource,
  pageRowsMax,
  type Selection,
  shareOfTimeout,
  type TargetView,
} from "#/secondary/page/view.ts";

/** A scrape that takes this much of its timeout is about to fail. */
const slowShareMin = 0.5;

export function targetsPage(source: PageSource, filter: Filter, selection: Selection, nowMs: number): string {
  const { common, counts, found, jobs, outcomes, total } = selection;
  const pages = Math.max(1, Math.ceil(found / pageRowsMax));
  const page = Math.min(filter.page, pages);
  const from = (page - 1) * pageRowsMax;
  const rows = selection.rows.slice(from, from + pageRowsMax);
  const hidden = new Set(common.map(([name]) => name));
  const pills = (["all", ...conditions] as const).map((show) =>
    pill({ ...filter, show, outcome: "", page: 1 }, show, counts[show], filter.show === show, show),
  );
  const reasons = outcomes.map(([outcome, count]) =>
    pill(
      { ...filter, show: "all", outcome: filter.outcome === outcome ? "" : outcome, page: 1 },
      words(outcome),
      count,
      filter.outcome === outcome,
      "reason",
    ),
  );
  return document(
    `${source.name} · targets`,
    `${heading(source, common)}
<form><nav>${pills.join("")}</nav>${reasons.length > 0 ? `<nav class="reasons">${reasons.join("")}</nav>` : ""}
<div class="find">${hiddenInputs(filter)}<select name="job" aria-label="job"><option value="">every job</option>${jobs
      .map((job) => `<option${job === filter.job ? " selected" : ""}>${escapeHtml(job)}</option>`)
      .join("")}</select>
<input name="find" type="search" value="${escapeHtml(filter.find)}" placeholder="address, label=value or error" aria-label="find"><button>Find</button></div></form>
${
  rows.length === 0
    ? `<p class="none">${nothingFound(total)}</p>`
    : `<table><thead><tr>${head("Target", "name", filter)}${head("State", "worst", filter)}${head("Samples", "samples", filter, "n")}${head("Took", "slow", filter, "n")}<th class="n">Last / next</th><th>Layout, slot</th></tr></thead>
<tbody>
${rows.map((view) => rowOf(view, hidden, nowMs)).join("\n")}
</tbody></table>`
}
${pager(filter, { page, pages, from, rows: rows.length, found })}`,
  );
}

function nothingFound(total: number): string {
  return total === 0
    ? "No targets are assigned to this secondary."
    : 'No target is like that. <a href="?">All of them</a>';
}

function heading(source: PageSource, common: Labels): string {
  const { datacenter, generation, name, primary, spoolBatches, spoolBytes } = source;
  const shared = common
    .map(([label, value]) => `<span>${escapeHtml(label)}=<b>${escapeHtml(value)}</b></span>`)
    .join(" ");
  const facts = [
    `secondary of <b>${escapeHtml(datacenter)}</b>`,
    `generation <b>${generation}</b>`,
    primary ? `batches go to <b>${escapeHtml(primary)}</b>` : `<b class="bad">no primary takes batches</b>`,
    `spool <b>${spoolBatches}</b> ${spoolBatches === 1 ? "batch" : "batches"}, ${formatBytes(spoolBytes)}`,
  ];
  return `<header><h1>${escapeHtml(name)}</h1><p>${facts.join(" · ")}</p><p class="links"><a href="/targets">targets</a><a href="/metrics">metrics</a><a href="/api/v1/targets">JSON</a></p>
${shared ? `<p class="labels">all with ${shared}</p>` : ""}</header>`;
}

function rowOf(view: TargetView, hidden: ReadonlySet<string>, nowMs: number): string {
  const { last, target } = view;
  const condition = conditionOf(view);
  const host = /^[a-z]+:\/\/([^/?#]*)/i.exec(target.url)?.[1];
  const labels = target.labels
    .filter(([name, value]) => name !== "job" && !hidden.has(name) && !(name === "instance" && value === host))
    .map(([name, value]) => `<span>${escapeHtml(name)}=<b>${escapeHtml(value)}</b></span>`)
    .join(" ");
  // javascript: and the like never get here: a target's URL is http or https, or its scrape failed by name.
  const link = /^https?:\/\//.test(target.url)
    ? `<a href="${escapeHtml(target.url)}" rel="noreferrer">${escapeHtml(target.url)}</a>`
    : escapeHtml(target.url);
  const layout = view.layout
    ? `<a class="id" href="/targets/layout?id=${view.layout.id}" title="${count(view.layout.series)} series">${view.layout.id.slice(0, 8)}</a>`
    : "";
  const slot = last ? `slot ${last.slot}, gen. ${last.generation}` : `gen. ${view.generation}`;
  const added = last && last.added > 0 ? `<small>${count(last.added)} new</small>` : "";
  const samples = last && (condition === "up" || condition === "partial") ? count(last.samples) : "–";
  return `<tr class="${condition}"><td class="target">${link}<small><b>${escapeHtml(target.job)}</b> ${labels}</small></td><td class="state"><i>${last ? words(last.outcome) : "waiting"}</i>${why(view, nowMs)}</td><td class="n samples">${samples}${added}</td><td class="n took">${took(view)}</td><td class="n when">${when(view, nowMs)}</td><td class="layout">${layout}<small>${slot}</small></td></tr>`;
}

function why({ last, lastStoredMs }: TargetView, nowMs: number): string {
  const said: string[] = [];
  if (!last) return "<small>not scraped yet</small>";
  if (last.error !== "") said.push(`<small class="error">${escapeHtml(last.error)}</small>`);
  const refused = Object.entries(last.refused ?? {})
    // Of those that the guard refused, the sentence above says more.
    .filter(([reason, series]) => series > 0 && reason !== "cardinality")
    .map(([reason, series]) => `${count(series)} refused: ${escapeHtml(words(reason))}`);
  if (last.dropped > 0) refused.push(`${count(last.dropped)} dropped by metric_relabel_configs`);
  if (refused.length > 0) said.push(`<small>${refused.join("; ")}</small>`);
  if (last.error !== "" && !isStored(last.outcome)) {
    const since =
      lastStoredMs === undefined ? "nothing was stored here yet" : `last stored ${formatAge(nowMs - lastStoredMs)} ago`;
    said.push(`<small>${since}</small>`);
  }
  return said.join("");
}

function took(view: TargetView): string {
  const { last, target } = view;
  const share = shareOfTimeout(view, target);
  if (share === undefined || !last) return "–";
  const width = Math.min(100, Math.max(1, Math.round(share * 100)));
  return `${formatDuration(last.durationUs / 1000)}<small>of ${formatDuration(target.timeoutMs)}</small><s class="${share >= slowShareMin ? "slow" : ""}"><u style="width:${width}%"></u></s>`;
}

function when({ dueMs, last, running, target }: TargetView, nowMs: number): string {
  const ago = last ? `${formatAge(nowMs - last.beganMs)} ago` : "–";
  const next = running ? "being scraped" : `next in ${formatAge(dueMs - nowMs)}`;
  return `<span title="every ${formatDuration(target.intervalMs)}">${ago}</span><small>${next}</small>`;
}

function pill(filter: Filter, text: string, number: number, current: boolean, kind: string): string {
  return `<a class="${kind}${number === 0 ? " zero" : ""}" href="${href(filter)}"${current ? ' aria-current="page"' : ""}>${escapeHtml(text)} <b>${count(number)}</b></a>`;
}

function head(text: string, sort: Order, filter: Filter, className = ""): string {
  const current = filter.sort === sort;
  return `<th class="${className}"${current ? ' aria-sort="other"' : ""}><a href="${href({ ...filter, sort, page: 1 })}">${text}</a></th>`;
}

function pager(
  filter: Filter,
  at: {
    readonly page: number;
    readonly pages: number;
    readonly from: number;
    readonly rows: number;
    readonly found: number;
  },
): string {
  if (at.pages === 1) return "";
  const step = (page: number, text: string) =>
    page < 1 || page > at.pages ? `<span>${text}</span>` : `<a href="${href({ ...filter, page })}">${text}</a>`;
  return `<p class="pager">${step(at.page - 1, "← before")} ${count(at.from + 1)}–${count(at.from + at.rows)} of ${count(at.found)} ${step(at.page + 1, "more →")}</p>`;
}

/** What the form does not ask for itself. */
function hiddenInputs(filter: Filter): string {
  const kept = { show: filter.show, outcome: filter.outcome, sort: filter.sort };
  return Object.entries(kept)
    .filter(([name, value]) => value !== plain[name as keyof typeof kept])
    .map(([name, value]) => `<input type="hidden" name="${name}" value="${escapeHtml(value)}">`)
    .join("");
}

const plain: Filter = filterOf({});

function href(filter: Filter): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) {
    if (value !== plain[name as keyof Filter]) query.set(name, String(value));
  }
  return `?${escapeHtml(query.toString())}`;
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
  return document(
    `${source.name} · layout ${layout.id.slice(0, 8)}`,
    `${heading(source, [])}
<h2>Layout <code>${layout.id}</code></h2>
<p>${count(layout.rows.length)} series of ${count(layout.families.length)} metrics, after relabelling and without what their targets' labels add; an empty value takes a target's label away. <a href="/api/v1/targets/layout?id=${layout.id}">JSON</a></p>
<details><summary>${count(targets)} ${targets === 1 ? "target exposes" : "targets expose"} them</summary><ul>${sharers.join("")}${more > 0 ? `<li>and ${count(more)} more</li>` : ""}</ul></details>
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
${rows.length === 0 ? '<p class="none">No series is called that.</p>' : ""}${pages > 1 ? `<p class="pager">${step(page - 1, "← before")} ${count(from + 1)}–${count(from + shown.length)} of ${count(rows.length)} ${step(page + 1, "more →")}</p>` : ""}`,
  );
}

export function missingPage(source: PageSource, message: string): string {
  return document(source.name, `${heading(source, [])}<p class="none">${escapeHtml(message)}</p>`);
}

function document(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escapeHtml(title)}</title><style>${style}</style></head><body>
${body}
</body></html>
`;
}

function words(name: string): string {
  return name.replaceAll("_", " ");
}

const grouped = new Intl.NumberFormat("en-US");

function count(number: number): string {
  return grouped.format(number);
}

export function formatDuration(ms: number): string {
  if (ms < 1) return `${(ms * 1000).toFixed(0)} µs`;
  if (ms < 100) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${ms.toFixed(0)} ms`;
  return `${Number((ms / 1000).toFixed(2))} s`;
}

function formatAge(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

export function formatBytes(bytes: number): string {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (bytes < 1024) return `${bytes.toFixed(unit === "B" ? 0 : 1)} ${unit}`;
    bytes /= 1024;
  }
  return `${bytes.toFixed(1)} GiB`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
