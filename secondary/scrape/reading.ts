// What is remembered of a target between its scrapes so that the next body costs little, and what a body comes to.

import type { DecimalColumn } from "#/lib/model/decimal.ts";
import { labelsKey } from "#/lib/model/labels.ts";
import type { Layout } from "#/lib/model/layout.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import type { RowTimestamp } from "#/lib/model/scrape.ts";
import type { ScrapeOptions, Target } from "#/lib/model/target.ts";

import type { Choice } from "#/secondary/scrape/choice.ts";
import type { TargetGuard } from "#/secondary/scrape/guard.ts";
import type { WalkedShape } from "#/secondary/scrape/kernel/walk.ts";
import type { Exemplar, ExpositionFormat } from "#/secondary/scrape/parse.ts";
import type { RelabelledLayout, TargetRelabelling } from "#/secondary/scrape/relabel.ts";
import type { Shape } from "#/secondary/scrape/shape.ts";
import type { Sieve } from "#/secondary/scrape/sieve.ts";

/** Why a series was left out of a scrape that was otherwise stored. */
export const refusalReasons = ["duplicate_series", "timestamp_ahead", "timestamp_behind", "cardinality"] as const;
export type RefusalReason = (typeof refusalReasons)[number];
export type Refusals = Readonly<Record<RefusalReason, number>>;

/** What is remembered of a target between its scrapes. */
export interface TargetReading {
  readonly target: Target;
  readonly labelNames: ReadonlySet<string>;
  /** Targets with equal contexts turn equal bodies into equal layouts. */
  readonly context: string;
  /** Of its last body that could be read. */
  shape: Shape | undefined;
  /** Made when it is first needed, where the target has metric relabelling. */
  relabelling: TargetRelabelling | undefined;
  /** Absent where nothing is guarded: then every series is kept. */
  readonly guard: TargetGuard | undefined;
  /** What was made of its last shape; held so that it is not made anew. */
  judged: Judged | undefined;
  /** What it had when it was last read whole, for the time of a flood. */
  sieve: Sieve | undefined;
}

export interface Judged {
  readonly format: ExpositionFormat;
  readonly shape: Shape;
  readonly relabelled: RelabelledLayout | undefined;
  readonly choice: Choice | undefined;
  /** Set when nothing of it was refused for being too much. */
  steady: Steady | undefined;
}

/** What a body with the same lines comes to, but for its values. */
export interface Steady {
  /** Its rows are those that are left in the end. */
  readonly walked: WalkedShape;
  readonly layout: Layout;
  readonly samples: number;
  readonly dropped: number;
  readonly duplicates: number;
}

export type Reading =
  | {
      readonly outcome: "stored" | "partial";
      readonly layout: Layout;
      /** One value a row; valid until the next `read`. */
      readonly values: DecimalColumn;
      readonly timestamps: readonly RowTimestamp[];
      readonly exemplars: readonly RowExemplar[];
      readonly samplesScraped: number;
      /** Samples that metric relabelling dropped. */
      readonly dropped: number;
      readonly refused: Refusals;
      /** What is to be said of the series that the guard refused; empty when it refused none. */
      readonly flood: string;
    }
  | {
      readonly outcome: Extract<Outcome, "failed_parse" | "failed_sample_limit" | "failed_label_limit">;
      readonly error: string;
      readonly samplesScraped: number;
      /** More than any scrape may bring, which was expensive to find out. */
      readonly tooMuch: boolean;
    };

export interface RowExemplar extends Exemplar {
  readonly row: number;
}

export function targetReading(target: Target, previous?: TargetReading, guard?: TargetGuard): TargetReading {
  const names = target.labels.map(([name]) => name);
  // With honor_labels, which rows are the same series also depends on the target's values.
  const context = target.options.honorLabels
    ? `h${labelsKey(target.labels)}`
    : `n${names.map((name) => `${name.length}:${name}`).join("")}`;
  const shape = previous?.context === context ? previous.shape : undefined;
  const isAlike = previous?.context === context && judgesAlike(previous.target.options, target.options);
  return {
    target,
    labelNames: new Set(names),
    context,
    shape,
    relabelling: undefined,
    guard,
    judged: isAlike ? previous.judged : undefined,
    sieve: isAlike ? previous.sieve : undefined,
  };
}

/** Whether the same body comes to the same series by both. */
function judgesAlike(a: ScrapeOptions, b: ScrapeOptions): boolean {
  return (
    a.metricRelabel?.id === b.metricRelabel?.id &&
    a.cardinalityLimit === b.cardinalityLimit &&
    a.labelLimit === b.labelLimit &&
    a.labelNameLengthLimit === b.labelNameLengthLimit &&
    a.labelValueLengthLimit === b.labelValueLengthLimit
  );
}
