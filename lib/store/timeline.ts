// All that the head holds of one target: its scrapes in the order of their times, a slot once, cut into chunks.
//
// Nearly every scrape comes in order and is one copy at the end of the last chunk. What comes late or twice finds its place
// by time and slot, and where it falls into a sealed chunk or between scrapes of another layout, the chunks around it are
// made anew.

import { outcomes, outranks } from "#/lib/model/outcome.ts";
import type { ScrapedTarget } from "#/lib/model/scrape.ts";
import {
  type Chunk,
  chunkScrapesMax,
  chunksOf,
  factGeneration,
  factOutcome,
  factSlot,
  factTime,
  type HeldScrape,
  isStoredScrape,
} from "#/lib/store/chunk.ts";
import type { Dictionary } from "#/lib/store/dictionary.ts";

/** The target's series end at this time, because that generation no longer has it. */
export interface TargetEnd {
  readonly timeMs: number;
  readonly generation: number;
}

export type PlaceOutcome = "appended" | "merged" | "replaced" | "repeated";

/** Two scrapes of one slot lie less than an interval apart; the second one is for a scrape that took its time. */
const slotSpreadIntervals = 2;

export class Timeline {
  readonly target: ScrapedTarget;
  readonly #dictionary: Dictionary;
  #chunks: Chunk[] = [];
  #ends: TargetEnd[] = [];

  constructor(target: ScrapedTarget, dictionary: Dictionary) {
    this.target = target;
    this.#dictionary = dictionary;
  }

  /** In the order of time; they do not overlap. */
  get chunks(): readonly Chunk[] {
    return this.#chunks;
  }

  /** In the order of time. */
  get ends(): readonly TargetEnd[] {
    return this.#ends;
  }

  place(scrape: HeldScrape): PlaceOutcome {
    if (this.#ends.length > 0) this.#moveEnds(scrape);
    const last = this.#chunks.at(-1);
    const timeMs = scrape.facts[factTime]!;
    if (!last || (timeMs > last.untilMs && scrape.facts[factSlot]! > last.lastSlot)) {
      this.#append(scrape, this.#chunks.length - 1);
      return "appended";
    }
    const repeat = this.#findRepeat(scrape);
    if (repeat) {
      if (!outranks(ranked(scrape.facts), ranked(repeat.facts))) return "repeated";
      const scrapes = repeat.chunk.scrapes();
      scrapes.splice(repeat.at, 1);
      this.#replace(this.#chunks.indexOf(repeat.chunk), 1, chunksOf(scrapes));
    }
    this.#insert(scrape);
    return repeat ? "replaced" : "merged";
  }

  /** Ends the target's series at that time, or right after what was scraped later under an older generation. */
  end(at: TargetEnd): void {
    if (this.#ends.some((end) => end.generation === at.generation)) return;
    let { timeMs } = at;
    for (let c = this.#chunks.length - 1; c >= 0 && this.#chunks[c]!.untilMs >= timeMs; c--) {
      const { times, generations } = columnsOf(this.#chunks[c]!);
      for (const [i, time] of times.entries()) {
        if (time >= timeMs && generations[i]! < at.generation) timeMs = time + 1;
      }
    }
    this.#ends.push({ timeMs, generation: at.generation });
    this.#ends.sort((a, b) => a.timeMs - b.timeMs);
  }

  /** Drops whole chunks that end before that time. True when nothing is left. */
  trim(beforeMs: number): boolean {
    const keep = this.#chunks.findIndex((chunk) => chunk.untilMs >= beforeMs);
    const drop = keep < 0 ? this.#chunks.length : keep;
    if (drop > 0) this.#replace(0, drop, []);
    const fromMs = this.#chunks[0]?.fromMs ?? Number.POSITIVE_INFINITY;
    if (this.#ends.length > 0) this.#ends = this.#ends.filter((end) => end.timeMs >= fromMs);
    return this.#chunks.length === 0;
  }

  /** Seals what lies before the last chunk and was not touched since the last call. */
  sealIdle(): void {
    for (const chunk of this.#chunks.slice(0, -1)) {
      if (chunk.idle) chunk.seal();
      chunk.idle = true;
    }
  }

  #append(scrape: HeldScrape, after: number): void {
    const chunk = this.#chunks[after];
    if (chunk?.takes(scrape)) {
      chunk.insert(chunk.count, scrape);
      if (chunk.count === chunkScrapesMax) chunk.seal();
      return;
    }
    const isLast = after === this.#chunks.length - 1;
    if (chunk?.stored === 0 && !chunk.sealed && chunk.count < chunkScrapesMax) {
      // It has no values yet, so it may as well have this layout.
      this.#replace(after, 1, chunksOf([...chunk.scrapes(), scrape]));
      return;
    }
    // A scrape without values goes along with the layout before it, so that the next stored one finds its chunk.
    this.#replace(
      after + 1,
      0,
      chunksOf([{ ...scrape, layout: isStoredScrape(scrape) ? scrape.layout : (chunk ?? scrape).layout }]),
    );
    if (isLast) chunk?.seal();
  }

  #insert(scrape: HeldScrape): void {
    const timeMs = scrape.facts[factTime]!;
    const index = this.#chunkAt(timeMs);
    const chunk = this.#chunks[index];
    if (!chunk || timeMs > chunk.untilMs) {
      const next = this.#chunks[index + 1];
      if (!chunk?.takes(scrape) && next?.takes(scrape)) next.insert(0, scrape);
      else this.#append(scrape, index);
      return;
    }
    const { times } = columnsOf(chunk);
    const at = times.findIndex((time) => time > timeMs);
    if (chunk.takes(scrape)) {
      chunk.insert(at, scrape);
      return;
    }
    const scrapes = chunk.scrapes();
    scrapes.splice(at, 0, scrape);
    this.#replace(index, 1, chunksOf(scrapes));
  }

  /** The last chunk that begins at or before that time, or −1. */
  #chunkAt(timeMs: number): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#chunks[middle]!.fromMs <= timeMs) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** A scrape of the same slot nearby, or of the very same time. */
  #findRepeat(scrape: HeldScrape): { chunk: Chunk; at: number; facts: Float64Array } | undefined {
    const timeMs = scrape.facts[factTime]!;
    const slot = scrape.facts[factSlot]!;
    const spreadMs = slotSpreadIntervals * this.target.intervalMs;
    for (let c = Math.max(0, this.#chunkAt(timeMs - spreadMs)); c < this.#chunks.length; c++) {
      const chunk = this.#chunks[c]!;
      if (chunk.fromMs > timeMs + spreadMs) break;
      const { times, slots } = columnsOf(chunk);
      for (const [at, time] of times.entries()) {
        if (time === timeMs || (slots[at] === slot && Math.abs(time - timeMs) <= spreadMs)) {
          return { chunk, at, facts: factsAt(chunk, at) };
        }
      }
    }
    return undefined;
  }

  /** A scrape under an older generation than one that ended the target was late: the end comes after it. */
  #moveEnds(scrape: HeldScrape): void {
    const timeMs = scrape.facts[factTime]!;
    const generation = scrape.facts[factGeneration]!;
    this.#ends = this.#ends
      .map((end) => (generation < end.generation && timeMs >= end.timeMs ? { ...end, timeMs: timeMs + 1 } : end))
      .sort((a, b) => a.timeMs - b.timeMs);
  }

  #replace(from: number, count: number, chunks: readonly Chunk[]): void {
    for (const chunk of chunks) chunk.layout.chunks++;
    for (const chunk of this.#chunks.splice(from, count, ...chunks)) {
      chunk.layout.chunks--;
      this.#dictionary.release(chunk.layout);
    }
  }
}

function ranked(facts: Float64Array) {
  return { outcome: outcomes[facts[factOutcome]!]!, generation: facts[factGeneration]! };
}

function columnsOf(chunk: Chunk) {
  const column = (fact: number) => {
    const values = new Float64Array(chunk.count);
    chunk.fact(fact, values);
    return values;
  };
  return {
    times: column(factTime),
    get slots() {
      return column(factSlot);
    },
    get generations() {
      return column(factGeneration);
    },
  };
}

function factsAt(chunk: Chunk, at: number): Float64Array {
  return chunk.scrapes()[at]!.facts;
}
