// A ledger that is fed by hand, slot by slot, on a clock that the test moves.

import type { BatchHeader } from "#/lib/codec/batch.ts";
import { accountOf, type LedgerSource } from "#/lib/ledger/account.ts";
import { LedgerBook } from "#/lib/ledger/book.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import { phaseMs, type Target } from "#/lib/model/target.ts";
import { scrapeOf } from "#/test/support/scrapes.ts";
import { makeGeneration, makeTarget } from "#/test/support/targets.ts";

/** 2024-05-01T12:00:00Z, a whole minute. */
export const startMs = 1_714_564_800_000;
export const intervalMs = 10_000;

export const target = makeTarget("http://10.0.0.1:9100/metrics", { intervalMs });
export const other = makeTarget("http://10.0.0.2:9100/metrics", { intervalMs });
const phase = phaseMs(target.id, intervalMs);
/** The first slot from the start on. */
export const first = Math.ceil((startMs - phase) / intervalMs);
export const at = (n: number) => phase + (first + n) * intervalMs;

interface BatchParts extends Partial<BatchHeader> {
  readonly unreadable?: number;
}

export class Feed {
  readonly book = new LedgerBook({ datacenter: "fra", retentionMs: () => 7_200_000 });
  nowMs = startMs;
  #sequence = 0;

  constructor(generation: Partial<Generation> & { readonly owner?: string; readonly targets?: never } = {}) {
    this.book.read({ storedMs: startMs - 1000 });
    this.generation([target], generation);
  }

  generation(targets: readonly Target[], parts: Parameters<typeof makeGeneration>[1] = {}): void {
    this.book.generation(makeGeneration(targets, { validFromMs: startMs, ...parts }));
  }

  tell(n: number, outcome: Outcome = "stored", generation = 1, of = target): void {
    const slot = Math.floor((at(n) - phaseMs(of.id, intervalMs)) / intervalMs);
    this.book.read({ storedMs: at(n) + 500 });
    this.book.scrape(scrapeOf(of, { slot, outcome, generation }));
  }

  /** A batch that says that everything before slot `n` was told. */
  batch(n: number, parts: BatchParts = {}): void {
    const { unreadable = 0, ...header } = parts;
    this.#sequence = header.sequence ?? this.#sequence + 1;
    this.book.batch(
      {
        datacenter: "fra",
        secondary: "s1",
        bootEpoch: Math.floor(startMs / 1000) - 100,
        shard: 0,
        run: 1,
        sequence: this.#sequence,
        createdMs: at(n) - 5000,
        generation: 1,
        watermarkMs: at(n) - 5000,
        scrapes: 1,
        samples: 1,
        bodyBytes: 100,
        ...header,
      },
      unreadable,
    );
  }

  /** The log goes on, and these are heard all the time. */
  pass(untilMs: number, ...living: readonly string[]): void {
    for (; this.nowMs < untilMs; this.nowMs += 1000) {
      this.book.read({ storedMs: this.nowMs });
      this.book.heartbeat({ sentMs: this.nowMs, secondaries: living.map((name) => ({ name, ageMs: 0 })) });
    }
    this.nowMs = untilMs;
  }

  cause(n: number, { dark = false, nowMs = this.nowMs, of = target } = {}): string | undefined {
    const row = this.book.due.find(of.id)!;
    return this.book.slot(row, at(n), { nowMs, dark })?.cause;
  }

  source(dark = false): LedgerSource {
    return { book: this.book, present: () => ({ nowMs: this.nowMs, dark }) };
  }

  async terms(fromMs = startMs, untilMs = this.nowMs, dark = false) {
    return await accountOf(this.source(dark), { fromMs, untilMs, step: "total" });
  }
}
