// What `metric_relabel_configs` make of a scrape, found once a layout rather than once a sample.
//
// Rules see a series with its target's labels, so what they make of a layout can differ from target to target, but only by the
// values of those target labels that the rules read or may write. Targets that agree in these, and in their layout, share one
// result: which rows are left, and the layout that they are.

import type { Clock } from "#/lib/clock/clock.ts";
import { compareText, type Label, type Labels, labelsKey, mergeLabels, metricNameLabel } from "#/lib/model/labels.ts";
import { type Layout, type LayoutRow, layoutOf, type MetricFamily } from "#/lib/model/layout.ts";
import { labelNamePattern, type MetricRelabel, metricNamePattern, Relabelling } from "#/lib/model/relabel.ts";
import type { Target } from "#/lib/model/target.ts";
import { HalvedCache, Interned } from "#/secondary/scrape/interned.ts";

/** Compiled rules, each of a scrape config; those of all configs of a data centre, and their predecessors. */
const relabellingsMax = 512;

/** Rows of results that are kept though no target's last scrape has them, for those whose layout comes and goes: 25 MB. */
const recentRowsMax = 50_000;

/** In `rowOf`: the rules dropped the row, or made it a series that an earlier row is already. */
export const rowDropped = -1;
export const rowDuplicate = -2;

export interface RelabelledLayout {
  readonly layout: Layout;
  /** The rows of the exposed layout that are left, ascending: row i of `layout` was row `kept[i]`. */
  readonly kept: Int32Array;
  /** What became of each row of the exposed layout: its new row, or one of the two above. */
  readonly rowOf: Int32Array;
}

/** A target's part in the matter. */
export interface TargetRelabelling {
  readonly relabelling: Relabelling;
  readonly target: Target;
  readonly placeLabels: ReadonlySet<string>;
  /** Equal for targets that get the same of the same layout. */
  readonly key: string;
}

/** The rules made of a series something that is none. */
export class BadRelabelling extends Error {
  override readonly name = "BadRelabelling";
  readonly code: "no_name" | "bad_name" | "bad_label";

  constructor(code: BadRelabelling["code"], message: string) {
    super(`metric_relabel_configs: ${message}`);
    this.code = code;
  }
}

export class LayoutRelabeller {
  readonly #relabellings = new HalvedCache<Relabelling>({ weightMax: relabellingsMax });
  readonly #results = new Interned<RelabelledLayout>();
  readonly #recent = new HalvedCache<RelabelledLayout>({ weightMax: recentRowsMax });
  readonly #layouts: Interned<Layout>;
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** How often rules were evaluated for a layout, and what that took. */
  evaluations = 0;
  evaluationMs = 0;

  /** `layouts` are those known by their ids; it gets the new ones. Without a clock, what evaluations take is not told. */
  constructor(layouts: Interned<Layout>, clock: Pick<Clock, "monotonicMs"> = { monotonicMs: () => 0 }) {
    this.#layouts = layouts;
    this.#clock = clock;
  }

  ofTarget(target: Target, metricRelabel: MetricRelabel): TargetRelabelling {
    let relabelling = this.#relabellings.get(metricRelabel.id);
    if (!relabelling) {
      relabelling = new Relabelling(metricRelabel.rules);
      this.#relabellings.set(metricRelabel.id, relabelling);
    }
    const names = target.labels.map(([name]) => name);
    // With honor_labels a row may hold any of the target's labels, so each of their values can matter.
    const touched = new Set(target.options.honorLabels ? names : relabelling.touches(names));
    const values = labelsKey(target.labels.filter(([name]) => touched.has(name)));
    const key = `${metricRelabel.id}/${names.map((name) => `${name.length}:${name}`).join("")}/${values}`;
    return { relabelling, target, placeLabels: new Set(metricRelabel.placeLabels), key };
  }

  /** Throws BadRelabelling when the rules leave a series without a name, or with a bad one: Prometheus fails the scrape then. */
  relabel(layout: Layout, of: TargetRelabelling): RelabelledLayout {
    const key = `${layout.id}/${of.key}`;
    let result = this.#recent.get(key) ?? this.#results.get(key);
    if (!result) {
      const beganMs = this.#clock.monotonicMs();
      this.evaluations++;
      try {
        result = relabelLayout(layout, of);
      } finally {
        this.evaluationMs += this.#clock.monotonicMs() - beganMs;
      }
      const known = this.#layouts.get(result.layout.id);
      if (known) result = { ...result, layout: known };
      else this.#layouts.set(result.layout.id, result.layout);
      this.#results.set(key, result);
      this.#recent.set(key, result, layout.rows.length);
    }
    return result;
  }
}

/** The evaluation itself, row by row. Throws BadRelabelling. */
export function relabelLayout(layout: Layout, of: TargetRelabelling): RelabelledLayout {
  const rows: LayoutRow[] = [];
  const kept: number[] = [];
  const rowOf = new Int32Array(layout.rows.length);
  const families: MetricFamily[] = [];
  const familyOf = new Map<number, number>();
  const seen = new Set<string>();
  for (const [i, row] of layout.rows.entries()) {
    const made = relabelRow(row, of);
    const key = made && `${made.name.length}:${made.name}${labelsKey(made.labels)}`;
    if (!made || key === undefined) rowOf[i] = rowDropped;
    else if (seen.has(key)) rowOf[i] = rowDuplicate;
    else {
      seen.add(key);
      let family = familyOf.get(row.family);
      if (family === undefined) {
        family = families.push(layout.families[row.family]!) - 1;
        familyOf.set(row.family, family);
      }
      rowOf[i] = kept.push(i) - 1;
      const isSame =
        family === row.family && made.name === row.name && labelsKey(row.labels) === labelsKey(made.labels);
      rows.push(isSame ? row : { ...made, kind: row.kind, family });
    }
  }
  return { layout: layoutOf(rows, families), kept: Int32Array.from(kept), rowOf };
}

/** The number of the rule that drops the row, undefined when none does. */
export function droppingRule(row: LayoutRow, of: TargetRelabelling): number | undefined {
  return of.relabelling.apply(new Map(labelsSeen(row, of)));
}

/** What rules see of a row: its labels and its target's, without those of the place. */
function labelsSeen(row: LayoutRow, { placeLabels, target }: TargetRelabelling): Labels {
  const isOwn = ([name]: Label) => !placeLabels.has(name);
  return mergeLabels(target.labels.filter(isOwn), row.labels.filter(isOwn), row.name);
}

/** Undefined when the rules drop it. The labels are a row's, in the sense of `mergeLabels`. */
function relabelRow(row: LayoutRow, of: TargetRelabelling): Pick<LayoutRow, "name" | "labels"> | undefined {
  const { placeLabels, relabelling, target } = of;
  const isOwn = ([name]: Label) => !placeLabels.has(name);
  const own = target.labels.filter(isOwn);
  const labels = new Map(labelsSeen(row, of));
  if (relabelling.apply(labels) !== undefined) return undefined;
  const name = labels.get(metricNameLabel);
  labels.delete(metricNameLabel);
  checkNames(row, name, labels);
  const overlay = new Map([...labels].filter(isOwn));
  for (const [label, value] of own) {
    if (!labels.has(label)) overlay.set(label, "");
    else if (labels.get(label) === value) overlay.delete(label);
  }
  const placeOf = new Map(target.labels.filter((label) => !isOwn(label)));
  for (const [label, value] of row.labels) {
    if (placeLabels.has(label) && placeOf.get(label) !== value) overlay.set(label, value);
  }
  return { name: name!, labels: sorted(overlay) };
}

function checkNames(row: LayoutRow, name: string | undefined, labels: ReadonlyMap<string, string>): void {
  if (name === undefined) throw new BadRelabelling("no_name", `expected ${row.name} to keep a name, got none`);
  if (name !== row.name && !metricNamePattern.test(name)) {
    throw new BadRelabelling("bad_name", `expected a metric name for ${row.name}, got ${JSON.stringify(name)}`);
  }
  for (const label of labels.keys()) {
    if (labelNamePattern.test(label) || row.labels.some(([exposed]) => exposed === label)) continue;
    throw new BadRelabelling("bad_label", `expected a label name on ${row.name}, got ${JSON.stringify(label)}`);
  }
}

function sorted(labels: ReadonlyMap<string, string>): Labels {
  return [...labels].sort((a, b) => compareText(a[0], b[0]));
}
