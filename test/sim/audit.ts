// Holds a global's ledger of a data centre against what its secondaries told, slot by slot.
//
//     ledger_unexplained   a settled slot without an outcome that nothing accounts for
//     ledger_open          all has healed, and an old slot is still in flight
//     ledger_sum           the terms are not together what was due
//     ledger_lacks         a slot was told in a batch that the global must have, and the ledger has no outcome of it
//     ledger_wrong         the ledger's outcome of a slot is none that was told, or a lesser one than it must know
//     ledger_stored        the ledger says stored and the head has no sample of that slot, or the other way round
//
// Not asked: slots younger than the settle time, and which slots were due at all, which has tests of its own (test/lib/ledger.test.ts).

import { type LedgerBook, settleMs } from "#/lib/ledger/book.ts";
import { categories, categoryOf, isClosing, isOpen, Tally } from "#/lib/ledger/cause.ts";
import { nearGeneration } from "#/lib/ledger/rings.ts";
import { labelValue } from "#/lib/model/labels.ts";
import { isStored, type Outcome, outranks } from "#/lib/model/outcome.ts";
import type { ScrapeFacts } from "#/lib/model/scrape.ts";

/** Of slots that lie a moment before, an outcome may still be on its way; scrapes of one slot differ by an interval at most. */
const unsettledMs = settleMs + 30_000;

interface ToldOutcome {
  readonly outcome: Outcome;
  readonly generation: number;
  readonly run: string;
  readonly sequence: number;
}

export class LedgerAudit {
  /** By instance and slot. */
  readonly #told = new Map<string, ToldOutcome[]>();

  told(instance: string, facts: ScrapeFacts, batch: { readonly run: string; readonly sequence: number }): void {
    const { generation, outcome, slot } = facts;
    const key = `${instance} ${slot}`;
    const told = { outcome, generation, ...batch };
    const known = this.#told.get(key);
    if (known) known.push(told);
    else this.#told.set(key, [told]);
  }

  /** `stored`: the slots of each instance that the global's head has samples of. */
  check(
    name: string,
    ledger: LedgerBook,
    parts: {
      readonly nowMs: number;
      readonly stored: ReadonlyMap<string, ReadonlySet<number>>;
      readonly isOwed: (run: string, sequence: number, slot: string) => boolean;
      readonly violated: (code: string, message: string) => void;
    },
  ): { readonly slots: number } {
    const { nowMs, stored, violated } = parts;
    const present = { nowMs, dark: false };
    const untilMs = nowMs - unsettledMs;
    const fromMs = ledger.fromMs(nowMs);
    const total = new Tally();
    for (const tally of ledger.tally(fromMs, untilMs, present).tallies.values()) total.add(tally);
    const sum = categories.reduce((of, category) => of + total.in(category), 0);
    let due = 0;
    for (let row = 0; row < ledger.due.rows; row++) {
      const target = ledger.due.target(row);
      if (!target) continue;
      const instance = labelValue(target.labels, "instance");
      const phaseMs = ledger.due.phaseMs(row);
      const first = Math.ceil((fromMs - phaseMs) / target.intervalMs);
      for (let slot = first; phaseMs + slot * target.intervalMs < untilMs; slot++) {
        const found = ledger.slot(row, phaseMs + slot * target.intervalMs, present);
        if (!found) continue;
        due++;
        const { cause, generation, owner, toldBy } = found;
        const where = `${name} ${ledger.datacenter}: ${instance} ${slot} of ${owner} (generation ${generation}, at ${found.timeMs})`;
        const told = this.#told.get(`${instance} ${slot}`) ?? [];
        const owed = told.filter((each) => parts.isOwed(each.run, each.sequence, `${instance} ${slot}`));
        const text = told
          .map((each) => `${each.outcome} by ${each.generation} in ${each.run}/${each.sequence}`)
          .join(", ");
        if (cause === "unexplained") violated("ledger_unexplained", `${where}; told: ${text}`);
        if (isOpen(cause)) violated("ledger_open", `${where} is ${cause}; told: ${text}`);
        if (isClosing(cause)) {
          if (owed.length > 0) violated("ledger_lacks", `${where} is ${cause}; told: ${text}`);
          if (stored.get(instance)?.has(slot)) violated("ledger_stored", `${where} is ${cause}, and the head has it`);
          continue;
        }
        const known = { outcome: cause, generation: toldBy! };
        if (!told.some(({ outcome }) => outcome === cause))
          violated("ledger_wrong", `${where} is ${cause}; told: ${text}`);
        // As the ledger keeps it, which is near the one in force.
        const better = owed.find((each) => {
          return outranks({ ...each, generation: nearGeneration(each.generation, generation) }, known);
        });
        if (better) violated("ledger_wrong", `${where} is ${cause} by ${toldBy}; told: ${text}`);
        if (isStored(cause) !== (stored.get(instance)?.has(slot) ?? false)) {
          violated("ledger_stored", `${where} is ${categoryOf(cause)}, and the head says otherwise; told: ${text}`);
        }
      }
    }
    if (due !== sum || due !== total.due)
      violated("ledger_sum", `${name} ${ledger.datacenter}: ${due} due, and ${sum} in its terms`);
    return { slots: due };
  }
}
