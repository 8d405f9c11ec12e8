// The ledger as metrics: what became of the last hour's slots.
//
// They are gauges over an hour that moves, not counters: what is in flight becomes stored, and what was supposed is corrected.
// So an alert on them ends when the cause is an hour old, or was mended.

import { hourMs, minuteMs } from "#/lib/bytes/units.ts";
import type { LedgerSource } from "#/lib/ledger/account.ts";
import { settleMs } from "#/lib/ledger/book.ts";
import { categories, Tally } from "#/lib/ledger/cause.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

/** Whole minutes, up to the last one whose slots are all older than the settle time. */
const windowMs = hourMs;

/** Minutes that are counted anew at one exposition: 10 ms each with 100,000 targets. The others keep what they were. */
const minutesPerLook = 6;

/** Counts whenever metrics are asked for. */
export function meterLedger({ book, present }: LedgerSource, metrics: Registry): void {
  const counted = new Map<number, Tally>();
  /** The minute that is looked at next. */
  let next = 0;
  const count = () => {
    const now = present();
    const last = Math.floor((now.nowMs - settleMs) / minuteMs) - 1;
    const first = Math.max(last - windowMs / minuteMs + 1, Math.ceil(book.fromMs(now.nowMs) / minuteMs));
    for (const minute of counted.keys()) if (minute < first || minute > last) counted.delete(minute);
    const looked: number[] = [];
    // New ones first, and then in turn those that may have changed.
    for (let minute = last; minute >= first && looked.length < minutesPerLook; minute--) {
      if (!counted.has(minute)) looked.push(minute);
    }
    for (let i = looked.length; i < minutesPerLook && last >= first; i++) {
      if (next > last || next < first) next = first;
      looked.push(next++);
    }
    for (const minute of looked) {
      const sum = new Tally();
      for (const tally of book.minute(minute, now).tallies.values()) sum.add(tally);
      counted.set(minute, sum);
    }
  };
  metrics.onCollect(() => {
    count();
    const total = new Tally();
    for (const tally of counted.values()) total.add(tally);
    const { datacenter } = book;
    for (const category of categories) {
      metrics.set("heliograph_ledger_slots", total.in(category), { datacenter, outcome: category });
    }
    metrics.set("heliograph_ledger_unexplained_slots", total.in("unexplained"), { datacenter });
    metrics.set("heliograph_ledger_bytes", book.bytes, { datacenter });
  });
}
