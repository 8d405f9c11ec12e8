// A dry run for people: one target in full, or a line for each of many.

import type { Labels } from "#/lib/model/labels.ts";
import { metricNameLabel } from "#/lib/model/labels.ts";
import { isStored } from "#/lib/model/outcome.ts";
import type { DryBatches, DryRun, DryScrape } from "#/secondary/dryrun.ts";

/** Series of a kind that are named one by one; the rest is counted. */
const leftOutShownMax = 20;

export function renderDryRun({ rounds, targets }: DryRun, options: { readonly full: boolean }): string {
  const parts = options.full ? targets.map((scrape) => scrapeText(scrape)) : [overview(targets)];
  return [...parts, summary(targets, rounds)].join("\n\n");
}

function overview(targets: readonly DryScrape[]): string {
  // What is wrong comes last: that is where the reader of a terminal is.
  const sorted = [...targets].sort((a, b) => Number(isStored(b.outcome)) - Number(isStored(a.outcome)));
  const lines = sorted.map((scrape) => [
    words(scrape.outcome),
    scrape.target.url,
    isStored(scrape.outcome) ? count(scrape.samples) : "",
    isStored(scrape.outcome) ? count(scrape.dropped.count) : "",
    isStored(scrape.outcome) ? count(sum(scrape.refused.map((refused) => refused.count))) : "",
    scrape.bytes.body > 0 ? bytesText(scrape.bytes.body) : "",
    scrape.stages.fetchMs === undefined ? "" : ms(scrape.stages.fetchMs),
    scrape.error,
  ]);
  return aligned(["outcome", "target", "samples", "dropped", "refused", "body", "fetched", ""], lines, [2, 3, 4, 5, 6]);
}

function scrapeText(scrape: DryScrape): string {
  const { target } = scrape;
  const rules = target.options.metricRelabel?.rules.length ?? 0;
  const lines = [
    `${target.url}  ${words(scrape.outcome)}${scrape.error ? `: ${scrape.error}` : ""}`,
    `  labels    ${target.labels.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(" ")}`,
    `  every     ${ms(target.intervalMs)}, within ${ms(target.timeoutMs)}${rules > 0 ? `; ${countOf(rules, "rule")} of metric_relabel_configs` : ""}`,
    ...(scrape.layout === "" ? [] : [`  layout    ${scrape.layout}`]),
    "",
    ...stageLines(scrape).map((line) => `  ${line}`),
  ];
  if (scrape.series.length > 0)
    lines.push("", `  would be sent: ${count(scrape.series.length)} series`, ...seriesLines(scrape));
  if (scrape.dropped.count > 0) {
    const named = scrape.dropped.series.map(({ action, labels, rule }) => {
      const by = rule === undefined ? "" : `  # metric_relabel_configs[${rule}]${action ? ` ${action}` : ""}`;
      return `    ${seriesText(labels)}${by}`;
    });
    lines.push("", `  dropped by metric_relabel_configs: ${count(scrape.dropped.count)}`, ...shortened(named));
  }
  for (const { count: number, reason, series } of scrape.refused) {
    const named = series.map((labels) => `    ${seriesText(labels)}`);
    lines.push("", `  refused, ${words(reason)}: ${count(number)}`, ...shortened(named));
  }
  return lines.join("\n");
}

function stageLines({ bytes, outcome, requests, samplesScraped, stages }: DryScrape): string[] {
  const took = (value: number | undefined) => (value === undefined ? "–" : ms(value));
  const redirects = requests > 1 ? `, ${count(requests)} requests` : "";
  const lines = [
    ["name", took(stages.nameMs), ""],
    ["connect", took(stages.connectMs), `${bytesText(bytes.sent)} sent${redirects}`],
    ["first byte", took(stages.firstByteMs), ""],
    [
      "whole body",
      took(stages.fetchMs),
      `${bytesText(bytes.received)} received, ${bytesText(bytes.body)} decompressed`,
    ],
  ];
  if (bytes.body > 0) {
    lines.push(["read", took(stages.readMs), isStored(outcome) ? `${count(samplesScraped)} samples` : ""]);
    lines.push(["relabel", took(stages.relabelMs), ""], ["encode", took(stages.encodeMs), ""]);
  }
  return aligned(["stage", "took", ""], lines, [1]).split("\n");
}

function seriesLines({ series }: DryScrape): string[] {
  const lines: string[] = [];
  let family = "";
  const firstMs = series[0]!.timestampMs;
  lines.push(`    # at ${new Date(firstMs).toISOString()}`);
  for (const { help, labels, timestampMs, type, unit, value } of series) {
    const about = [type, unit && `unit ${unit}`, help].filter(Boolean).join(", ");
    if (about !== family) lines.push(`    # ${oneLine(about)}`);
    family = about;
    lines.push(`    ${seriesText(labels)} ${value}${timestampMs === firstMs ? "" : ` ${timestampMs}`}`);
  }
  return lines;
}

function summary(targets: readonly DryScrape[], rounds: readonly DryBatches[]): string {
  const outcomes = new Map<string, number>();
  for (const { outcome } of targets) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const counts = [...outcomes]
    .sort((a, b) => b[1] - a[1])
    .map(([outcome, number]) => `${count(number)} ${words(outcome)}`);
  const lines = [`${countOf(targets.length, "target")}: ${counts.join(", ")}.`];
  for (const [i, round] of rounds.entries()) {
    const a = perSample(round);
    const each = a === undefined ? "" : `, ${a.toFixed(2)} bytes a sample`;
    const which = rounds.length === 1 ? "" : i === 0 ? "First: " : "Again: ";
    lines.push(
      `${which}${count(round.samples)} samples in ${count(round.batches)} ${round.batches === 1 ? "batch" : "batches"}: ${bytesText(round.rawBytes)}, compressed in ${ms(round.compressMs)} to ${bytesText(round.bytes)}${each}.`,
    );
  }
  lines.push(
    rounds.length === 1
      ? "A first scrape carries names and labels; --again shows what the next ones cost. Nothing was sent."
      : "Nothing was sent.",
  );
  return lines.join("\n");
}

export function perSample({ bytes, samples }: DryBatches): number | undefined {
  return samples === 0 ? undefined : bytes / samples;
}

function shortened(lines: readonly string[]): string[] {
  const distinct = [...new Set(lines)];
  if (distinct.length <= leftOutShownMax) return distinct;
  return [
    ...distinct.slice(0, leftOutShownMax),
    `    … and ${count(distinct.length - leftOutShownMax)} more (--json names all)`,
  ];
}

/** As in an exposition. */
function seriesText(labels: Labels): string {
  const name = labels.find(([label]) => label === metricNameLabel)?.[1] ?? "";
  const rest = labels
    .filter(([label]) => label !== metricNameLabel)
    .map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return rest.length > 0 ? `${name}{${rest.join(",")}}` : name;
}

function aligned(heads: readonly string[], lines: readonly (readonly string[])[], numbers: readonly number[]): string {
  const rows = [heads, ...lines];
  const widths = heads.map((_, column) => Math.max(...rows.map((row) => [...row[column]!].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const padding = " ".repeat(widths[column]! - [...cell].length);
          return numbers.includes(column) ? padding + cell : cell + padding;
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A target's text must not move the reader's cursor. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, " ");
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function words(name: string): string {
  return name.replaceAll("_", " ");
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}

function countOf(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

function ms(value: number): string {
  if (value >= 1000) return `${Number((value / 1000).toFixed(2))} s`;
  return value >= 1 ? `${Number(value.toFixed(1))} ms` : `${Number(value.toFixed(3))} ms`;
}

function bytesText(bytes: number): string {
  return `${count(bytes)} bytes`;
}
