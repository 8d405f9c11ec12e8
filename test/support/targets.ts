// Targets and generations as a primary would make them.

import type { Generation } from "#/lib/model/generation.ts";
import { labelsOf } from "#/lib/model/labels.ts";
import { type ScrapeOptions, type Target, targetId } from "#/lib/model/target.ts";

export const plainScrapeOptions: ScrapeOptions = {
  honorLabels: false,
  honorTimestamps: true,
  sampleLimit: 0,
  labelLimit: 0,
  labelNameLengthLimit: 0,
  labelValueLengthLimit: 0,
  bodyBytesMax: 0,
};

export function makeTarget(url: string, overrides: Partial<Omit<Target, "id" | "url">> = {}): Target {
  const job = overrides.job ?? "node";
  const labels = overrides.labels ?? labelsOf({ job, instance: new URL(url).host, datacenter: "fra", region: "eu" });
  const identity = { job, url, labels };
  return {
    id: targetId(identity),
    intervalMs: 1000,
    timeoutMs: 900,
    options: plainScrapeOptions,
    ...overrides,
    ...identity,
  };
}

/** All targets are the owner's; `secondaries` live. */
export function makeGeneration(
  targets: readonly Target[],
  overrides: Partial<Omit<Generation, "targets">> & { readonly owner?: string } = {},
): Generation {
  const { owner = "s1", ...rest } = overrides;
  return {
    datacenter: "fra",
    number: 1,
    token: 1,
    primary: "p1",
    validFromMs: 0,
    secondaries: [{ name: "s1", capacity: 5000 }],
    ...rest,
    targets: targets.map((target) => ({ target, owner })).sort((a, b) => (a.target.id < b.target.id ? -1 : 1)),
  };
}
