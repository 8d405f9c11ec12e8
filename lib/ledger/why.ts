// What became of one slot of one target, in a sentence.

import { secondMs } from "#/lib/bytes/units.ts";
import type { LedgerSource } from "#/lib/ledger/account.ts";
import { type SlotAccount, settleMs } from "#/lib/ledger/book.ts";
import { type Category, type Closing, categoryOf, isClosing, reasonOf } from "#/lib/ledger/cause.ts";
import type { Missing } from "#/lib/ledger/told.ts";
import { labelValue } from "#/lib/model/labels.ts";
import type { Target } from "#/lib/model/target.ts";
import { explain } from "#/lib/page/outcome.ts";
import { timeText } from "#/lib/page/text.ts";

export interface WhyAnswer {
  readonly status: "success";
  readonly data: WhyOfSlot & { readonly server: string };
}

export interface WhyOfSlot {
  readonly datacenter: string;
  /** The target's id. */
  readonly target: string;
  readonly job: string;
  readonly url: string;
  readonly slot: number;
  /** When it was due: RFC 3339 in UTC. */
  readonly due: string;
  /** "" when nobody had room for it. */
  readonly owner: string;
  readonly generation: number;
  readonly category: Category;
  /** "" where the category says it all. */
  readonly reason: string;
  /** Batches that may have it, or had it; null where none is known to be missing. */
  readonly missing: Missing | null;
  readonly estimated: boolean;
  readonly sentence: string;
}

/** So many targets are named when several are meant. */
const namedMax = 5;

export type Found = { readonly source: LedgerSource; readonly row: number } | { readonly error: string };

/** A target by its id, URL or instance, or by a part of these that no other has. */
export function findTarget(sources: readonly LedgerSource[], text: string): Found {
  const exact: { readonly source: LedgerSource; readonly row: number }[] = [];
  const like: typeof exact = [];
  for (const source of sources) {
    const { due } = source.book;
    for (let row = 0; row < due.rows; row++) {
      const target = due.target(row);
      // Of one whose interval changed there is a row of each.
      if (!target || due.find(target.id) !== row) continue;
      const names = [target.id, target.url, labelValue(target.labels, "instance")];
      if (names.includes(text)) exact.push({ source, row });
      else if (names.some((name) => name.includes(text))) like.push({ source, row });
    }
  }
  const found = exact.length > 0 ? exact : like;
  if (found.length === 1) return found[0]!;
  if (found.length === 0)
    return { error: `target: no target that was due within the ledger's time is like ${JSON.stringify(text)}` };
  const named = found.slice(0, namedMax).map(({ row, source }) => {
    const { job, url } = source.book.due.target(row)!;
    return `${url} of ${job} in ${source.book.datacenter}`;
  });
  const more = found.length > namedMax ? ` and ${found.length - namedMax} more` : "";
  return { error: `target: ${JSON.stringify(text)} may be any of ${named.join(", ")}${more}` };
}

/** Of the slot that was due then or last before; a text when none was. */
export function whyOf({ book, present }: LedgerSource, row: number, atMs: number): WhyOfSlot | string {
  const target = book.due.target(row)!;
  const now = present();
  const instance = labelValue(target.labels, "instance") || target.url;
  const fromMs = book.fromMs(now.nowMs);
  if (atMs < fromMs)
    return `${timeText(atMs)} is before what this server remembers, which begins at ${timeText(fromMs)}`;
  if (atMs > now.nowMs) return `${timeText(atMs)} is still to come`;
  const found = book.slot(row, atMs, now);
  if (!found) return `${instance} of ${target.job} was not due at ${timeText(atMs)}: no generation had it then`;
  const { cause, generation, missing, owner, slot, timeMs } = found;
  return {
    datacenter: book.datacenter,
    target: target.id,
    job: target.job,
    url: target.url,
    slot,
    due: timeText(timeMs),
    owner,
    generation,
    category: categoryOf(cause),
    reason: reasonOf(cause),
    missing: missing ?? null,
    estimated: cause === "dark",
    sentence: sentenceOf(found, { instance, target, teller: book.teller(row, found) }),
  };
}

function sentenceOf(
  { cause, generation, missing, owner, slot, timeMs, toldBy }: SlotAccount,
  { instance, target, teller }: { readonly instance: string; readonly target: Target; readonly teller: string },
): string {
  const whose = owner === "" ? "nobody's" : `${owner}'s`;
  const due = `Slot ${slot} of ${instance} (${target.job}), due at ${timeText(timeMs)}, was ${whose} by generation ${generation}`;
  if (isClosing(cause)) return `${due}, and ${closedText(cause, owner, missing)}.`;
  const who = toldBy === generation ? owner : `${teller || "another secondary"}, by generation ${toldBy},`;
  const said = explain(cause);
  if (cause === "stored") return `${due}: ${who} scraped it, and it is stored.`;
  if (cause === "partial") return `${due}: ${who} scraped it, and it is stored in part: ${said}.`;
  return `${due}: ${who} told it as ${cause.replaceAll("_", " ")}: ${said}.`;
}

function closedText(cause: Closing, owner: string, missing: Missing | undefined): string {
  const where = missing ? missingText(missing) : "batches of it";
  switch (cause) {
    case "recent":
      return `is younger than ${settleMs / secondMs} s: its outcome is still expected`;
    case "backlog":
      return `${owner} lives but has not told of it yet: it is on its way, or waits in its spool${missing ? ` (${where})` : ""}`;
    case "lag":
      return "the data centre's log was not read up to there yet";
    case "dead":
      return `${owner} was not running or not heard then, so it counts as missed`;
    case "asleep":
      return `${owner}'s machine stood still or its clock leapt for longer than is told slot by slot, so it counts as missed`;
    case "unheard":
      return `${owner} did not hear of that generation before another took its place, so it counts as missed`;
    case "unassigned":
      return "no living secondary had room for it";
    case "dropped_full":
      return `${owner} dropped ${where}, because its spool had no room for more`;
    case "dropped_age":
      return `${owner} dropped ${where}, because they were older than a spool keeps`;
    case "dropped_disk":
      return `${owner} lost ${where} to its disk`;
    case "dropped_refused":
      return `${owner} dropped ${where}, because a primary refused them`;
    case "hole":
      return `${where} of ${owner} are missing here`;
    case "unreadable":
      return `the batch of ${owner} that tells it is here, but refers to one that is missing`;
    case "unknown_generation":
      return `${owner} scraped by a generation that never came here`;
    case "dark":
      return "nothing can be heard of the data centre: that it was due is supposed from the last generation";
    case "unexplained":
      return `${owner} has told of all slots before a later time, and nothing accounts for this one: please report it`;
    default:
      return cause satisfies never;
  }
}

function missingText({ bootEpoch, from, run, shard, until }: Missing): string {
  const batches =
    until === undefined ? `batches from ${from} on` : until === from ? `batch ${from}` : `batches ${from} to ${until}`;
  return `${batches} of run ${run} (boot epoch ${bootEpoch}, shard ${shard})`;
}
