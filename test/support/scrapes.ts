// Scrapes for tests of what keeps them: short to write, and everything that is not said has a plain value.

import { type Label, type Labels, labelsOf, type Matcher, type MatchOperator } from "#/lib/model/labels.ts";
import { type Layout, layoutEmpty, layoutOf } from "#/lib/model/layout.ts";
import { isStored } from "#/lib/model/outcome.ts";
import type { RowTimestamp, Scrape, ScrapedTarget, ScrapeFacts } from "#/lib/model/scrape.ts";
import { phaseMs, targetId } from "#/lib/model/target.ts";
import { setAbsent, wordsOf } from "#/lib/model/value.ts";

export function scrapedTarget(labels: Readonly<Record<string, string>>, intervalMs = 15_000): ScrapedTarget {
  const sorted = labelsOf(labels);
  return {
    id: targetId({ job: labels.job ?? "", url: labels.instance ?? "", labels: sorted }),
    labels: sorted,
    intervalMs,
  };
}

/** Rows as `name` or `name{label=value,…}`. */
export function layoutFrom(...rows: readonly string[]): Layout {
  return layoutOf(
    rows.map((text) => {
      const [, name, labels = ""] = /^([^{]+)(?:\{(.*)\})?$/.exec(text)!;
      const pairs = labels.split(",").flatMap((pair): Label[] => {
        const [key, value] = pair.split("=");
        return key ? [[key, value!]] : [];
      });
      // As they are: an empty value takes the target's label away.
      return { name: name!, labels: pairs.sort() as Labels, kind: "float" as const, family: 0 };
    }),
    [{ name: "test", type: "gauge", help: "A test's.", unit: "" }],
  );
}

export interface ScrapeParts extends Partial<ScrapeFacts> {
  readonly slot: number;
  /** A number a row; `undefined` where the row has no sample. */
  readonly values?: readonly (number | undefined)[];
  readonly layout?: Layout;
  readonly timestamps?: readonly RowTimestamp[];
}

/** Stored when it has values, else failed by timeout; at its slot's time. */
export function scrapeOf(target: ScrapedTarget, parts: ScrapeParts): Scrape {
  const { values, layout = layoutEmpty, timestamps = [], ...facts } = parts;
  const outcome = facts.outcome ?? (values ? "stored" : "failed_timeout");
  const column = new Float64Array(layout.rows.length);
  const words = wordsOf(column);
  for (const [row, value] of (values ?? []).entries()) {
    if (value === undefined) setAbsent(words, row);
    else column[row] = value;
  }
  return {
    target,
    facts: {
      generation: 1,
      timestampMs: phaseMs(target.id, target.intervalMs) + facts.slot * target.intervalMs,
      durationUs: 1000,
      bodyBytes: 100,
      samplesScraped: layout.rows.length,
      seriesRefused: 0,
      seriesAdded: 0,
      ...facts,
      outcome,
    },
    layout: isStored(outcome) ? layout : layoutEmpty,
    values: isStored(outcome) ? column : new Float64Array(0),
    timestamps: isStored(outcome) ? timestamps : [],
  };
}

/** As `name`, an operator and a value. Regular expressions are JavaScript's here. */
export function matcher(name: string, operator: MatchOperator, value: string): Matcher {
  const pattern = operator.endsWith("~") ? new RegExp(`^(?:${value})$`) : undefined;
  const negative = operator.startsWith("!");
  return {
    name,
    operator,
    value,
    matches: (text) => (pattern ? pattern.test(text) : text === value) !== negative,
  };
}
