// What was due, and of whom: it follows from the generations alone, never from a secondary's word.
//
// A generation rules the slots from its time of validity on, until a newer one does; one that becomes valid no earlier than a
// newer one rules none. A target is a row of columns, because a data centre has a hundred thousand of them. A row tells
// who owns it since when; the few that moved within the time that the ledger covers have what was before beside it.

import { assert } from "#/lib/assert/assert.ts";
import { continued } from "#/lib/bytes/columns.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { phaseMs, type Target } from "#/lib/model/target.ts";

/** Owners are numbers: `nobody` where no secondary has it, `gone` where it is not due. */
export const nobody = 0;
export const gone = 2 ** 16 - 1;

const rowsAtFirst = 256;

/** Of a target that moves with each generation, so many moves are remembered: older ones count as the oldest's. */
const spansMax = 1024;

/** A generation, as far as it tells what was due. */
export interface Reign {
  readonly number: number;
  readonly token: number;
  readonly fromMs: number;
  /** Those that live, whatever their state. */
  readonly living: ReadonlySet<string>;
}

interface Span {
  readonly fromMs: number;
  readonly owner: number;
}

export class DueBook {
  readonly #rows = new Map<string, number>();
  /** Of targets whose interval changed, by id and interval: what they were before. */
  readonly #formerRows = new Map<string, number>();
  readonly #free: number[] = [];
  readonly #earlier = new Map<number, Span[]>();
  readonly #reigns: Reign[] = [];
  /** Numbers of all that came, whether they ever ruled or not. */
  readonly #taken = new Set<number>();
  readonly #names = [""];
  readonly #numbers = new Map([["", nobody]]);
  #targets: (Target | undefined)[] = [];
  #columns = columnsOf(rowsAtFirst);
  #used = 0;
  #marks = 0;

  /** Rows from 0 to below it; those without a target are free. */
  get rows(): number {
    return this.#used;
  }

  /** Oldest first; the last one is in force, or will be. */
  get reigns(): readonly Reign[] {
    return this.#reigns;
  }

  get newest(): Reign | undefined {
    return this.#reigns.at(-1);
  }

  target(row: number): Target | undefined {
    return this.#targets[row];
  }

  intervalMs(row: number): number {
    return this.#columns.intervalMs[row]!;
  }

  phaseMs(row: number): number {
    return this.#columns.phaseMs[row]!;
  }

  nameOf(owner: number): string {
    return this.#names[owner]!;
  }

  rowOf(id: string, intervalMs: number): number | undefined {
    const row = this.#rows.get(id);
    if (row !== undefined && this.#columns.intervalMs[row] === intervalMs) return row;
    return this.#formerRows.get(formerKey(id, intervalMs));
  }

  /** By id; of a target that changed its interval, what it is now. */
  find(id: string): number | undefined {
    return this.#rows.get(id);
  }

  /** The one in force then; undefined before the first. */
  reignAt(timeMs: number): Reign | undefined {
    for (let i = this.#reigns.length - 1; i >= 0; i--) if (this.#reigns[i]!.fromMs <= timeMs) return this.#reigns[i];
    return undefined;
  }

  /** Whether a generation never came that was made between that one, in force for a time, and the next one here or `by`. */
  lacksOneAfter(reign: Reign, by: number): boolean {
    const next = this.#reigns[this.#reigns.indexOf(reign) + 1]?.number ?? by + 1;
    for (let number = reign.number + 1; number < next; number++) if (!this.#taken.has(number)) return true;
    return false;
  }

  ownerAt(row: number, timeMs: number): number {
    if (this.#columns.fromMs[row]! <= timeMs) return this.#columns.owner[row]!;
    const earlier = this.#earlier.get(row);
    if (!earlier) return gone;
    for (let i = earlier.length - 1; i >= 0; i--) if (earlier[i]!.fromMs <= timeMs) return earlier[i]!.owner;
    return gone;
  }

  /** Whether the newest generation does not have it any more. */
  isGone(row: number): boolean {
    return this.#columns.owner[row] === gone;
  }

  /** Since when it has its present owner. */
  sinceMs(row: number): number {
    return this.#columns.fromMs[row]!;
  }

  /** The newest one of the log. Calls back for each row that is new. */
  take(generation: Generation, onRow: (row: number) => void): void {
    const { number, secondaries, targets, token, validFromMs } = generation;
    while (this.#reigns.length > 0 && this.#reigns.at(-1)!.fromMs >= validFromMs) this.#reigns.pop();
    const living = new Set(secondaries.map(({ name }) => name));
    this.#taken.add(number);
    this.#reigns.push({ number, token, fromMs: validFromMs, living });
    const mark = ++this.#marks;
    for (const { owner, target } of targets) {
      const row = this.#enter(target, validFromMs, onRow);
      this.#columns.mark[row] = mark;
      this.#own(row, validFromMs, this.#numberOf(owner));
    }
    for (let row = 0; row < this.#used; row++) {
      if (this.#columns.mark[row] !== mark && this.#targets[row]) this.#own(row, validFromMs, gone);
    }
  }

  /** Forgets what was due before that time only. Calls back for each row that is free again. */
  trim(beforeMs: number, onFree: (row: number) => void): void {
    while (this.#reigns.length > 1 && this.#reigns[1]!.fromMs <= beforeMs) this.#reigns.shift();
    for (const number of this.#taken) if (number < this.#reigns[0]!.number) this.#taken.delete(number);
    for (const [row, spans] of this.#earlier) {
      const untilMs = (i: number) => spans[i + 1]?.fromMs ?? this.#columns.fromMs[row]!;
      let old = 0;
      while (old < spans.length && untilMs(old) <= beforeMs) old++;
      spans.splice(0, old);
      if (spans.length === 0) this.#earlier.delete(row);
    }
    for (let row = 0; row < this.#used; row++) {
      const target = this.#targets[row];
      if (!target || this.#columns.owner[row] !== gone || this.#columns.fromMs[row]! > beforeMs) continue;
      if (this.#rows.get(target.id) === row) this.#rows.delete(target.id);
      this.#formerRows.delete(formerKey(target.id, target.intervalMs));
      this.#targets[row] = undefined;
      this.#free.push(row);
      onFree(row);
    }
  }

  #enter(target: Target, fromMs: number, onRow: (row: number) => void): number {
    const { id, intervalMs } = target;
    const known = this.#rows.get(id);
    if (known !== undefined && this.#columns.intervalMs[known] === intervalMs) {
      this.#targets[known] = target;
      return known;
    }
    const key = formerKey(id, intervalMs);
    const former = this.#formerRows.get(key);
    if (known !== undefined) this.#formerRows.set(formerKey(id, this.#columns.intervalMs[known]!), known);
    this.#formerRows.delete(key);
    const row = former ?? this.#free.pop() ?? this.#used++;
    this.#rows.set(id, row);
    this.#targets[row] = target;
    if (former !== undefined) return row;
    if (row >= this.#columns.mark.length) this.#columns = continued(columnsOf(2 * row), this.#columns);
    this.#columns.intervalMs[row] = intervalMs;
    this.#columns.phaseMs[row] = phaseMs(id, intervalMs);
    this.#columns.owner[row] = gone;
    this.#columns.fromMs[row] = fromMs;
    onRow(row);
    return row;
  }

  #own(row: number, fromMs: number, owner: number): void {
    const { fromMs: since, owner: owners } = this.#columns;
    const earlier = this.#earlier.get(row);
    // What was to begin no earlier than this one never rules.
    while (since[row]! >= fromMs && earlier && earlier.length > 0) {
      const last = earlier.pop()!;
      since[row] = last.fromMs;
      owners[row] = last.owner;
    }
    if (since[row]! >= fromMs) {
      since[row] = fromMs;
      owners[row] = owner;
    } else if (owners[row] !== owner) {
      const span = { fromMs: since[row]!, owner: owners[row]! };
      if (!earlier) this.#earlier.set(row, [span]);
      else {
        if (earlier.length >= spansMax) earlier.splice(1, 1);
        earlier.push(span);
      }
      since[row] = fromMs;
      owners[row] = owner;
    }
  }

  #numberOf(name: string): number {
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    const number = this.#names.push(name) - 1;
    assert(number < gone, `a data centre has fewer than ${gone} secondaries in all its time`);
    this.#numbers.set(name, number);
    return number;
  }
}

function formerKey(id: string, intervalMs: number): string {
  return `${id} ${intervalMs}`;
}

function columnsOf(rows: number) {
  return {
    fromMs: new Float64Array(rows),
    phaseMs: new Float64Array(rows),
    intervalMs: new Float64Array(rows),
    mark: new Uint32Array(rows),
    owner: new Uint16Array(rows),
  };
}
