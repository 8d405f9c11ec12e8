// The names of batches in the spool's store. docs/formats/spool.md draws them.

import type { RunId } from "#/lib/model/identity.ts";
import { SpoolError } from "#/secondary/spool/store.ts";

export const batchPrefix = "batch/";

/** Numbers have fixed widths, so that the order of keys is the order of batches. The size is in the key, so that opening reads no values. */
export function keyOf(run: RunId, sequence: number, bytes: number): string {
  const parts = [run.bootEpoch, run.shard, run.run, sequence, bytes];
  return batchPrefix + parts.map((part) => String(part).padStart(12, "0")).join("/");
}

export function parseKey(key: string): {
  readonly bootEpoch: number;
  readonly shard: number;
  readonly run: number;
  readonly sequence: number;
  readonly bytes: number;
} {
  const match = /^batch\/(\d{12})\/(\d{12})\/(\d{12})\/(\d{12})\/(\d{12})$/.exec(key);
  if (!match)
    throw new SpoolError(
      "unreadable",
      `spool: expected a key batch/<epoch>/<shard>/<run>/<sequence>/<bytes>, got ${key}`,
    );
  const [bootEpoch, shard, run, sequence, bytes] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  return { bootEpoch, shard, run, sequence, bytes };
}
