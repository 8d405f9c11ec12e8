// What the benchmark knows of somebody who scrapes: how to start it on given targets, and what it says of itself.

import type { Crew } from "#/test/bench/scrape/crew.ts";
import type { Scenario, TargetGroup } from "#/test/bench/scrape/scenario.ts";

export interface Course {
  readonly crew: Crew;
  readonly scenario: Scenario;
  readonly groups: readonly TargetGroup[];
  readonly targets: number;
  /** Of the authority of the targets' certificate, where they have one. */
  readonly caFile: string | undefined;
  readonly say: (sentence: string) => void;
}

/** Bytes since they were asked for last. */
export interface WireBytes {
  /** Towards whoever keeps the samples: everything on the connections. */
  readonly out: number;
  /** Back: acknowledgements. */
  readonly back: number;
  /** Of `out`, the compressed samples alone. */
  readonly payload: number;
}

/** Since the start, as the process itself counts. */
export interface OwnCount {
  readonly failed: number;
  /** Scrapes that began over 250 ms after their slot, where it counts them. */
  readonly late?: number;
  /** What failed and how often, for people. */
  readonly failures: Readonly<Record<string, number>>;
}

export interface Running {
  readonly version: string;
  /** The process whose cost is measured. */
  readonly pid: number;
  readonly logFile: string;
  ended(): string | undefined;
  wireBytes(): Promise<WireBytes>;
  ownCount(): Promise<OwnCount>;
  /** The slots' time that a target's scrape belongs to, where it is known: in ms, by the target's address. */
  dueMs?(): Promise<(address: string, beganMs: number) => number>;
  close(): Promise<void>;
}

export interface Contender {
  readonly name: "heliograph" | "vmagent" | "prometheus";
  start(course: Course): Promise<Running>;
}

/** The samples of a metric in an exposition, by their labels as they are written. */
export function samplesOf(body: string, name: string): ReadonlyMap<string, number> {
  const samples = new Map<string, number>();
  for (const line of body.split("\n")) {
    const [, labels = "", value] = line.startsWith(name) ? (/^\w+(?:\{(.*)\})? (\S+)$/.exec(line) ?? []) : [];
    if (value !== undefined && (line[name.length] === " " || line[name.length] === "{"))
      samples.set(labels, Number(value));
  }
  return samples;
}
