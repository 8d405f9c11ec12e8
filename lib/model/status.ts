// What `GET /api/v1/datacenters` answers: how each data centre is, as one global (or a primary, for its own) sees it.
//
// It is what the first page, the command line and the demo's terminal show. Times are ms since the Unix epoch by the
// answering server's wall clock, which it tells as `nowMs` so that a reader with another clock can still compute ages.

import type { SecondaryState } from "#/lib/model/generation.ts";

/**
 * `live`: its heartbeats arrive, and soon. `delayed`: they arrive late, or not at all while one of its primaries answers
 * directly. `dark`: they stopped at the hub and neither primary answers. `unknown`: this server cannot tell, because it has
 * not listened long enough or because the hub itself is blind.
 */
export const datacenterStates = ["live", "delayed", "dark", "unknown"] as const;
export type DatacenterState = (typeof datacenterStates)[number];

export interface PrimaryStatus {
  readonly name: string;
  /** Whether it answers the asking server directly; null before the first answer, and where nobody asks. */
  readonly reachable: boolean | null;
  /** Whether it holds its pair's lease, as last heard. */
  readonly leader: boolean;
  /** How far it is behind the data centre's log, in ms; null when it was never heard. */
  readonly lagMs: number | null;
}

export interface SecondaryStatus {
  readonly name: string;
  /** Since a primary last heard it, in ms; null when none ever did. */
  readonly ageMs: number | null;
  /** Targets that the newest generation gives it. */
  readonly targets: number;
  /** Whether it gets any, and why not, as the newest generation has it; null when that does not count it as living. */
  readonly state: SecondaryState | null;
}

export interface DatacenterStatus {
  readonly name: string;
  readonly region: string;
  readonly state: DatacenterState;
  /** When this state began. */
  readonly sinceMs: number;
  /** Why the state is not `live`, as a sentence for people; empty when it is. */
  readonly reason: string;
  /** Age of the newest heartbeat read here, in ms; null before the first. */
  readonly lagMs: number | null;
  /** Targets of the newest generation read here. */
  readonly targets: number;
  /** Targets whose last scrape brought samples. Those neither up nor down were not scraped yet, or not told of. */
  readonly up: number;
  /** Targets whose last scrape failed. */
  readonly down: number;
  /** Samples a second that arrived here, averaged over the last seconds. */
  readonly samplesPerSecond: number;
  /** Timestamp of the newest sample here; null when there is none. */
  readonly lastSampleMs: number | null;
  readonly primaries: readonly PrimaryStatus[];
  readonly secondaries: readonly SecondaryStatus[];
}

export interface FederationStatus {
  readonly federation: string;
  /** The server that answers. */
  readonly replica: string;
  /** The server that holds the pair's lease, as last heard; empty when that is not known. */
  readonly leader: string;
  /** The answering server's wall clock. */
  readonly nowMs: number;
  /** More than half of all data centres fell silent together: the hub is blind, and none of them is called dark for it. */
  readonly blind: boolean;
  /** In the order of the topology file. */
  readonly datacenters: readonly DatacenterStatus[];
}

/** The whole answer. */
export interface StatusAnswer {
  readonly status: "success";
  readonly data: FederationStatus;
}
