// What stands in a row of a list of targets, whoever tells it. Labels and errors are other people's text: all of it is escaped.

import type { ShownTarget } from "#/lib/page/target.ts";
import { escapeHtml, formatDuration } from "#/lib/page/text.ts";

/** A scrape that takes this much of its timeout is about to fail. */
const slowShareMin = 0.5;

/** Its address, job and the labels that say more than both. */
export function targetCell({ job, labels, url }: ShownTarget, hidden: ReadonlySet<string>): string {
  const host = /^[a-z]+:\/\/([^/?#]*)/i.exec(url)?.[1];
  const shown = labels
    .filter(([name, value]) => name !== "job" && !hidden.has(name) && !(name === "instance" && value === host))
    .map(([name, value]) => `<span>${escapeHtml(name)}=<b>${escapeHtml(value)}</b></span>`)
    .join(" ");
  // javascript: and the like never get here: a target's URL is http or https, or its scrape failed by name.
  const link = /^https?:\/\//.test(url)
    ? `<a href="${escapeHtml(url)}" rel="noreferrer">${escapeHtml(url)}</a>`
    : escapeHtml(url);
  return `<td class="target">${link}<small><b>${escapeHtml(job)}</b> ${shown}</small></td>`;
}

/** How long the last scrape took, and how near that is to its timeout; a dash when it was none. */
export function tookCell(durationMs: number | undefined, timeoutMs: number): string {
  if (durationMs === undefined) return `<td class="n took">–</td>`;
  const share = durationMs / timeoutMs;
  const width = Math.min(100, Math.max(1, Math.round(share * 100)));
  return `<td class="n took">${formatDuration(durationMs)}<small>of ${formatDuration(timeoutMs)}</small><s class="${share >= slowShareMin ? "slow" : ""}"><u style="width:${width}%"></u></s></td>`;
}

export function labelsLine(common: readonly (readonly [name: string, value: string])[]): string {
  if (common.length === 0) return "";
  const shared = common.map(([label, value]) => `<span>${escapeHtml(label)}=<b>${escapeHtml(value)}</b></span>`);
  return `<p class="labels">all with ${shared.join(" ")}</p>`;
}
