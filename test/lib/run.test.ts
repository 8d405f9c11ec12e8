// Runs of a replica among each other; what happens within one is in replica.test.ts.

import t from "tap";

import type { RunId } from "#/lib/model/identity.ts";
import { ReplicaRun, type RunParts, supersededOf } from "#/lib/replica/run.ts";

t.test(
  "of each shard the newest run is read on; a secondary that starts anew, with fewer shards, ends all of before",
  (t) => {
    const parts = {} as RunParts;
    const runs = [
      ["s1", 1, 0, 1],
      ["s1", 1, 0, 2],
      ["s1", 1, 1, 1],
      ["s2", 1, 0, 3],
      ["s2", 1, 1, 1],
      ["s2", 2, 0, 1],
    ].map(([secondary, bootEpoch, shard, number]) => {
      const id = { datacenter: "paris", secondary, bootEpoch, shard, run: number } as RunId;
      return new ReplicaRun(id, parts, { sequence: 0, beyond: [] });
    });
    t.same(
      supersededOf(runs).map(({ key }) => key),
      ["paris/s1/1/0/1", "paris/s2/1/0/3", "paris/s2/1/1/1"],
    );
    t.end();
  },
);
