// What a spool that is too small dropped, as far as others were told: of that, and of what cannot be read without it, a global may
// lack something, and of nothing else.
//
// A batch that both primaries hold goes first, and is not told, because it is not lost: should the log lose it besides, it must
// come from a primary's journal. That is not asked for yet.

import { RunDecoder } from "#/lib/codec/decode.ts";
import type { DroppedRange } from "#/lib/model/dropped.ts";
import { type RunId, runKey } from "#/lib/model/identity.ts";
import { labelValue } from "#/lib/model/labels.ts";
import type { Scrape } from "#/lib/model/scrape.ts";

interface DroppedRun {
  readonly id: RunId;
  /** As they were spooled. */
  readonly batches: Map<number, Uint8Array>;
  /** By the batch that tells them: nobody was told before that is in a log. */
  readonly gone: Set<number>;
  readonly heldAndDeleted: Set<number>;
  readable: ReadonlySet<string> | undefined;
}

interface Telling {
  readonly secondary: string;
  readonly ranges: readonly DroppedRange[];
}

export class SimDrops {
  readonly #runs = new Map<string, DroppedRun>();
  readonly #telling = new Map<string, Telling>();
  readonly #datacenterOf = new Map<string, string>();
  /** Ranges that reached a log. */
  told = 0;

  /** A batch goes into a spool, and tells that. */
  spooled(id: RunId & { readonly sequence: number }, bytes: Uint8Array, ranges: readonly DroppedRange[]): void {
    const run = this.#runOf(id);
    run.batches.set(id.sequence, bytes);
    if (ranges.length === 0) return;
    this.#datacenterOf.set(id.secondary, id.datacenter);
    this.#telling.set(`${runKey(id)}/${id.sequence}`, { secondary: id.secondary, ranges });
  }

  /** A log has that batch. */
  appended(batch: string): void {
    const telling = this.#telling.get(batch);
    if (!telling) return;
    this.#telling.delete(batch);
    for (const { from, until, ...rest } of telling.ranges) {
      const datacenter = this.#datacenterOf.get(telling.secondary)!;
      const run = this.#runOf({ ...rest, datacenter, secondary: telling.secondary });
      this.told++;
      run.readable = undefined;
      for (let sequence = from; sequence <= until; sequence++) run.gone.add(sequence);
    }
  }

  /** A spool deletes a batch that is held, and not durable. */
  heldDeleted(id: RunId, sequence: number): void {
    const run = this.#runOf(id);
    run.heldAndDeleted.add(sequence);
    run.readable = undefined;
  }

  /** Whether a slot's scrape in that batch may be missing; `slot` is its instance and number. */
  excuses(id: RunId, sequence: number, slot: string): boolean {
    const run = this.#runs.get(runKey(id));
    if (!run || (run.gone.size === 0 && run.heldAndDeleted.size === 0)) return false;
    if (run.gone.has(sequence) || run.heldAndDeleted.has(sequence)) return true;
    run.readable ??= readableOf(run);
    return !run.readable.has(slot);
  }

  #runOf({ bootEpoch, datacenter, run: number, secondary, shard }: RunId): DroppedRun {
    const id = { datacenter, secondary, bootEpoch, shard, run: number };
    const key = runKey(id);
    let run = this.#runs.get(key);
    if (!run) {
      run = { id, batches: new Map(), gone: new Set(), heldAndDeleted: new Set(), readable: undefined };
      this.#runs.set(key, run);
    }
    return run;
  }
}

/** What whoever lacks all that is gone can read of the rest. */
function readableOf({ batches, gone, heldAndDeleted, id }: DroppedRun): ReadonlySet<string> {
  const decoder = new RunDecoder(id);
  const readable = new Set<string>();
  for (const sequence of [...batches.keys()].sort((a, b) => a - b)) {
    if (gone.has(sequence) || heldAndDeleted.has(sequence)) continue;
    decoder.decode(batches.get(sequence)!, (scrape) => readable.add(slotOf(scrape)));
  }
  return readable;
}

function slotOf({ facts, target }: Pick<Scrape, "facts" | "target">): string {
  return `${labelValue(target.labels, "instance")} ${facts.slot}`;
}
