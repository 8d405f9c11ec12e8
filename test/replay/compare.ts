// Holds what two scrapers have of one play against each other, round by round.
//
// A sample's time tells its scrape, `up` has the time of every scrape, and bodies say what round they are. So the two need not
// scrape at the same moments, nor miss none. In each round that both got, every series must have the same sample, bit for bit, or
// none, or end. Samples that brought their own time are compared by that.

import { secondMs } from "#/lib/bytes/units.ts";
import { labelsKey, labelValue } from "#/lib/model/labels.ts";
import { isStale, wordsOf } from "#/lib/model/value.ts";
import { type Play, roundSeries } from "#/test/replay/plays.ts";
import { intervalMs, nameOf, type ReplayedSeries } from "#/test/replay/scrapers.ts";

export interface Sides<T> {
  readonly ours: T;
  readonly theirs: T;
}

export interface Comparison {
  readonly play: string;
  /** Scrapes of each. */
  readonly scrapes: Sides<number>;
  /** Of them in rounds that both had. */
  readonly rounds: number;
  readonly series: number;
  readonly samples: number;
  readonly staleMarkers: number;
  /** Sentences; the first few of each kind. */
  readonly differences: readonly string[];
  readonly differing: number;
}

/** A scrape that failed after so much of its time may have failed for that. */
const timeoutShare = 0.8;
/** Of one play. */
const differencesTold = 5;
/** Name, job, instance and the play's own. */
const reportLabels = 4;
const sampleNone = "no sample";
const sampleStale = "its end";

/** What a scrape took, and what is new to a scraper: by what each remembers, and whether it counts what it refuses. */
const ownAffairs: ReadonlySet<string> = new Set(["scrape_duration_seconds", "scrape_series_added"]);
/**
 * Of a failed scrape Prometheus counts what it had read of the body until then. Ours are 0 of a body that cannot be read, and all
 * of one that is beyond a limit.
 */
const howFar: ReadonlySet<string> = new Set(["scrape_samples_scraped", "scrape_samples_post_metric_relabeling"]);

export function comparePlay(play: Play, startMs: number, series: Sides<readonly ReplayedSeries[]>): Comparison {
  const ours = new SideOfPlay(series.ours, play);
  const theirs = new SideOfPlay(series.theirs, play);
  const both = [...ours.scrapeOf.keys()].filter((round) => theirs.scrapeOf.has(round));
  // On a machine that is busy with other things a scrape may take too long.
  const common = new Set(both.filter((round) => !ours.ranOutOfTime(round) && !theirs.ranOutOfTime(round)));
  const differences: string[] = [];
  const counts = { samples: 0, staleMarkers: 0, differing: 0 };
  const differ = (what: string) => {
    if (counts.differing++ < differencesTold) differences.push(`${play.name}: ${what}`);
  };
  /** Who missed the round before says only in the next what ended in it. */
  const comparesEnd = (round: number) =>
    common.has(round - 1) && ours.follows(round) && theirs.follows(round) && !play.isWild && !endsLate(play, round);
  const keys = new Set([...ours.series.keys(), ...theirs.series.keys()]);
  let compared = 0;
  for (const key of keys) {
    const [mine, other] = [ours.series.get(key), theirs.series.get(key)];
    const { labels } = (other ?? mine)!;
    const name = nameOf(labels);
    if (ownAffairs.has(name)) continue;
    compared++;
    const told = JSON.stringify(Object.fromEntries(labels));
    const [got, expected] = [ours.byRound(mine), theirs.byRound(other)];
    for (const round of new Set([...got.keys(), ...expected.keys()])) {
      if (!common.has(round) || (howFar.has(name) && !(ours.stored(round) && theirs.stored(round)))) continue;
      const [a, b] = [expected, got].map((samples) => {
        const sample = samples.get(round) ?? sampleNone;
        return sample === sampleStale && !comparesEnd(round) ? sampleNone : sample;
      });
      if (a === sampleStale) counts.staleMarkers++;
      else if (a !== sampleNone) counts.samples++;
      if (a !== b) differ(`round ${round}, ${told}: expected ${a}, got ${b}`);
    }
    const own = { got: ours.ownTimes(mine), expected: theirs.ownTimes(other) };
    for (const timeMs of new Set([...own.got.keys(), ...own.expected.keys()])) {
      const round = play.roundOf?.(timeMs, startMs);
      if (round !== undefined && !common.has(round)) continue;
      const [a, b] = [own.expected.get(timeMs) ?? sampleNone, own.got.get(timeMs) ?? sampleNone];
      counts.samples++;
      if (a !== b) differ(`at ${timeMs}, round ${round}, ${told}: expected ${a}, got ${b}`);
    }
  }
  return {
    play: play.name,
    scrapes: { ours: ours.timesMs.length, theirs: theirs.timesMs.length },
    rounds: common.size,
    series: compared,
    ...counts,
    differences,
  };
}

/**
 * When a scrape fails in the midst of its body, Prometheus ends the series that it had read before only with the next scrape that
 * lacks them; ours end at once, as those of any failed scrape do.
 */
function endsLate(play: Play, round: number): boolean {
  for (let failed = round; failed >= 0 && failed > round - 3; failed--) if (play.failsWithin?.(failed)) return true;
  return false;
}

interface KnownSeries extends ReplayedSeries {
  /** Sample by time. */
  readonly indexOf: ReadonlyMap<number, number>;
}

class SideOfPlay {
  readonly series = new Map<string, KnownSeries>();
  /** Times of all scrapes, in order, by `up`. */
  readonly timesMs: readonly number[];
  /** Which scrape got each round, as far as that is certain. */
  readonly scrapeOf = new Map<number, number>();
  readonly #roundAt = new Map<number, number>();
  readonly #scrapeTimes: ReadonlySet<number>;
  readonly #up: KnownSeries | undefined;
  readonly #took: KnownSeries | undefined;

  constructor(all: readonly ReplayedSeries[], play: Play) {
    for (const each of all) {
      const indexOf = new Map(Array.from(each.timesMs, (timeMs, i) => [timeMs, i]));
      this.series.set(labelsKey(each.labels), { ...each, indexOf });
    }
    this.#up = this.#report("up", play);
    this.#took = this.#report("scrape_duration_seconds", play);
    this.timesMs = [...(this.#up?.timesMs ?? [])].sort((a, b) => a - b);
    this.#scrapeTimes = new Set(this.timesMs);
    this.#alignRounds();
    for (const [round, scrape] of this.scrapeOf) this.#roundAt.set(this.timesMs[scrape]!, round);
  }

  /** Where labels of the bodies win, another series may have that name too. */
  #report(wanted: string, play: Play): KnownSeries | undefined {
    return [...this.series.values()].find(
      ({ labels }) =>
        nameOf(labels) === wanted && labelValue(labels, "job") === play.name && labels.length === reportLabels,
    );
  }

  /**
   * What was stored says its round. Scrapes that failed in between had the rounds in between, where there are as many of both;
   * else a scrape never came to the server, or twice, and nobody knows which.
   */
  #alignRounds(): void {
    const said = [...this.series.values()].find(({ labels }) => nameOf(labels) === roundSeries);
    let before = { scrape: -1, round: -1 };
    for (const [scrape, timeMs] of this.timesMs.entries()) {
      const at = said?.indexOf.get(timeMs);
      if (at === undefined || Number.isNaN(said!.values[at]!)) continue;
      const round = said!.values[at]!;
      if (round - before.round === scrape - before.scrape) {
        for (let i = before.scrape + 1; i < scrape; i++) this.scrapeOf.set(round - (scrape - i), i);
      }
      this.scrapeOf.set(round, scrape);
      before = { scrape, round };
    }
  }

  stored(round: number): boolean {
    return this.#valueOf(this.#up, round) === 1;
  }

  /** It failed, and nothing but time may have been the reason. */
  ranOutOfTime(round: number): boolean {
    return !this.stored(round) && this.#valueOf(this.#took, round) >= timeoutShare * (intervalMs / secondMs);
  }

  /** No other scrape lies between that of the round before and its own. */
  follows(round: number): boolean {
    const scrape = this.scrapeOf.get(round);
    return scrape !== undefined && this.scrapeOf.get(round - 1) === scrape - 1;
  }

  #valueOf(series: KnownSeries | undefined, round: number): number {
    const at = series?.indexOf.get(this.timesMs[this.scrapeOf.get(round)!]!);
    return at === undefined ? Number.NaN : series!.values[at]!;
  }

  /** Each sample of a scrape as a text that is equal only for equal bits. */
  byRound(series: KnownSeries | undefined): ReadonlyMap<number, string> {
    const samples = new Map<number, string>();
    for (const [timeMs, at] of series?.indexOf ?? []) {
      const round = this.#roundAt.get(timeMs);
      if (round !== undefined) samples.set(round, sampleText(series!, at));
    }
    return samples;
  }

  ownTimes(series: KnownSeries | undefined): ReadonlyMap<number, string> {
    const own = new Map<number, string>();
    for (const [timeMs, at] of series?.indexOf ?? []) {
      if (!this.#scrapeTimes.has(timeMs)) own.set(timeMs, sampleText(series!, at));
    }
    return own;
  }
}

function sampleText({ values }: ReplayedSeries, at: number): string {
  const words = wordsOf(values);
  if (isStale(words, at)) return sampleStale;
  const [high, low] = [words[at * 2 + 1]!, words[at * 2]!].map((word) => word.toString(16).padStart(8, "0"));
  return `${values[at]} (${high}${low})`;
}
