// A data centre whose targets, owners and outcomes a test writes down, as primaries and globals show it.

import fastify from "fastify";
import type { Clock } from "#/lib/clock/clock.ts";
import type { Generation, GenerationSecondary } from "#/lib/model/generation.ts";
import type { GenerationSummary } from "#/lib/model/history.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import type { LastOutcome } from "#/lib/model/outcome.ts";
import type { Target } from "#/lib/model/target.ts";
import { registerAssignedPages } from "#/lib/page/assigned/routes.ts";
import { type AssignedSource, secondaryFacts } from "#/lib/page/assigned/source.ts";
import type { Teardown } from "#/test/support/sockets.ts";
import { makeTarget } from "#/test/support/targets.ts";

/** 2024-05-01T12:00:00Z */
export const nowMs = 1_714_564_800_000;

export interface GivenOutcome extends Partial<LastOutcome> {
  readonly owner?: string;
}

/** Without an outcome nothing was told of it. */
export type Row = readonly [target: Target, given?: GivenOutcome];

export function sourceOf(
  rows: readonly Row[],
  {
    datacenter = "fra",
    secondaries = [
      { name: "s1", capacity: 5 },
      { name: "s2", capacity: 5 },
    ],
  }: {
    readonly datacenter?: string;
    readonly secondaries?: readonly GenerationSecondary[];
  } = {},
): AssignedSource {
  const lasts = new Map<string, LastOutcome>();
  for (const [target, { outcome, ...given } = {}] of rows) {
    if (!outcome) continue;
    lasts.set(target.id, {
      outcome,
      generation: 3,
      slot: 1_714_564_797,
      timestampMs: nowMs - 1500,
      durationUs: 12_500,
      samples: 0,
      sinceMs: nowMs - 60_000,
      lastStoredMs: undefined,
      secondary: given.owner ?? "s1",
      ...given,
    });
  }
  const generation: Generation = {
    datacenter,
    number: 4,
    token: 1,
    primary: "p1",
    validFromMs: nowMs - 3000,
    secondaries,
    targets: rows
      .map(([target, { owner = "s1" } = {}]) => ({ target, owner }))
      .sort((a, b) => (a.target.id < b.target.id ? -1 : 1)),
  };
  const words = new Map(["s1", "s2"].map((name) => [name, { ageMs: 400, primary: "p1" }]));
  const configured = ["s1", "s2", "s3"].map((name) => ({ name, capacity: 5, url: `http://${name}:9100` }));
  return {
    datacenter,
    generation: () => generation,
    last: (id) => lasts.get(id),
    secondaries: () => secondaryFacts(configured, words, generation),
    generations: (limit) => [...givenGenerations].slice(0, limit),
    dropped: () => ({ node: 7 }),
  };
}

/** Newest first. */
export const givenGenerations: readonly GenerationSummary[] = [
  {
    number: 4,
    token: 1,
    primary: "p1",
    validFromMs: nowMs - 3000,
    causes: [
      { kind: "drain", subject: "s2" },
      { kind: "targets", subject: "node", count: 1 },
    ],
    targets: 8,
    unassigned: 1,
    secondaries: [
      { name: "s1", state: "active", targets: 5 },
      { name: "s2", state: "draining", targets: 2 },
    ],
    changes: { moved: 3, added: 1, removed: 0 },
    form: "delta",
    bytes: 311,
  },
  {
    number: 3,
    token: 1,
    primary: "p2",
    validFromMs: nowMs - 3_600_000,
    causes: [],
    targets: 7,
    unassigned: 0,
    secondaries: Array.from({ length: 7 }, (_, i) => ({ name: `s${i + 1}`, state: "active" as const, targets: 1 })),
    changes: null,
    form: "full",
    bytes: 12_345,
  },
];

/** One of each kind. */
export const mixed: readonly Row[] = [
  [makeTarget("http://up/"), { outcome: "stored", samples: 2, owner: "s2", lastStoredMs: nowMs - 1500 }],
  [makeTarget("http://slow/"), { outcome: "stored", samples: 9, durationUs: 400_000 }],
  [makeTarget("http://new/", { job: "other" })],
  [makeTarget("http://partial/"), { outcome: "partial", samples: 5 }],
  [makeTarget("http://missed/"), { outcome: "missed_down" }],
  [makeTarget("http://silent/"), { outcome: "stored", samples: 3, timestampMs: nowMs - 7000, secondary: "s3" }],
  [makeTarget("http://nobody/"), { owner: "" }],
  [
    makeTarget("http://down/", { labels: labelsOf({ job: "node", instance: "down", rack: "R2" }) }),
    { outcome: "failed_connect", lastStoredMs: nowMs - 600_000, owner: "s2" },
  ],
];

/** What answers for these data centres; it does not listen. */
export function assignedApp(t: Teardown, sources: readonly AssignedSource[], incomplete?: string) {
  const app = fastify();
  t.teardown(() => app.close());
  const clock = { nowMs: () => nowMs } as Clock;
  registerAssignedPages(app, { server: "p1", list: () => sources, incomplete: () => incomplete }, clock);
  return app;
}
