// The names of what travels. A batch is what one shard of a secondary compacted in one flush; a run is a row of batches that
// refer only to earlier ones of the same run, and are sent and read in order.

export interface RunId {
  readonly datacenter: string;
  readonly secondary: string;
  /** Grows with every start of the secondary. On the wire the newer one wins. */
  readonly bootEpoch: number;
  /** A worker's share, fixed for a boot epoch. */
  readonly shard: number;
  /** Counts from 1 within a boot epoch and shard. */
  readonly run: number;
}

export interface BatchId extends RunId {
  /** Counts from 1 within the run, without gaps. */
  readonly sequence: number;
}

/** How far a run has come somewhere: every batch up to and including `sequence`. */
export interface Watermark extends RunId {
  readonly sequence: number;
}

/** Batches of one run, `from` and `until` among them. */
export interface BatchRange extends RunId {
  readonly from: number;
  readonly until: number;
}

export function runKey(run: RunId): string {
  return `${run.datacenter}/${run.secondary}/${run.bootEpoch}/${run.shard}/${run.run}`;
}

export function sameRun(a: RunId, b: RunId): boolean {
  return (
    a.run === b.run &&
    a.shard === b.shard &&
    a.bootEpoch === b.bootEpoch &&
    a.secondary === b.secondary &&
    a.datacenter === b.datacenter
  );
}

/** Also the message id under which the log keeps the batch once. */
export function batchKey(batch: BatchId): string {
  return `${runKey(batch)}/${batch.sequence}`;
}
