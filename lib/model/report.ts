// What a replica says of itself once a second on `wm.<datacenter>.<replica>`: that it lives, how far it has read, what is
// safe in its journal, and which secondaries it hears. Secondaries' acknowledgements are made of it. Drawn in
// docs/formats/report.md.

import type { BatchRange, Watermark } from "#/lib/model/identity.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { ReachGossip } from "#/lib/model/reach.ts";

export const reportVersion = 1;

/** More holes at once are not told: those that are filled make room for the next. */
export const missingMax = 100;

export interface ReplicaReport {
  readonly version: typeof reportVersion;
  readonly replica: string;
  readonly tier: "primary" | "global";
  readonly datacenter: string;
  /** The sender's wall clock. */
  readonly sentMs: number;
  /** How far it has journalled and fsynced the log; absent before its first entry. */
  readonly position?: LogPosition;
  /** What its journal holds and has fsynced, a line a run. */
  readonly watermarks: readonly Watermark[];
  /** What it misses although later batches of those runs came, at most `missingMax`; absent when nothing. */
  readonly missing?: readonly BatchRange[];
  /** Primaries: the secondaries whose streams end here, with the age of their last word. */
  readonly secondaries: readonly { readonly name: string; readonly ageMs: number }[];
  /** The fencing token when it holds its pair's lease, else 0. */
  readonly leaseToken: number;
  /** Primaries: who reaches what. */
  readonly reach?: ReachGossip;
}
