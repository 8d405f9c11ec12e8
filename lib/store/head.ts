// The head: the most recent hours of every series, in memory.

import type { Labels, Matcher } from "#/lib/model/labels.ts";
import type { MetricFamily } from "#/lib/model/layout.ts";
import type { Scrape } from "#/lib/model/scrape.ts";
import type { MatcherSets, SampleSource, Selection, TimeRange } from "#/lib/model/source.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

/** `appended`: at its target's end. `merged`: between earlier ones. `repeated`: its slot had a better outcome. `too_old`: before what was trimmed. */
export type AppendOutcome = "appended" | "merged" | "repeated" | "too_old";

export interface HeadStats {
  readonly targets: number;
  readonly series: number;
  readonly samples: number;
  readonly bytes: number;
  readonly chunks: number;
  readonly layouts: number;
}

export class Head implements SampleSource {
  /** Nothing before it is held or answered: the last `trim`. */
  floorMs = Number.NEGATIVE_INFINITY;

  constructor(options: { readonly metrics: Registry }) {
    void options;
  }

  append(scrape: Scrape): AppendOutcome {
    throw new Error(`being written ${scrape.target.id}`);
  }

  /** The series of these targets, report series too, end at that time, because that generation no longer has them. */
  endTargets(ids: Iterable<string>, at: { readonly timeMs: number; readonly generation: number }): void {
    throw new Error(`being written ${ids} ${at}`);
  }

  /** Forgets whole chunks that end before that time, and refuses scrapes before it from now on. Call it about every minute. */
  trim(beforeMs: number): void {
    this.floorMs = beforeMs;
  }

  stats(): HeadStats {
    throw new Error("being written");
  }

  select(matchers: readonly Matcher[], range: TimeRange, signal: AbortSignal): Promise<Selection> {
    throw new Error(`being written ${matchers} ${range} ${signal}`);
  }

  series(sets: MatcherSets, range: TimeRange, signal: AbortSignal): Promise<readonly Labels[]> {
    throw new Error(`being written ${sets} ${range} ${signal}`);
  }

  labelNames(sets: MatcherSets, range: TimeRange, signal: AbortSignal): Promise<readonly string[]> {
    throw new Error(`being written ${sets} ${range} ${signal}`);
  }

  labelValues(name: string, sets: MatcherSets, range: TimeRange, signal: AbortSignal): Promise<readonly string[]> {
    throw new Error(`being written ${name} ${sets} ${range} ${signal}`);
  }

  metadata(): Promise<readonly MetricFamily[]> {
    throw new Error("being written");
  }
}
