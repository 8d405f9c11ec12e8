// The lists of targets as a table for people: a line each, and below it what somebody should know of it.

import type { SourceStatus, SourcesAnswer } from "#/primary/sources.ts";

/** Of the targets refused in one list this many are shown. */
const refusedShownMax = 3;

/** The leader's lists first; of a peer only those that are otherwise. */
export function renderSources(answers: readonly SourcesAnswer[]): string {
  const [first, ...others] = answers.toSorted((a, b) => Number(isLeader(b)) - Number(isLeader(a)));
  const lines = [heading(first!), ...table(first!.sources, first!.nowMs)];
  for (const other of others) {
    const known = new Set(first!.sources.map(state));
    const differing = other.sources.filter((source) => !known.has(state(source)));
    if (differing.length === 0) lines.push("", `${other.primary} has the same.`);
    else lines.push("", `${other.primary} differs:`, ...table(differing, other.nowMs));
  }
  return lines.join("\n");
}

function isLeader({ leader, primary }: SourcesAnswer): boolean {
  return leader === primary;
}

function heading(answer: SourcesAnswer): string {
  const who = isLeader(answer) ? `${answer.primary}, which has the lease,` : answer.primary;
  return `${answer.datacenter}: ${answer.targets} of at most ${answer.targetsMax} targets, as ${who} has them.\n`;
}

/** Two primaries have the same when all but the times are. */
function state({ dropped, file, held, job, kind, problem, refused, targets }: SourceStatus): string {
  return JSON.stringify([job, kind, file, targets, dropped, refused.count, problem?.message, held?.lost]);
}

function table(sources: readonly SourceStatus[], nowMs: number): string[] {
  if (sources.length === 0) return ["No lists."];
  const heads = ["job", "priority", "source", "targets", "held", "refused", "dropped"];
  const isNumber = [false, true, false, true, true, true, true];
  const rows = sources.map((source) => [
    source.job,
    String(source.priority),
    nameOf(source),
    String(source.targets),
    String(source.held?.lost ?? 0),
    String(source.refused.count),
    String(source.dropped),
  ]);
  const widths = heads.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column]!.length)));
  const lineOf = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join("  ")
      .trimEnd();
  return [lineOf(heads), ...rows.flatMap((row, i) => [lineOf(row), ...notes(sources[i]!, nowMs)])];
}

function nameOf({ file, kind }: SourceStatus): string {
  switch (kind) {
    case "static":
      return "topology file";
    case "file":
      return file;
    case "before":
      return "in no list";
    default:
      return kind satisfies never;
  }
}

function notes({ held, problem, refused }: SourceStatus, nowMs: number): string[] {
  const lines: string[] = [];
  if (problem) lines.push(`since ${agoText(nowMs - problem.sinceMs)}: ${problem.message}`);
  if (held) {
    const left = held.untilMs - nowMs;
    const until = held.waits ? "until the list can be read" : `for ${timeText(left)} more`;
    const since = agoText(nowMs - held.sinceMs);
    lines.push(`since ${since}: ${held.lost} of ${held.of} targets are missing, and scraped ${until}`);
    lines.push(`if they are to go: ${held.confirm}`);
  }
  for (const { address, message } of refused.first.slice(0, refusedShownMax)) {
    lines.push(`refused: ${JSON.stringify(address)}: ${message}`);
  }
  if (refused.count > refusedShownMax) lines.push(`refused: ${refused.count - refusedShownMax} more`);
  return lines.map((line) => `    ${line}`);
}

function agoText(ms: number): string {
  return `${timeText(ms)} ago`;
}

function timeText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${seconds % 60}s`;
  return `${Math.floor(seconds / 3600)}h${Math.floor((seconds % 3600) / 60)}m`;
}
