// What a replica says of itself once a second on `wm.<datacenter>.<replica>`: that it lives, how far it has read, what is
// safe in its journal, and which secondaries it hears. Secondaries' acknowledgements are made of it. Drawn in
// docs/formats/report.md.

import type { Watermark } from "#/lib/model/identity.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { ReachGossip } from "#/lib/model/reach.ts";

export const reportVersion = 1;

export interface ReplicaReport {
  readonly version: typeof reportVersion;
  readonly replica: string;
  readonly tier: "primary" | "global";
  readonly datacenter: string;
  /** The sender's wall clock. */
  readonly sentMs: number;
  /** How far it has journalled the log; absent before its first entry. */
  readonly position?: LogPosition;
  /** What its journal holds and has fsynced, a line a run. */
  readonly watermarks: readonly Watermark[];
  /** Primaries: the secondaries whose streams end here, with the age of their last word. */
  readonly secondaries: readonly { readonly name: string; readonly ageMs: number }[];
  /** The fencing token when it holds its pair's lease, else 0. */
  readonly leaseToken: number;
  /** Primaries: who reaches what. */
  readonly reach?: ReachGossip;
}
