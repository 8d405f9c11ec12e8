// One run as a replica reads it: batch after batch in order, and what happens when one is missing.
//
// The decoder stands at the last batch of the unbroken row. A batch beyond a gap is journalled and remembered by its place.
// Two batches that merely changed places are put right within moments. A gap that stays is a hole: from then on a second
// decoder goes ahead, so that the present shows (its first minutes are unreadable until keyframes come). When the missing
// batches arrive after all, the first decoder goes on through them and through all that is remembered, and what was
// unreadable is there. Batches that their secondary dropped, as it tells, are waited for no longer. All of it follows from the entries' order alone, so a replay ends in the same state.

import type { BatchDecoder } from "#/lib/codec/decode.ts";
import type { JournalPlace } from "#/lib/journal/journal.ts";
import { type BatchRange, type RunId, runKey, type Watermark } from "#/lib/model/identity.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { RunCheckpoint } from "#/lib/replica/record.ts";

/** Batches beyond a gap before it is no mere change of places: more than a primary has in flight. */
const swappedMax = 16;

/** The same by time, for quiet runs: heartbeats come once a second from each primary. */
const swappedHeartbeatsMax = 6;

/** An hour of a shard's batches: a hole that is older is final, and the run goes on behind it. */
export const beyondMax = 4096;

/**
 * An hour of a pair's heartbeats, for runs that ended behind their hole and will never have so many batches: the log was there
 * all that time, and who had the missing batches could have sent them. Until then a secondary keeps the rest of the run.
 */
export const holeHeartbeatsMax = 2 * 3600;

export interface RunParts {
  /** Decodes into the head and counts; what cannot be decoded is counted too and never thrown. */
  readonly decode: (decoder: BatchDecoder, batch: Uint8Array, run: RunId) => void;
  /** The batch at that place of the journal; undefined when it was trimmed. */
  readonly reread: (place: JournalPlace) => Promise<Uint8Array | undefined>;
  readonly newDecoder: (run: RunId) => BatchDecoder;
  /** The last of the batches right after that one of which their secondary told that it dropped them; that one when none. */
  readonly droppedUntil: (key: string, sequence: number) => number;
  readonly onHole: (run: ReplicaRun) => void;
  readonly onRepaired: (run: ReplicaRun) => void;
  /** Those batches never came, and the run goes on behind them. */
  readonly onGivenUp: (run: ReplicaRun, lost: BatchRange) => void;
}

/** Those of a shard that has a newer run among them, and those of an earlier start of their secondary; in the same order. */
export function supersededOf(runs: readonly ReplicaRun[]): readonly ReplicaRun[] {
  const epochs = new Map<string, number>();
  for (const { id } of runs) epochs.set(id.secondary, Math.max(epochs.get(id.secondary) ?? 0, id.bootEpoch));
  const newest = new Map<string, ReplicaRun>();
  const shardOf = ({ id }: ReplicaRun) => `${id.secondary}/${id.shard}`;
  for (const run of runs) {
    if (run.id.bootEpoch < epochs.get(run.id.secondary)!) continue;
    const known = newest.get(shardOf(run));
    if (!known || run.id.run > known.id.run) newest.set(shardOf(run), run);
  }
  return runs.filter((run) => newest.get(shardOf(run)) !== run);
}

export class ReplicaRun {
  readonly id: RunId;
  readonly key: string;
  /** Up to here every batch was journalled. */
  sequence: number;
  /** Where in the log the newest of it was read that was not there yet. */
  position: LogPosition | undefined;
  /** Up to here it was fsynced too. */
  durableSequence = 0;
  readonly #parts: RunParts;
  readonly #beyond: Map<number, JournalPlace>;
  #decoder: BatchDecoder | undefined;
  #ahead: BatchDecoder | undefined;
  #gapHeartbeats = 0;
  /** Part of the gap was dropped. */
  #skipped = false;
  #watermark: Watermark;

  constructor(id: RunId, parts: RunParts, start: Pick<RunCheckpoint, "sequence" | "beyond">) {
    this.id = id;
    this.key = runKey(id);
    this.sequence = start.sequence;
    this.#watermark = { ...id, sequence: 0 };
    this.#beyond = new Map(start.beyond.map(({ sequence, segment, offset }) => [sequence, { segment, offset }]));
    this.#parts = parts;
  }

  /** How far it is durable: the same object until it moves. */
  watermark(): Watermark {
    const { durableSequence: sequence } = this;
    if (this.#watermark.sequence !== sequence) this.#watermark = { ...this.id, sequence };
    return this.#watermark;
  }

  has(sequence: number): boolean {
    return sequence <= this.sequence || this.#beyond.has(sequence);
  }

  get hasGap(): boolean {
    return this.#beyond.size > 0;
  }

  get isReading(): boolean {
    return this.#decoder !== undefined;
  }

  /** Batches that are missing here although later ones are not. */
  get missing(): number {
    if (!this.hasGap) return 0;
    return Math.max(...this.#beyond.keys()) - this.sequence - this.#beyond.size;
  }

  /** The same as ranges, in order, once it is clear that they did not merely change places. */
  missingRanges(): readonly BatchRange[] {
    if (!this.#ahead) return [];
    const ranges: BatchRange[] = [];
    let last = this.sequence;
    for (const sequence of [...this.#beyond.keys()].sort((a, b) => a - b)) {
      if (sequence > last + 1) ranges.push({ ...this.id, from: last + 1, until: sequence - 1 });
      last = sequence;
    }
    return ranges;
  }

  checkpoint(): RunCheckpoint {
    const { secondary, bootEpoch, shard, run } = this.id;
    const beyond = [...this.#beyond].map(([sequence, place]) => ({ sequence, ...place }));
    return { secondary, bootEpoch, shard, run, sequence: this.sequence, beyond };
  }

  /** A batch that it does not have yet, which now stands at that place of the journal. */
  async take(sequence: number, batch: Uint8Array, place: JournalPlace): Promise<void> {
    if (sequence > this.sequence + 1) this.#skip(sequence);
    if (sequence === this.sequence + 1) {
      this.sequence = sequence;
      this.#parts.decode((this.#decoder ??= this.#parts.newDecoder(this.id)), batch, this.id);
      if (this.hasGap) await this.#closeGap();
      return;
    }
    this.#beyond.set(sequence, place);
    if (this.#ahead) {
      // One from within the hole, but not the next: it is decoded when the ones before it are there.
      if (sequence > this.#ahead.sequence) this.#parts.decode(this.#ahead, batch, this.id);
    } else if (this.#beyond.size > swappedMax) await this.#goAhead();
    if (this.#beyond.size > beyondMax) await this.#giveUp();
  }

  /** Its secondary told of dropped batches: what waits behind them needs to wait no longer. */
  async goOn(): Promise<void> {
    if (this.hasGap && this.#skip(this.#firstBeyond())) await this.#closeGap();
  }

  /** A heartbeat was read: the log's own measure of time. */
  async beat(): Promise<void> {
    if (!this.hasGap) return;
    this.#gapHeartbeats++;
    if (!this.#ahead && this.#gapHeartbeats >= swappedHeartbeatsMax) await this.#goAhead();
    if (this.#gapHeartbeats >= holeHeartbeatsMax) await this.#giveUp();
  }

  /** Frees the decoder; should the run go on, it is readable from its next keyframes. */
  forget(): void {
    this.#decoder = undefined;
  }

  async #goAhead(): Promise<void> {
    this.#parts.onHole(this);
    const ahead = this.#parts.newDecoder(this.id);
    this.#ahead = ahead;
    for (const sequence of [...this.#beyond.keys()].sort((a, b) => a - b)) await this.#reread(ahead, sequence);
  }

  async #closeGap(): Promise<void> {
    const wasHole = this.#ahead !== undefined;
    const decoder = (this.#decoder ??= this.#parts.newDecoder(this.id));
    do {
      while (this.#beyond.has(this.sequence + 1)) {
        await this.#reread(decoder, this.sequence + 1);
        this.#beyond.delete(++this.sequence);
      }
    } while (this.hasGap && this.#skip(this.#firstBeyond()));
    if (this.hasGap) return;
    this.#ahead = undefined;
    this.#gapHeartbeats = 0;
    if (wasHole && !this.#skipped) this.#parts.onRepaired(this);
    this.#skipped = false;
  }

  /** Passes over what was dropped right after the unbroken row, up to a batch that is there. */
  #skip(before: number): boolean {
    const until = Math.min(this.#parts.droppedUntil(this.key, this.sequence), before - 1);
    if (until <= this.sequence) return false;
    this.sequence = until;
    this.#skipped = this.hasGap;
    return true;
  }

  #firstBeyond(): number {
    return Math.min(...this.#beyond.keys());
  }

  /** The nearest hole is final: the unbroken row goes on behind it. */
  async #giveUp(): Promise<void> {
    const first = this.#firstBeyond();
    this.#parts.onGivenUp(this, { ...this.id, from: this.sequence + 1, until: first - 1 });
    this.sequence = first - 1;
    this.#decoder = undefined;
    this.#gapHeartbeats = 0;
    const last = Math.max(...this.#beyond.keys());
    if (last - first + 1 > this.#beyond.size || !this.#ahead) return this.#closeGap();
    // Nothing else is missing, and the one that went ahead has read all of it.
    this.#decoder = this.#ahead;
    this.#ahead = undefined;
    this.sequence = last;
    this.#beyond.clear();
  }

  async #reread(decoder: BatchDecoder, sequence: number): Promise<void> {
    const batch = await this.#parts.reread(this.#beyond.get(sequence)!);
    if (batch && sequence > decoder.sequence) this.#parts.decode(decoder, batch, this.id);
  }
}
