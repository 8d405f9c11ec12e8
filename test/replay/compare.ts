// Holds what two scrapers have of one play against each other, round by round.
//
// A sample's time tells the scrape, and the server's book tells which round that scrape got; `up` has the time of every scrape. So
// the two need not scrape at the same moments, nor miss none. In each round that both got, every series must have the same
// sample, bit for bit, or none, or end. Samples that brought their own time are compared by that.

import { labelsKey, labelValue } from "#/lib/model/labels.ts";
import { isStale, wordsOf } from "#/lib/model/value.ts";
import { type Play, roundSeries } from "#/test/replay/plays.ts";
import { nameOf, type ReplayedSeries } from "#/test/replay/scrapers.ts";

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

/** The clock of a scrape's time and that of its request are the same, but some scrapes are begun a little early. */
const earlyMsMax = 100;
/** Of one play. */
export const differencesTold = 5;
/** Name, job, instance and the play's own. */
const upLabels = 4;
const sampleNone = "no sample";
const sampleStale = "its end";

/** What a scrape took, and what is new to a scraper: by what each remembers, and whether it counts what it refuses. */
const ownAffairs: ReadonlySet<string> = new Set(["scrape_duration_seconds", "scrape_series_added"]);
/**
 * Of a failed scrape Prometheus counts what it had read of the body until then. Ours are 0 of a body that cannot be read, and all
 * of one that is beyond a limit.
 */
const howFar: ReadonlySet<string> = new Set(["scrape_samples_scraped", "scrape_samples_post_metric_relabeling"]);

export function comparePlay(
  play: Play,
  startMs: number,
  series: Sides<readonly ReplayedSeries[]>,
  requestsMs: Sides<readonly number[]>,
): Comparison {
  const ours = new SideOfPlay(series.ours, requestsMs.ours, play);
  const theirs = new SideOfPlay(series.theirs, requestsMs.theirs, play);
  const rounds = [...ours.timeOf.keys()].filter((round) => theirs.timeOf.has(round)).sort((a, b) => a - b);
  // The last one may not have come to its end.
  rounds.pop();
  const common = new Set(rounds);
  const differences: string[] = [...ours.problems, ...theirs.problems];
  const counts = { samples: 0, staleMarkers: 0, differing: differences.length };
  const differ = (what: string) => {
    if (counts.differing++ < differencesTold) differences.push(`${play.name}: ${what}`);
  };
  /** Who missed the round before says only in the next what ended in it. */
  const comparesEnd = (round: number) => common.has(round - 1) && !play.isWild && !endsLate(play, round);
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
    scrapes: { ours: ours.timeOf.size, theirs: theirs.timeOf.size },
    rounds: rounds.length,
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
  /** When the scrape of each round was. */
  readonly timeOf = new Map<number, number>();
  readonly problems: string[] = [];
  readonly #scrapeTimes: ReadonlySet<number>;

  readonly #roundAt = new Map<number, number>();
  readonly #up: KnownSeries | undefined;

  constructor(all: readonly ReplayedSeries[], requestsMs: readonly number[], play: Play) {
    for (const each of all) {
      const indexOf = new Map(Array.from(each.timesMs, (timeMs, i) => [timeMs, i]));
      this.series.set(labelsKey(each.labels), { ...each, indexOf });
    }
    // Where labels of the bodies win, another series may have that name too.
    this.#up = [...this.series.values()].find(
      ({ labels }) => nameOf(labels) === "up" && labelValue(labels, "job") === play.name && labels.length === upLabels,
    );
    const timesMs = [...(this.#up?.timesMs ?? [])].sort((a, b) => a - b);
    this.#scrapeTimes = new Set(timesMs);
    let round = 0;
    for (const [i, timeMs] of timesMs.entries()) {
      const untilMs = (timesMs[i + 1] ?? Number.POSITIVE_INFINITY) - earlyMsMax;
      while (round < requestsMs.length && requestsMs[round]! < timeMs - earlyMsMax) round++;
      // A scrape whose request came to nobody is none of a round.
      if (round >= requestsMs.length || requestsMs[round]! >= untilMs) continue;
      this.#roundAt.set(timeMs, round);
      this.timeOf.set(round++, timeMs);
    }
    if (!play.isWild) this.#checkRounds();
  }

  stored(round: number): boolean {
    const at = this.#up?.indexOf.get(this.timeOf.get(round)!);
    return at !== undefined && this.#up!.values[at] === 1;
  }

  /** Bodies say what round they are. */
  #checkRounds(): void {
    const said = [...this.series.values()].find(({ labels }) => nameOf(labels) === roundSeries);
    for (const [round, timeMs] of this.timeOf) {
      const at = said?.indexOf.get(timeMs);
      const value = at === undefined ? undefined : said!.values[at]!;
      if (value === undefined || Number.isNaN(value) || value === round) continue;
      this.problems.push(`the scrape at ${timeMs}: expected the round ${round}, got ${value}`);
    }
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
