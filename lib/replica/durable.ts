// What becomes durable with the next fsyncs of a replica's journal: how far each run, and how far the log.

import type { LogPosition } from "#/lib/model/log.ts";
import type { ReplicaRun } from "#/lib/replica/run.ts";

export class DurableMarks {
  /** Moves that wait until so many records are on disk. */
  #runs: { readonly records: number; readonly run: ReplicaRun; readonly sequence: number }[] = [];
  readonly #positions: { readonly records: number; readonly position: LogPosition }[] = [];
  /** Every entry of the log up to it is on disk. */
  position: LogPosition | undefined;

  /** The run is durable as far as it is now once so many records are on disk. */
  awaitRun(run: ReplicaRun, records: number): void {
    if (run.sequence > run.durableSequence) this.#runs.push({ records, run, sequence: run.sequence });
  }

  awaitPosition(position: LogPosition, records: number): void {
    this.#positions.push({ records, position });
  }

  /** So many records are on disk. True when some run moved. */
  reach(records: number): boolean {
    const positions = this.#positions.findLastIndex((each) => each.records <= records) + 1;
    if (positions > 0) {
      this.position = this.#positions[positions - 1]!.position;
      this.#positions.splice(0, positions);
    }
    const moved = this.#runs.filter((move) => move.records <= records);
    this.#runs = this.#runs.slice(moved.length);
    for (const { run, sequence } of moved) run.durableSequence = Math.max(run.durableSequence, sequence);
    return moved.length > 0;
  }
}
