// Targets that are written in the topology file itself.

import type { Target } from "#/lib/model/target.ts";
import { type Job, type RefusedTarget, targetsOf } from "#/primary/discover/target.ts";

export interface StaticTargets {
  readonly targets: readonly Target[];
  readonly refused: readonly RefusedTarget[];
}

export function staticTargets(job: Job): StaticTargets {
  return targetsOf(job, job.config.static_configs);
}
