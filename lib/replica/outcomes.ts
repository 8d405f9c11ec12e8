// What became of each target's last slot, as the log tells it: for pages and answers, and for counting targets up and down.
//
// It is a table of columns, a row a target, because a data centre has a hundred thousand of them and each scrape writes its row:
// 61 bytes a target in columns that grow by doubling, and 35 for finding it by id; 114 measured for 100,000 of them.

import { continued } from "#/lib/bytes/columns.ts";
import { outcomes as allOutcomes, isFailed, isStored, type LastOutcome, outranks } from "#/lib/model/outcome.ts";
import type { Scrape } from "#/lib/model/scrape.ts";

const rowsAtFirst = 256;

/** Of scrapes of one slot: a second owner may begin while the first one's scrape still runs. */
const slotSpreadIntervals = 2;

const durationUsMax = 2 ** 32 - 1;
const secondariesMax = 2 ** 16 - 1;

/** What a target's newest tried scrape says of it; a missed one says nothing. */
const triedNever = 0;
const triedUp = 1;
const triedDown = 2;

export class LastOutcomes {
  readonly #rows = new Map<string, number>();
  /** Rows of targets that are no more. */
  readonly #free: number[] = [];
  /** The first stands for what finds no place here. */
  readonly #secondaries = [""];
  readonly #secondaryNumbers = new Map<string, number>();
  #columns = columnsOf(rowsAtFirst);
  #used = 0;
  #up = 0;
  #down = 0;
  #lastStoredMs: number | undefined;

  /** Targets whose newest tried scrape stored samples. */
  get up(): number {
    return this.#up;
  }

  /** Targets whose newest tried scrape failed. */
  get down(): number {
    return this.#down;
  }

  /** The newest scrape of all that stored samples; undefined before the first. */
  get lastStoredMs(): number | undefined {
    return this.#lastStoredMs;
  }

  /** Late and repeated ones change only what they are the newest of. */
  take(
    { facts, target }: Scrape,
    { samples, secondary }: { readonly samples: number; readonly secondary: string },
  ): void {
    const row = this.#rowOf(target.id);
    const columns = this.#columns;
    const { outcome, timestampMs } = facts;
    this.#try(row, outcome, timestampMs);
    if (isStored(outcome)) columns.storedMs[row] = Math.max(columns.storedMs[row]!, timestampMs);
    const isNew = columns.outcome[row] === noOutcome;
    const knownMs = columns.timeMs[row]!;
    const known = allOutcomes[columns.outcome[row]!];
    if (known !== undefined) {
      const spreadMs = slotSpreadIntervals * target.intervalMs;
      if (columns.slot[row] === facts.slot && Math.abs(timestampMs - knownMs) < spreadMs) {
        if (!outranks(facts, { outcome: known, generation: columns.generation[row]! })) return;
      } else if (timestampMs <= knownMs) {
        // The row of like outcomes is known to begin behind it only.
        const beginsMs = timestampMs + target.intervalMs;
        if (outcome !== known) columns.sinceMs[row] = Math.max(columns.sinceMs[row]!, Math.min(knownMs, beginsMs));
        return;
      }
    }
    if (isNew || outcome !== known) columns.sinceMs[row] = timestampMs;
    columns.outcome[row] = allOutcomes.indexOf(outcome);
    columns.timeMs[row] = timestampMs;
    columns.slot[row] = facts.slot;
    columns.generation[row] = facts.generation;
    columns.durationUs[row] = Math.min(durationUsMax, facts.durationUs);
    columns.samples[row] = samples;
    columns.secondary[row] = this.#numberOf(secondary);
  }

  get(id: string): LastOutcome | undefined {
    const row = this.#rows.get(id);
    if (row === undefined) return undefined;
    const columns = this.#columns;
    const storedMs = columns.storedMs[row]!;
    return {
      outcome: allOutcomes[columns.outcome[row]!]!,
      generation: columns.generation[row]!,
      slot: columns.slot[row]!,
      timestampMs: columns.timeMs[row]!,
      durationUs: columns.durationUs[row]!,
      samples: columns.samples[row]!,
      sinceMs: columns.sinceMs[row]!,
      lastStoredMs: storedMs === Number.NEGATIVE_INFINITY ? undefined : storedMs,
      secondary: this.#secondaries[columns.secondary[row]!]!,
    };
  }

  /** Targets that are no more. */
  forget(ids: Iterable<string>): void {
    for (const id of ids) {
      const row = this.#rows.get(id);
      if (row === undefined) continue;
      this.#count(this.#columns.tried[row]!, -1);
      this.#rows.delete(id);
      this.#free.push(row);
    }
  }

  #try(row: number, outcome: Scrape["facts"]["outcome"], timestampMs: number): void {
    const { tried, triedMs } = this.#columns;
    const isUp = isStored(outcome);
    if (!isUp && !isFailed(outcome)) return;
    if (isUp) this.#lastStoredMs = Math.max(this.#lastStoredMs ?? timestampMs, timestampMs);
    if (timestampMs < triedMs[row]!) return;
    this.#count(tried[row]!, -1);
    tried[row] = isUp ? triedUp : triedDown;
    triedMs[row] = timestampMs;
    this.#count(tried[row]!, 1);
  }

  #count(tried: number, by: 1 | -1): void {
    if (tried === triedUp) this.#up += by;
    if (tried === triedDown) this.#down += by;
  }

  #rowOf(id: string): number {
    const known = this.#rows.get(id);
    if (known !== undefined) return known;
    const row = this.#free.pop() ?? this.#used++;
    if (row === this.#columns.outcome.length) this.#columns = continued(columnsOf(2 * row), this.#columns);
    this.#columns.outcome[row] = noOutcome;
    this.#columns.tried[row] = triedNever;
    this.#columns.triedMs[row] = Number.NEGATIVE_INFINITY;
    this.#columns.storedMs[row] = Number.NEGATIVE_INFINITY;
    this.#rows.set(id, row);
    return row;
  }

  #numberOf(secondary: string): number {
    const known = this.#secondaryNumbers.get(secondary);
    if (known !== undefined) return known;
    if (this.#secondaries.length > secondariesMax) return 0;
    const number = this.#secondaries.push(secondary) - 1;
    this.#secondaryNumbers.set(secondary, number);
    return number;
  }
}

const noOutcome = 255;

function columnsOf(rows: number) {
  return {
    timeMs: new Float64Array(rows),
    slot: new Float64Array(rows),
    generation: new Float64Array(rows),
    sinceMs: new Float64Array(rows),
    storedMs: new Float64Array(rows),
    triedMs: new Float64Array(rows),
    durationUs: new Uint32Array(rows),
    samples: new Uint32Array(rows),
    secondary: new Uint16Array(rows),
    outcome: new Uint8Array(rows),
    tried: new Uint8Array(rows),
  };
}
