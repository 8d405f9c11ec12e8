// Faults that come together: what breaks weak code is rarely one thing, but the second one within seconds at the same place.

import type { PlannedKind } from "#/test/sim/kinds.ts";

/**
 * Within one data centre and the globals. For faults of a line it means: a primary's to its log, a global's to the hub, a
 * secondary's to a primary.
 */
export type Aim =
  | "site"
  | "leaf"
  | "secondary"
  | "other_secondary"
  | "secondary_other_way"
  | "primary"
  | "other_primary"
  | "global"
  | "other_global"
  | "holder"
  | "candidate"
  | "global_holder";

export interface Part {
  /** One of them. */
  readonly kinds: readonly PlannedKind[];
  readonly aim: Aim;
  readonly afterSeconds: readonly [number, number];
  readonly lastsSeconds: readonly [number, number];
  /** How likely it comes with the others; surely when absent. */
  readonly odds?: number;
}

interface Storm {
  readonly name: string;
  readonly parts: readonly Part[];
}

export const storms: readonly Storm[] = [
  {
    // The hub does not hear, and what it has not heard is lost.
    name: "tail_unheard",
    parts: [
      { kinds: ["cut_both", "cut_up", "cut_down"], aim: "leaf", afterSeconds: [0, 0], lastsSeconds: [15, 60] },
      { kinds: ["log_power"], aim: "site", afterSeconds: [2, 14], lastsSeconds: [0.5, 8] },
      {
        kinds: ["crash_primary", "power_primary"],
        aim: "primary",
        afterSeconds: [8, 30],
        lastsSeconds: [1, 20],
        odds: 0.6,
      },
      { kinds: ["crash_secondary"], aim: "secondary", afterSeconds: [0, 20], lastsSeconds: [1, 10], odds: 0.3 },
    ],
  },
  {
    // One primary does not read what its log then loses for good, and its peer did.
    name: "left_behind",
    parts: [
      {
        kinds: ["pause", "crash_primary", "cut_both"],
        aim: "other_primary",
        afterSeconds: [0, 0],
        lastsSeconds: [10, 60],
      },
      { kinds: ["log_wipe", "log_power"], aim: "site", afterSeconds: [3, 14], lastsSeconds: [0.5, 8] },
      {
        kinds: ["stop", "crash_secondary"],
        aim: "secondary",
        afterSeconds: [2, 20],
        lastsSeconds: [0.5, 8],
        odds: 0.4,
      },
      { kinds: ["pause", "crash_primary"], aim: "primary", afterSeconds: [12, 40], lastsSeconds: [1, 20], odds: 0.3 },
      { kinds: ["cut_both"], aim: "global", afterSeconds: [0, 10], lastsSeconds: [10, 40], odds: 0.3 },
    ],
  },
  {
    name: "site_dark",
    parts: [
      { kinds: ["cut_both"], aim: "leaf", afterSeconds: [0, 0], lastsSeconds: [20, 90], odds: 0.6 },
      { kinds: ["power_site"], aim: "site", afterSeconds: [1, 15], lastsSeconds: [1, 20] },
    ],
  },
  {
    // Whoever has the say cannot keep it, and its clock is no help.
    name: "lease_lost",
    parts: [
      { kinds: ["cut_both", "cut_up", "cut_down"], aim: "holder", afterSeconds: [0, 0], lastsSeconds: [4, 25] },
      { kinds: ["clock_step"], aim: "holder", afterSeconds: [0.2, 2.2], lastsSeconds: [10, 60], odds: 0.8 },
      { kinds: ["clock_step"], aim: "candidate", afterSeconds: [0.2, 2.2], lastsSeconds: [10, 60], odds: 0.5 },
    ],
  },
  {
    // Both reach for it at once, and everything takes its time.
    name: "lease_race",
    parts: [
      { kinds: ["delay"], aim: "primary", afterSeconds: [0, 1], lastsSeconds: [15, 40] },
      { kinds: ["delay"], aim: "other_primary", afterSeconds: [0, 1], lastsSeconds: [15, 40] },
      { kinds: ["stop", "stop", "crash_primary"], aim: "holder", afterSeconds: [1.5, 4], lastsSeconds: [0.05, 0.6] },
      {
        kinds: ["log_crash", "log_stands", "log_power", "stop"],
        aim: "holder",
        afterSeconds: [6, 12],
        lastsSeconds: [0.1, 9],
      },
    ],
  },
  {
    // What its holder said in time arrives when it is somebody else's.
    name: "lease_late",
    parts: [
      { kinds: ["delay"], aim: "holder", afterSeconds: [0, 1], lastsSeconds: [10, 30] },
      {
        kinds: ["cut_both", "cut_up", "cut_down", "loss"],
        aim: "holder",
        afterSeconds: [1, 2],
        lastsSeconds: [0.8, 2.5],
      },
      {
        kinds: ["cut_both", "cut_up", "cut_down", "loss"],
        aim: "holder",
        afterSeconds: [6, 9],
        lastsSeconds: [0.8, 2.5],
      },
    ],
  },
  {
    name: "holder_sleeps",
    parts: [
      { kinds: ["pause"], aim: "holder", afterSeconds: [0, 0], lastsSeconds: [3, 15] },
      {
        kinds: ["crash_secondary", "operator_list", "pause"],
        aim: "secondary",
        afterSeconds: [0, 4],
        lastsSeconds: [4, 30],
      },
      { kinds: ["delay"], aim: "candidate", afterSeconds: [0, 3], lastsSeconds: [4, 20], odds: 0.4 },
    ],
  },
  {
    name: "bad_disk_at_global",
    parts: [
      {
        kinds: ["disk_failing", "disk_failing", "disk_full", "disk_slow"],
        aim: "global",
        afterSeconds: [0, 0],
        lastsSeconds: [1, 15],
      },
      {
        kinds: ["power_global", "power_global", "crash_global"],
        aim: "global",
        afterSeconds: [0.5, 16],
        lastsSeconds: [0.5, 10],
      },
      { kinds: ["cut_both"], aim: "other_global", afterSeconds: [0, 4], lastsSeconds: [5, 60], odds: 0.4 },
    ],
  },
  {
    name: "bad_disk_at_site",
    parts: [
      {
        kinds: ["disk_failing", "disk_full", "disk_slow"],
        aim: "secondary",
        afterSeconds: [0, 0],
        lastsSeconds: [1, 10],
      },
      {
        kinds: ["disk_failing", "disk_full", "disk_slow"],
        aim: "primary",
        afterSeconds: [0, 2],
        lastsSeconds: [1, 10],
        odds: 0.6,
      },
      { kinds: ["power_secondary"], aim: "secondary", afterSeconds: [0.5, 6], lastsSeconds: [0.5, 6] },
      { kinds: ["power_primary"], aim: "primary", afterSeconds: [0.5, 6], lastsSeconds: [0.5, 6], odds: 0.6 },
    ],
  },
  {
    name: "new_layout_at_restart",
    parts: [
      { kinds: ["target_layout"], aim: "site", afterSeconds: [0, 4], lastsSeconds: [1, 1] },
      { kinds: ["crash_secondary", "power_secondary"], aim: "secondary", afterSeconds: [0, 4], lastsSeconds: [0.5, 6] },
      { kinds: ["crash_secondary"], aim: "other_secondary", afterSeconds: [2, 9], lastsSeconds: [0.5, 6], odds: 0.5 },
      { kinds: ["crash_global"], aim: "global", afterSeconds: [1, 9], lastsSeconds: [0.5, 6], odds: 0.4 },
    ],
  },
  {
    name: "both_primaries",
    parts: [
      { kinds: ["crash_primary", "power_primary"], aim: "primary", afterSeconds: [0, 2], lastsSeconds: [0.5, 12] },
      {
        kinds: ["crash_primary", "power_primary"],
        aim: "other_primary",
        afterSeconds: [0, 2],
        lastsSeconds: [0.5, 12],
      },
      { kinds: ["log_power"], aim: "site", afterSeconds: [0, 5], lastsSeconds: [0.5, 12], odds: 0.4 },
    ],
  },
  {
    name: "both_globals",
    parts: [
      { kinds: ["crash_global", "power_global"], aim: "global", afterSeconds: [0, 2], lastsSeconds: [0.5, 12] },
      { kinds: ["crash_global", "power_global"], aim: "other_global", afterSeconds: [0, 2], lastsSeconds: [0.5, 12] },
      { kinds: ["log_power"], aim: "site", afterSeconds: [0, 5], lastsSeconds: [0.5, 12], odds: 0.5 },
    ],
  },
  {
    // One global hears, the other does not, and what the other lacks is lost.
    name: "one_global_deaf",
    parts: [
      { kinds: ["cut_both", "cut_up", "cut_down"], aim: "global", afterSeconds: [0, 0], lastsSeconds: [15, 90] },
      { kinds: ["log_power"], aim: "site", afterSeconds: [2, 14], lastsSeconds: [0.5, 8] },
      { kinds: ["crash_global"], aim: "other_global", afterSeconds: [1, 14], lastsSeconds: [0.5, 20], odds: 0.3 },
    ],
  },
  {
    // What was sent to one primary and not answered goes to the other one, and arrives twice.
    name: "twice_on_the_way",
    parts: [
      { kinds: ["cut_down", "cut_both", "delay"], aim: "secondary", afterSeconds: [0, 0], lastsSeconds: [4, 40] },
      {
        kinds: ["cut_down", "cut_both", "delay", "reset"],
        aim: "secondary_other_way",
        afterSeconds: [2, 20],
        lastsSeconds: [4, 30],
        odds: 0.6,
      },
      {
        kinds: ["log_stands", "log_full", "log_crash"],
        aim: "site",
        afterSeconds: [0, 10],
        lastsSeconds: [2, 15],
        odds: 0.6,
      },
    ],
  },
  {
    // A target goes from one secondary to the other and back, while either still scrapes it.
    name: "moves",
    parts: [
      { kinds: ["pause", "crash_secondary"], aim: "secondary", afterSeconds: [0, 0], lastsSeconds: [3, 20] },
      {
        kinds: ["pause", "crash_secondary", "clock_step"],
        aim: "other_secondary",
        afterSeconds: [3, 14],
        lastsSeconds: [3, 20],
      },
      { kinds: ["cut_both", "log_stands"], aim: "holder", afterSeconds: [2, 14], lastsSeconds: [2, 12], odds: 0.4 },
    ],
  },
  {
    // One cannot reach its targets, and those who could say so have troubles of their own.
    name: "targets_unreached",
    parts: [
      { kinds: ["targets_cut"], aim: "secondary", afterSeconds: [0, 0], lastsSeconds: [20, 120] },
      {
        kinds: ["targets_cut", "crash_secondary", "pause", "cut_both"],
        aim: "other_secondary",
        afterSeconds: [0, 30],
        lastsSeconds: [2, 40],
        odds: 0.4,
      },
      {
        kinds: ["crash_primary", "stop", "cut_both", "pause"],
        aim: "holder",
        afterSeconds: [0, 30],
        lastsSeconds: [1, 20],
        odds: 0.6,
      },
      { kinds: ["crash_secondary", "stop"], aim: "secondary", afterSeconds: [5, 30], lastsSeconds: [1, 6], odds: 0.3 },
      { kinds: ["target_dead"], aim: "site", afterSeconds: [0, 20], lastsSeconds: [20, 60], odds: 0.3 },
    ],
  },
  {
    // What is on its way between the data centre and the globals, at both ends.
    name: "hub_lost",
    parts: [
      {
        kinds: ["hub_power", "hub_wipe", "hub_stands", "hub_full"],
        aim: "site",
        afterSeconds: [0, 0],
        lastsSeconds: [1, 12],
      },
      { kinds: ["log_power", "log_wipe"], aim: "site", afterSeconds: [1, 12], lastsSeconds: [0.5, 8], odds: 0.5 },
      {
        kinds: ["cut_both", "cut_up", "cut_down", "reset"],
        aim: "leaf",
        afterSeconds: [0, 12],
        lastsSeconds: [2, 30],
        odds: 0.5,
      },
      {
        kinds: ["crash_global", "power_global", "stop"],
        aim: "global",
        afterSeconds: [0, 12],
        lastsSeconds: [0.5, 10],
        odds: 0.5,
      },
    ],
  },
  {
    // New processes, one after the other or all at once, on lines that are not what they were.
    name: "upgrade",
    parts: [
      { kinds: ["stop"], aim: "global", afterSeconds: [0, 1], lastsSeconds: [0.5, 5] },
      { kinds: ["stop"], aim: "other_global", afterSeconds: [2, 12], lastsSeconds: [0.5, 5], odds: 0.6 },
      { kinds: ["stop"], aim: "holder", afterSeconds: [0, 12], lastsSeconds: [0.5, 5] },
      { kinds: ["stop"], aim: "secondary", afterSeconds: [0, 12], lastsSeconds: [0.5, 5], odds: 0.6 },
      {
        kinds: ["loss", "duplicate", "reorder"],
        aim: "candidate",
        afterSeconds: [0, 3],
        lastsSeconds: [5, 30],
        odds: 0.6,
      },
      { kinds: ["loss", "duplicate", "reorder"], aim: "leaf", afterSeconds: [0, 3], lastsSeconds: [5, 30], odds: 0.6 },
    ],
  },
];
