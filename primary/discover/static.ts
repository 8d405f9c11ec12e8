// Targets that are written in the topology file itself.

import { type FoundTargets, type Job, targetsOf } from "#/primary/discover/target.ts";

export function staticTargets(job: Job): FoundTargets {
  return targetsOf(job, job.config.static_configs);
}
