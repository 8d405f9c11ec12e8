// Where a shard's thread begins. Beside main.ts the only file of this tier that reaches for the real clock and network.

import { parentPort, workerData } from "node:worker_threads";

import { assert } from "#/lib/assert/assert.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { countedFetches } from "#/secondary/scrape/http/meter.ts";
import type { ShardTask } from "#/secondary/thread/message.ts";
import { serveShard } from "#/secondary/thread/serve.ts";

const port = parentPort;
assert(port, "this file is the beginning of a thread");
const task = workerData as ShardTask;
const { baseDir, environment, secrets } = task.fetching;
const clock = systemClock();
await serveShard(port, task, {
  clock,
  fetcherOf: (metrics) =>
    httpFetcher({
      clock,
      meter: countedFetches(metrics),
      secrets: (job, place) => secrets.get(job)?.get(place),
      baseDir,
      environment,
    }),
});
port.close();
