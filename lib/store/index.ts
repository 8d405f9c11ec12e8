// Finds series without touching each: conditions are tried on the distinct rows and on the distinct values of target labels.
//
// A series' label comes from its row when the row has it, else from its target. So each condition is decided by a row alone,
// or is left over for the targets. Rows with the same conditions left over go with the same set of targets.

import { type Labels, labelValue, type Matcher, metricNameLabel } from "#/lib/model/labels.ts";
import type { Dictionary, HeldLayout, HeldRow } from "#/lib/store/dictionary.ts";
import { isReportRow } from "#/lib/store/dictionary.ts";
import type { Timeline } from "#/lib/store/timeline.ts";

/** Which targets have which value of which label. */
export class TargetIndex {
  readonly #all = new Set<Timeline>();
  readonly #postings = new Map<string, Map<string, Set<Timeline>>>();

  get all(): ReadonlySet<Timeline> {
    return this.#all;
  }

  add(timeline: Timeline): void {
    this.#all.add(timeline);
    for (const [name, value] of timeline.target.labels) {
      let values = this.#postings.get(name);
      if (!values) this.#postings.set(name, (values = new Map()));
      const targets = values.get(value);
      if (targets) targets.add(timeline);
      else values.set(value, new Set([timeline]));
    }
  }

  remove(timeline: Timeline): void {
    this.#all.delete(timeline);
    for (const [name, value] of timeline.target.labels) {
      const values = this.#postings.get(name)!;
      const targets = values.get(value)!;
      targets.delete(timeline);
      if (targets.size === 0) values.delete(value);
      if (values.size === 0) this.#postings.delete(name);
    }
  }

  /** The targets for which all of the conditions hold. */
  match(matchers: readonly Matcher[]): ReadonlySet<Timeline> {
    let result: ReadonlySet<Timeline> = this.#all;
    for (const matcher of matchers) result = this.#narrow(result, matcher);
    return result;
  }

  #narrow(targets: ReadonlySet<Timeline>, matcher: Matcher): ReadonlySet<Timeline> {
    const values = this.#postings.get(matcher.name);
    if (matcher.operator === "=" && matcher.value !== "") {
      return intersection(targets, values?.get(matcher.value) ?? new Set());
    }
    // A target without the label has the value "".
    const absentMatches = matcher.matches("");
    const listed = new Set<Timeline>();
    for (const [value, having] of values ?? []) {
      if (matcher.matches(value) !== absentMatches) for (const timeline of having) listed.add(timeline);
    }
    if (!absentMatches) return intersection(targets, listed);
    return listed.size === 0 ? targets : targets.difference(listed);
  }
}

function intersection(a: ReadonlySet<Timeline>, b: ReadonlySet<Timeline>): ReadonlySet<Timeline> {
  return a.intersection(b);
}

/** Rows that go with the same targets. */
interface RowGroup {
  readonly targets: ReadonlySet<Timeline>;
}

/** What a set of conditions selects: rows, each with the targets on which it is selected. */
export class Plan {
  readonly #groups = new Map<string, RowGroup>();
  readonly #groupOfRow = new Map<number, RowGroup>();
  readonly #rowsOfLayout = new Map<HeldLayout, readonly SelectedRow[]>();
  /** Report rows are in no layout: every target has them. */
  readonly #reports: readonly SelectedRow[];

  constructor(dictionary: Dictionary, targets: TargetIndex, matchers: readonly Matcher[]) {
    const onName = matchers.filter((matcher) => matcher.name === metricNameLabel);
    const others = matchers.filter((matcher) => matcher.name !== metricNameLabel);
    for (const row of rowsWithName(dictionary, onName)) {
      const left = leftOver(row, others);
      if (!left) continue;
      const key = left.map((matcher) => others.indexOf(matcher)).join();
      let group = this.#groups.get(key);
      if (!group) this.#groups.set(key, (group = { targets: targets.match(left) }));
      if (group.targets.size > 0) this.#groupOfRow.set(row.number, group);
    }
    this.#reports = [...this.#groupOfRow]
      .filter(([row]) => isReportRow(row))
      .map(([row, group]) => ({ row, targets: group.targets }));
  }

  /** Every target on which some row is selected. */
  timelines(): ReadonlySet<Timeline> {
    let union: ReadonlySet<Timeline> = new Set();
    for (const group of new Set(this.#groupOfRow.values())) {
      union = union.size === 0 ? group.targets : union.union(group.targets);
    }
    return union;
  }

  get reports(): readonly SelectedRow[] {
    return this.#reports;
  }

  /** The selected rows of a layout. A report row that a target exposes itself is the report's. */
  rowsOf(layout: HeldLayout): readonly SelectedRow[] {
    const known = this.#rowsOfLayout.get(layout);
    if (known) return known;
    const rows: SelectedRow[] = [];
    if (this.#groupOfRow.size < layout.rows.length) {
      for (const [row, group] of this.#groupOfRow) {
        if (!isReportRow(row) && layout.positionOf(row) >= 0) rows.push({ row, targets: group.targets });
      }
    } else {
      for (const row of new Set(layout.rows)) {
        const group = isReportRow(row) ? undefined : this.#groupOfRow.get(row);
        if (group) rows.push({ row, targets: group.targets });
      }
    }
    this.#rowsOfLayout.set(layout, rows);
    return rows;
  }
}

export interface SelectedRow {
  readonly row: number;
  readonly targets: ReadonlySet<Timeline>;
}

function* rowsWithName(dictionary: Dictionary, matchers: readonly Matcher[]): Generator<HeldRow> {
  const exact = matchers.find((matcher) => matcher.operator === "=");
  for (const name of exact ? [exact.value] : dictionary.names()) {
    if (matchers.every((matcher) => matcher.matches(name))) yield* dictionary.rowsOfName(name);
  }
}

/** The conditions that the row leaves to its targets; undefined when it fails one. */
function leftOver(row: HeldRow, matchers: readonly Matcher[]): readonly Matcher[] | undefined {
  const left: Matcher[] = [];
  for (const matcher of matchers) {
    if (!hasLabel(row.labels, matcher.name)) left.push(matcher);
    else if (!matcher.matches(labelValue(row.labels, matcher.name))) return undefined;
  }
  return left;
}

/** A row may have a label with an empty value: it takes the target's away. */
export function hasLabel(labels: Labels, name: string): boolean {
  return labels.some(([key]) => key === name);
}
