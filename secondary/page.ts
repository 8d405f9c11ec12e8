// The secondary's own page: each target with what became of its last scrape, for people at /targets and for programs at
// /api/v1/targets.
//
// The page needs nothing but itself (no script, no font, no other host), so that it also works from a text browser over an
// ssh tunnel. Everything that comes from outside is escaped: labels and errors are other people's text.

import type { FastifyInstance } from "fastify";

import type { Clock } from "#/lib/clock/clock.ts";
import { labelsRecord } from "#/lib/model/labels.ts";
import { isFailed, isStored, type Outcome } from "#/lib/model/outcome.ts";
import type { ScheduledTarget } from "#/secondary/schedule.ts";
import type { TargetState } from "#/secondary/scrape/scrape.ts";

/** Rows of one page: more than anyone reads, and a page of about half a megabyte. */
const rowsMax = 1000;

export interface PageSource {
  readonly name: string;
  readonly datacenter: string;
  readonly generation: number;
  /** The primary that takes our batches; "" while none does. */
  readonly primary: string;
  readonly spoolBatches: number;
  readonly spoolBytes: number;
  targets(): Iterable<ScheduledTarget<TargetState>>;
}

export interface TargetView {
  readonly id: string;
  readonly job: string;
  readonly url: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly owner: string;
  readonly generation: number;
  /** Of the last outcome; null before the first. */
  readonly slot: number | null;
  readonly outcome: Outcome | null;
  readonly error: string;
  readonly lastScrapeMs: number | null;
  readonly durationUs: number;
  readonly samples: number;
  /** Samples that metric_relabel_configs dropped. */
  readonly dropped: number;
  readonly refused: Readonly<Record<string, number>>;
}

export function registerTargetPages(app: FastifyInstance, source: PageSource, clock: Clock): void {
  app.get("/api/v1/targets", async () => ({
    name: source.name,
    datacenter: source.datacenter,
    generation: source.generation,
    nowMs: Math.round(clock.nowMs()),
    targets: viewsOf(source),
  }));
  app.get<{ Querystring: { readonly show?: string; readonly job?: string; readonly find?: string } }>(
    "/targets",
    async (request, reply) => {
      const { find = "", job = "", show = "all" } = request.query;
      return reply
        .type("text/html; charset=utf-8")
        .header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
        .send(targetsPage(source, { show: String(show), job: String(job), find: String(find) }, clock.nowMs()));
    },
  );
}

/** Sorted by job and URL. */
export function viewsOf(source: PageSource): readonly TargetView[] {
  const views = Array.from(source.targets(), ({ generation, state, target }): TargetView => {
    const { last } = state;
    return {
      id: target.id,
      job: target.job,
      url: target.url,
      labels: labelsRecord(target.labels),
      owner: source.name,
      generation: last?.generation ?? generation,
      slot: last?.slot ?? null,
      outcome: last?.outcome ?? null,
      error: last?.error ?? "",
      lastScrapeMs: last ? Math.round(last.beganMs) : null,
      durationUs: last?.durationUs ?? 0,
      samples: last?.samples ?? 0,
      dropped: last?.dropped ?? 0,
      refused: Object.fromEntries(Object.entries(last?.refused ?? {}).filter(([, count]) => count > 0)),
    };
  });
  const key = ({ job, url }: TargetView) => `${job}\0${url}`;
  return views.sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

interface Filter {
  readonly show: string;
  readonly job: string;
  readonly find: string;
}

/** What the page can be narrowed to. */
const kinds = ["all", "failing", "partial", "up", "waiting"] as const;
type Kind = (typeof kinds)[number];

function kindOf({ outcome }: TargetView): Exclude<Kind, "all"> {
  if (outcome === null) return "waiting";
  if (outcome === "partial") return "partial";
  return isStored(outcome) ? "up" : "failing";
}

function targetsPage(source: PageSource, filter: Filter, nowMs: number): string {
  const views = viewsOf(source);
  const counts = { all: views.length, failing: 0, partial: 0, up: 0, waiting: 0 };
  const jobs = new Set<string>();
  for (const view of views) {
    counts[kindOf(view)]++;
    jobs.add(view.job);
  }
  const find = filter.find.toLowerCase();
  const chosen = views.filter(
    (view) =>
      (filter.show === "all" || kindOf(view) === filter.show) &&
      (filter.job === "" || view.job === filter.job) &&
      (find === "" || searchText(view).includes(find)),
  );
  // What is wrong comes first: that is what one opens this page for.
  const order: readonly Kind[] = ["failing", "partial", "waiting", "up"];
  const sorted = chosen
    .map((view) => ({ view, rank: order.indexOf(kindOf(view)) }))
    .sort((a, b) => a.rank - b.rank)
    .slice(0, rowsMax);
  const more = chosen.length - sorted.length;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escapeHtml(source.name)} · targets</title><style>${style}</style></head><body>
<header><h1>${escapeHtml(source.name)}</h1>
<p>secondary of <b>${escapeHtml(source.datacenter)}</b> · generation ${source.generation} ·
${source.primary ? `batches go to <b>${escapeHtml(source.primary)}</b>` : `<b class="bad">no primary takes batches</b>`} ·
spool ${source.spoolBatches} ${source.spoolBatches === 1 ? "batch" : "batches"}, ${formatBytes(source.spoolBytes)} · <a href="/metrics">metrics</a> · <a href="/api/v1/targets">JSON</a></p>
</header>
<form><nav>${kinds.map((kind) => kindLink(kind, counts[kind], filter)).join("")}</nav>
<input type="hidden" name="show" value="${escapeHtml(filter.show)}">
<select name="job" aria-label="job"><option value="">every job</option>${[...jobs]
    .map((job) => `<option${job === filter.job ? " selected" : ""}>${escapeHtml(job)}</option>`)
    .join("")}</select>
<input name="find" value="${escapeHtml(filter.find)}" placeholder="label, address or error" aria-label="find"><button>find</button></form>
<table><thead><tr><th>target</th><th>labels</th><th>last outcome</th><th class="n">samples</th><th class="n">took</th><th class="n">ago</th></tr></thead>
<tbody>${sorted.map(({ view }) => rowOf(view, nowMs)).join("\n")}</tbody></table>
${more > 0 ? `<p>${more} more: narrow the list, or read the JSON.</p>` : ""}${views.length === 0 ? "<p>No targets are assigned to this secondary.</p>" : ""}
</body></html>
`;
}

function rowOf(view: TargetView, nowMs: number): string {
  const kind = kindOf(view);
  const labels = Object.entries(view.labels)
    .map(([name, value]) => `<span>${escapeHtml(name)}=<b>${escapeHtml(value)}</b></span>`)
    .join(" ");
  const refused = Object.entries(view.refused)
    .map(([reason, count]) => `${count} refused: ${reason.replaceAll("_", " ")}`)
    .join(", ");
  const dropped = view.dropped > 0 ? `${view.dropped} dropped by metric_relabel_configs` : "";
  const why = [view.error, refused, dropped].filter((part) => part !== "").join("; ");
  // javascript: and the like never get here: a target's URL is http or https, or its scrape failed by name.
  const link = /^https?:\/\//.test(view.url)
    ? `<a href="${escapeHtml(view.url)}" rel="noreferrer">${escapeHtml(view.url)}</a>`
    : escapeHtml(view.url);
  const ago = view.lastScrapeMs === null ? "" : `${Math.max(0, (nowMs - view.lastScrapeMs) / 1000).toFixed(1)} s`;
  const took =
    view.outcome && (isStored(view.outcome) || isFailed(view.outcome)) ? formatDuration(view.durationUs) : "";
  return `<tr class="${kind}"><td>${link}<small>${escapeHtml(view.job)}</small></td><td class="labels">${labels}</td><td><i>${view.outcome ?? "waiting"}</i>${why ? `<small>${escapeHtml(why)}</small>` : ""}</td><td class="n">${view.samples}</td><td class="n">${took}</td><td class="n">${ago}</td></tr>`;
}

function kindLink(kind: Kind, count: number, filter: Filter): string {
  const query = new URLSearchParams({ show: kind, job: filter.job, find: filter.find });
  const current = filter.show === kind ? ' aria-current="page"' : "";
  return `<a class="${kind}" href="?${escapeHtml(query.toString())}"${current}>${kind} <b>${count}</b></a>`;
}

function searchText(view: TargetView): string {
  const labels = Object.entries(view.labels).map(([name, value]) => `${name}=${value}`);
  return [view.url, view.job, view.outcome ?? "waiting", view.error, ...labels].join(" ").toLowerCase();
}

function formatDuration(us: number): string {
  return us >= 1e6 ? `${(us / 1e6).toFixed(2)} s` : `${(us / 1000).toFixed(1)} ms`;
}

function formatBytes(bytes: number): string {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (bytes < 1024) return `${bytes.toFixed(unit === "B" ? 0 : 1)} ${unit}`;
    bytes /= 1024;
  }
  return `${bytes.toFixed(1)} GiB`;
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const style = `
:root{color-scheme:light dark;--line:light-dark(#d8dde3,#333b45);--dim:light-dark(#5c6672,#98a3b0);--bad:light-dark(#b42318,#ff8a7a);--odd:light-dark(#9a5b00,#f0b354);--good:light-dark(#1a7f46,#63d297)}
body{font:14px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1400px;padding:1rem 1.25rem;background:light-dark(#fff,#14181d);color:light-dark(#1b2026,#e4e8ec)}
h1{font-size:1.3rem;margin:0}header p{margin:.2rem 0 1rem;color:var(--dim)}header b{color:light-dark(#1b2026,#e4e8ec);font-weight:600}
a{color:light-dark(#1759b8,#7db3ff);text-decoration:none}a:hover{text-decoration:underline}
form{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;margin-bottom:.75rem}nav{display:flex;gap:.25rem;margin-right:auto}
nav a{padding:.2rem .6rem;border:1px solid var(--line);border-radius:1rem;color:inherit}nav a[aria-current]{border-color:currentColor;font-weight:600}
input,select,button{font:inherit;padding:.2rem .5rem;border:1px solid var(--line);border-radius:.3rem;background:transparent;color:inherit}
table{width:100%;border-collapse:collapse}th{text-align:left;font-weight:600;color:var(--dim);border-bottom:2px solid var(--line)}
td,th{padding:.3rem .5rem;vertical-align:top}tr+tr td{border-top:1px solid var(--line)}td{overflow-wrap:anywhere}
small{display:block;color:var(--dim)}.labels span{white-space:nowrap;color:var(--dim);margin-right:.4rem}.labels b{font-weight:500;color:light-dark(#1b2026,#e4e8ec)}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}i{font-style:normal;font-weight:600}
.bad,.failing i,nav .failing b{color:var(--bad)}.partial i,nav .partial b{color:var(--odd)}.up i,nav .up b{color:var(--good)}.waiting i{color:var(--dim)}
header b.bad{color:var(--bad)}
@media(max-width:720px){body{padding:.75rem}nav{flex-wrap:wrap}thead{display:none}table,tbody{display:block}
tr{display:flex;flex-wrap:wrap;gap:.1rem .75rem;padding:.5rem 0;border-top:1px solid var(--line)}tr+tr td{border:0}td{padding:0}
td:first-child,td.labels{flex-basis:100%}.labels span{white-space:normal}td:nth-child(3){flex:1}
td:nth-child(4)::after{content:" samples"}td:nth-child(4)::after,td:nth-child(6)::after{color:var(--dim)}td:nth-child(6)::after{content:" ago"}
tr.waiting td.n{display:none}}`;
