// What became of a due scrape. Every slot has one outcome, and the numbers below are in our formats: append, never renumber.

/**
 * `stored`: all its series. `partial`: some series were refused. `failed`: the scrape was tried. `missed`: it was not, or, as
 * `missed_cut_off`, the secondary could not reach most of its targets while others could, so that it says nothing of this one.
 */
export const outcomes = [
  "stored",
  "partial",
  "failed_timeout",
  "failed_connect",
  "failed_status",
  "failed_body_size",
  "failed_parse",
  "failed_sample_limit",
  "failed_label_limit",
  "failed_closed",
  "failed_clock",
  "missed_overload",
  "missed_down",
  "missed_clock",
  "superseded",
  "failed_tls",
  "failed_name",
  "failed_credentials",
  "missed_cut_off",
] as const;
export type Outcome = (typeof outcomes)[number];

/** Whether the scrape brought samples. Only then is `up` 1. */
export function isStored(outcome: Outcome): boolean {
  return outcome === "stored" || outcome === "partial";
}

/** Whether the scrape was tried and failed: then `up` is 0. A missed slot says nothing about the target. */
export function isFailed(outcome: Outcome): boolean {
  return outcome.startsWith("failed_");
}

/** Of two outcomes of one slot: the highest generation that stored wins, else the highest. */
export function outranks(a: RankedOutcome, b: RankedOutcome): boolean {
  const storedA = isStored(a.outcome);
  if (storedA !== isStored(b.outcome)) return storedA;
  return a.generation > b.generation;
}

export interface RankedOutcome {
  readonly outcome: Outcome;
  readonly generation: number;
}

/** What became of a target's newest slot, as a replica read it. */
export interface LastOutcome extends RankedOutcome {
  readonly slot: number;
  /** The slot's time when the scrape began within 10 ms of it, else when it began. */
  readonly timestampMs: number;
  readonly durationUs: number;
  /** Stored. */
  readonly samples: number;
  /** The slots since then had this outcome too, as far as they are known. */
  readonly sinceMs: number;
  /** Of the last scrape that stored something; undefined before the first. */
  readonly lastStoredMs: number | undefined;
  /** The one that told it. */
  readonly secondary: string;
}
