// One scrape of each target as the secondary would do it, with everything that it would send made visible and nothing sent.
//
// Fetcher, scraper and compactor are the real ones. What comes out of them is sealed into batches and then decoded again, as a
// primary's reader would: what is shown is what is in the bytes.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import type { EncodedBatch } from "#/lib/codec/encode.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { type Labels, mergeLabels } from "#/lib/model/labels.ts";
import type { LayoutRow, MetricFamily } from "#/lib/model/layout.ts";
import { isStored, type Outcome } from "#/lib/model/outcome.ts";
import type { RelabelRule } from "#/lib/model/relabel.ts";
import type { Scrape } from "#/lib/model/scrape.ts";
import { slotAt, type Target } from "#/lib/model/target.ts";
import { formatValue, isAbsent, wordsOf } from "#/lib/model/value.ts";
import { createRegistry, type Registry } from "#/lib/telemetry/registry.ts";
import { Compactor } from "#/secondary/compact.ts";
import type { Fetcher } from "#/secondary/scrape/fetch.ts";
import type { FetchMeter } from "#/secondary/scrape/http/meter.ts";
import { droppingRule, rowDropped, rowDuplicate } from "#/secondary/scrape/relabel.ts";
import { Scraper, type TargetState } from "#/secondary/scrape/scrape.ts";

/** Targets at a time: many slow ones are through soon, and nobody is flooded. */
const scrapesAtOnce = 50;
/** Before the second round: long enough for counters to move. */
const roundPauseMs = secondMs;

export interface DryRunOptions {
  readonly datacenter: string;
  readonly secondary: string;
  readonly generation: number;
  readonly clock: Clock;
  /** A fetcher of its own for each scrape, so that what the meter hears is of that one alone. */
  readonly fetcherOf: (meter: FetchMeter) => Fetcher;
  /** 2 shows what a scrape costs that is not the first of its target. */
  readonly rounds: 1 | 2;
  /** Whether to keep each series, or only to count them. */
  readonly keepSeries: boolean;
}

export interface DryRun {
  /** In the order of the targets given. Of the first round. */
  readonly targets: readonly DryScrape[];
  /** What each round would have sent. */
  readonly rounds: readonly DryBatches[];
}

export interface DryBatches {
  readonly batches: number;
  readonly scrapes: number;
  readonly samples: number;
  /** Before and after compression, headers and checksums included in the latter. */
  readonly rawBytes: number;
  readonly bytes: number;
  readonly compressMs: number;
}

export interface DryScrape {
  readonly target: Target;
  readonly outcome: Outcome;
  /** "" when nothing went wrong. */
  readonly error: string;
  readonly stages: StageTimes;
  readonly bytes: { readonly sent: number; readonly received: number; readonly body: number };
  /** More than one where the target redirects. */
  readonly requests: number;
  /** Before metric relabelling, limits and refusals. */
  readonly samplesScraped: number;
  readonly samples: number;
  /** The layout's id; "" when nothing is stored. */
  readonly layout: string;
  /** Empty unless they are kept. */
  readonly series: readonly DrySeries[];
  /** By metric_relabel_configs; all of them are counted, and listed when series are kept. */
  readonly dropped: { readonly count: number; readonly series: readonly DroppedSeries[] };
  /** By reason; those that can be named are, when series are kept. */
  readonly refused: readonly { readonly reason: string; readonly count: number; readonly series: readonly Labels[] }[];
}

/** In ms. The first four are counted from the begin of the scrape; undefined where that point was not reached. */
export interface StageTimes {
  nameMs: number | undefined;
  connectMs: number | undefined;
  firstByteMs: number | undefined;
  fetchMs: number | undefined;
  readMs: number;
  relabelMs: number;
  encodeMs: number;
}

export interface DrySeries extends Pick<MetricFamily, "type" | "help" | "unit"> {
  /** With its target's, as it is stored. */
  readonly labels: Labels;
  readonly value: string;
  readonly timestampMs: number;
}

export interface DroppedSeries {
  readonly labels: Labels;
  /** Its position in metric_relabel_configs, from 0; undefined where that cannot be said. */
  readonly rule: number | undefined;
  readonly action: RelabelRule["action"] | undefined;
}

/** Rejects only for a bug: whatever a target does is in its outcome. */
export async function dryRun(targets: readonly Target[], options: DryRunOptions): Promise<DryRun> {
  const run = new Run(options);
  const scrapes = targets.map((target) => run.begin(target));
  const rounds: DryBatches[] = [];
  const reports: DryScrape[] = [];
  for (let round = 0; round < options.rounds; round++) {
    if (round > 0) await options.clock.sleep(roundPauseMs);
    const queue = scrapes.values();
    const workers = Array.from({ length: Math.min(scrapesAtOnce, scrapes.length) }, async () => {
      for (const scrape of queue) await run.scrape(scrape);
    });
    await Promise.all(workers);
    rounds.push(run.seal());
    if (round === 0) for (const scrape of scrapes) reports.push(reportOf(scrape, options.keepSeries));
  }
  return { targets: reports, rounds };
}

interface Running {
  readonly state: TargetState;
  readonly slot: number;
  stages: StageTimes;
  bytes: { sent: number; received: number; body: number };
  requests: number;
  sent: Pick<Scrape, "facts" | "layout"> | undefined;
  series: DrySeries[];
  absent: Labels[];
}

class Run {
  readonly #options: DryRunOptions;
  readonly #metrics: Registry = createRegistry({ tier: "secondary" });
  readonly #scraper: Scraper;
  readonly #compactor: Compactor;
  readonly #decoders = new Map<number, RunDecoder>();
  readonly #running = new Map<string, Running>();
  #batches: EncodedBatch[] = [];
  /** Whose fetch is about to begin. */
  #next: Running | undefined;

  constructor(options: DryRunOptions) {
    this.#options = options;
    const { clock, datacenter, generation, secondary } = options;
    const metrics = this.#metrics;
    this.#compactor = new Compactor({
      identity: { datacenter, secondary, bootEpoch: 1, shard: 0 },
      clock,
      log: silentLogger(),
      progress: () => ({ watermarkMs: clock.nowMs(), generation }),
      sink: (batch) => this.#batches.push(batch),
      metrics,
    });
    const fetcher: Fetcher = {
      fetch: async (request, signal) => {
        const own = options.fetcherOf(meterOf(this.#next!));
        try {
          return await own.fetch(request, signal);
        } finally {
          own.close();
        }
      },
      close() {},
    };
    this.#scraper = new Scraper({
      fetcher,
      clock,
      metrics,
      log: silentLogger(),
      emit: (scrape) => {
        const { stages } = this.#running.get(scrape.target.id)!;
        // Reading is one piece of work without a pause, so what the stages have grown by is this scrape's.
        stages.readMs = this.#spentMs("read", "learn", "sieve");
        stages.relabelMs = this.#spentMs("relabel");
        this.#compactor.add(scrape);
        stages.encodeMs = this.#spentMs("encode");
      },
    });
  }

  begin(target: Target): Running {
    const state = this.#scraper.adopt(target, undefined);
    const running: Running = { state, slot: slotAt(target, this.#options.clock.nowMs()), ...fresh() };
    this.#running.set(target.id, running);
    return running;
  }

  async scrape(running: Running): Promise<void> {
    Object.assign(running, fresh());
    const { generation } = this.#options;
    const { timeoutMs } = running.state.target;
    // The same slot again: the next one's keyframe may be due, which would cost as much as a first scrape.
    const due = { slot: running.slot, generation, timeoutMs };
    this.#next = running;
    await this.#scraper.scrape(running.state, due, new AbortController().signal);
  }

  /** Ends the round: what is pending becomes batches, which are read again. */
  seal(): DryBatches {
    this.#compactor.flush();
    const batches = this.#batches;
    this.#batches = [];
    let scrapes = 0;
    let samples = 0;
    let rawBytes = 0;
    let bytes = 0;
    for (const batch of batches) {
      scrapes += batch.header.scrapes;
      samples += batch.header.samples;
      rawBytes += batch.header.bodyBytes;
      bytes += batch.bytes.length;
      let decoder = this.#decoders.get(batch.id.run);
      if (!decoder) this.#decoders.set(batch.id.run, (decoder = new RunDecoder(batch.id)));
      decoder.decode(batch.bytes, (scrape) => this.#received(scrape));
    }
    return { batches: batches.length, scrapes, samples, rawBytes, bytes, compressMs: this.#spentMs("compress") };
  }

  #received(scrape: Scrape): void {
    const running = this.#running.get(scrape.target.id)!;
    running.sent = { facts: scrape.facts, layout: scrape.layout };
    const words = wordsOf(scrape.values);
    const own = new Map(scrape.timestamps.map(({ row, timestampMs }) => [row, timestampMs]));
    for (const [row, { family, labels, name }] of scrape.layout.rows.entries()) {
      const all = mergeLabels(scrape.target.labels, labels, name);
      if (isAbsent(words, row)) running.absent.push(all);
      else if (this.#options.keepSeries) {
        const { help, type, unit } = scrape.layout.families[family]!;
        const timestampMs = own.get(row) ?? scrape.facts.timestampMs;
        running.series.push({ labels: all, type, help, unit, value: formatValue(scrape.values[row]!), timestampMs });
      }
    }
  }

  readonly #told = new Map<string, number>();

  /** What these stages took since they were last asked for. */
  #spentMs(...stages: readonly string[]): number {
    let ms = 0;
    for (const stage of stages) {
      const seconds = this.#metrics.get("heliograph_secondary_stage_seconds_total", { stage });
      ms += (seconds - (this.#told.get(stage) ?? 0)) * 1000;
      this.#told.set(stage, seconds);
    }
    return ms;
  }
}

function fresh(): Omit<Running, "state" | "slot"> {
  return {
    stages: {
      nameMs: undefined,
      connectMs: undefined,
      firstByteMs: undefined,
      fetchMs: undefined,
      readMs: 0,
      relabelMs: 0,
      encodeMs: 0,
    },
    bytes: { sent: 0, received: 0, body: 0 },
    requests: 0,
    sent: undefined,
    series: [],
    absent: [],
  };
}

function meterOf(running: Running): FetchMeter {
  const { bytes, stages } = running;
  return {
    lookedUp(ms) {
      stages.nameMs ??= ms;
    },
    requested(count) {
      running.requests++;
      bytes.sent += count;
    },
    connected(ms) {
      stages.connectMs ??= ms;
    },
    received(count) {
      bytes.received += count;
    },
    answered(ms) {
      stages.firstByteMs ??= ms;
    },
    ended(ms, bodyBytes) {
      stages.fetchMs = ms;
      bytes.body = bodyBytes;
    },
  };
}

function reportOf(running: Running, keepSeries: boolean): DryScrape {
  const { bytes, requests, sent, series, stages, state } = running;
  const last = state.last!;
  const named = keepSeries && isStored(last.outcome) ? leftOut(running) : { dropped: [], refused: new Map() };
  return {
    target: state.target,
    // The compactor has the last word: what fits into no batch is not stored.
    outcome: sent?.facts.outcome ?? last.outcome,
    error: last.error,
    stages,
    bytes,
    requests,
    samplesScraped: sent?.facts.samplesScraped ?? 0,
    samples: last.samples,
    layout: sent && isStored(last.outcome) ? sent.layout.id : "",
    series,
    dropped: { count: last.dropped, series: named.dropped },
    refused: Object.entries(last.refused ?? {})
      .filter(([, count]) => count > 0)
      .map(([reason, count]) => ({ reason, count, series: named.refused.get(reason) ?? [] })),
  };
}

/** Which series of a stored scrape are not sent, from the layout that was exposed. */
function leftOut({ absent, state }: Running): {
  readonly dropped: readonly DroppedSeries[];
  readonly refused: ReadonlyMap<string, readonly Labels[]>;
} {
  const { reading, target } = state;
  const rows = reading.shape?.layout.rows ?? [];
  const labelsOf = (row: LayoutRow) => mergeLabels(target.labels, row.labels, row.name);
  const dropped: DroppedSeries[] = [];
  const duplicates = (reading.shape?.duplicatesOf ?? []).map((row) => labelsOf(rows[row]!));
  const { choice, relabelled } = reading.judged ?? {};
  const { relabelling } = reading;
  if (target.options.metricRelabel && relabelled && relabelling) {
    const { rules } = target.options.metricRelabel;
    for (const [i, row] of rows.entries()) {
      if (relabelled.rowOf[i] === rowDuplicate) duplicates.push(labelsOf(row));
      if (relabelled.rowOf[i] !== rowDropped) continue;
      const rule = droppingRule(row, relabelling);
      dropped.push({ labels: labelsOf(row), rule, action: rule === undefined ? undefined : rules[rule]?.action });
    }
  }
  const beyond = (choice?.of.rows ?? []).filter((_, i) => choice?.rowOf !== undefined && choice.rowOf[i]! < 0);
  const refused = new Map([
    ["duplicate_series", duplicates],
    ["cardinality", beyond.map(labelsOf)],
  ]);
  // An absent value says only that its timestamp was too far off; which way is clear where there is but one.
  const { timestamp_ahead: ahead = 0, timestamp_behind: behind = 0 } = state.last?.refused ?? {};
  if (behind === 0) refused.set("timestamp_ahead", absent);
  if (ahead === 0) refused.set("timestamp_behind", absent);
  return { dropped, refused };
}
