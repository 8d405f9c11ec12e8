// The names of batches in the spool's store. docs/formats/spool.md draws them.

import type { RunId } from "#/lib/model/identity.ts";
import { SpoolError } from "#/secondary/spool/store.ts";

export const batchPrefix = "batch/";

/** What is known of a batch without reading it. */
export interface BatchDetails {
  readonly bytes: number;
  readonly scrapes: number;
  /** Times of the earliest and of the latest slot in it. */
  readonly slotsFromMs: number;
  readonly slotsUntilMs: number;
}

/** Of a batch: numbers have fixed widths up to the sequence, so that the order of keys is the order of batches. */
export function keyOf(run: RunId, sequence: number, details: BatchDetails): string {
  const { bytes, scrapes, slotsFromMs, slotsUntilMs } = details;
  return batchPrefix + padded([run.bootEpoch, run.shard, run.run, sequence, bytes, scrapes, slotsFromMs, slotsUntilMs]);
}

export function padded(numbers: readonly number[]): string {
  return numbers.map((number) => String(number).padStart(12, "0")).join("/");
}

export function parseKey(key: string) {
  const match = /^batch((?:\/\d{12,16}){8})$/.exec(key);
  if (!match) {
    const expected = "batch/<epoch>/<shard>/<run>/<sequence>/<bytes>/<scrapes>/<first slot>/<last slot>";
    throw new SpoolError("unreadable", `spool: expected a key ${expected}, got ${key}`);
  }
  const [bootEpoch, shard, run, sequence, bytes, scrapes, slotsFromMs, slotsUntilMs] = match[1]!
    .slice(1)
    .split("/")
    .map(Number) as [number, number, number, number, number, number, number, number];
  return { run: { bootEpoch, shard, run }, sequence, details: { bytes, scrapes, slotsFromMs, slotsUntilMs } };
}
