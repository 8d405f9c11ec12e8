// Whether a secondary reaches its targets. When most of them fail at connect together, it is either them or the secondary itself,
// and only somebody else can tell: another secondary probes a sample before they count as target failures.

/** Of the targets that a secondary suspects itself of, these many are probed by another. */
export const reachSampleMax = 20;

/**
 * cut_off: others reach the targets, so this secondary does not. targets_down: others do not reach them either. unknown: nobody
 * else could be asked in time. reachable: a secondary that was cut off reaches targets again.
 */
export const reachVerdicts = ["cut_off", "targets_down", "unknown", "reachable"] as const;
export type ReachVerdict = (typeof reachVerdicts)[number];

export function isReachVerdict(text: string): text is ReachVerdict {
  return (reachVerdicts as readonly string[]).includes(text);
}

/** What a secondary tells of itself. */
export interface Suspicion {
  /** Wall time of the first failure. It names the suspicion among others of the same secondary. */
  readonly sinceMs: number;
  /** So many scrapes failed without a byte … */
  readonly failed: number;
  /** … of so many that ended meanwhile, of targets that could be reached before. */
  readonly of: number;
  /** Ids of targets that failed, `reachSampleMax` at most. */
  readonly sample: readonly string[];
}

/** How one primary tells the other of all this, once a second and whenever it changes (lib/model/report.ts). */
export interface ReachGossip {
  /** The secondaries that can be asked through it. */
  readonly connected: readonly string[];
  /** Of those, who suspects. */
  readonly suspicions: readonly (Suspicion & { readonly secondary: string })[];
  /** Of the lease holder: whoever has the prober passes it on. */
  readonly probes: readonly ProbeAsked[];
  /** Of probes that it has passed on. */
  readonly results: readonly ProbeResult[];
  /** Of the lease holder, the last ones. */
  readonly verdicts: readonly VerdictGiven[];
}

export interface ProbeAsked {
  readonly id: string;
  readonly prober: string;
  /** Ids, `reachSampleMax` at most. */
  readonly targets: readonly string[];
}

export interface ProbeResult {
  readonly id: string;
  /** Ids of those that could be reached. */
  readonly reached: readonly string[];
}

export interface VerdictGiven {
  readonly secondary: string;
  /** Names the suspicion. */
  readonly sinceMs: number;
  readonly verdict: ReachVerdict;
}
