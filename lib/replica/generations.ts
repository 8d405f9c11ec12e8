// What a replica knows of a data centre's generations: the newest one, where it stands in the log, and what the last ones were.
//
// The log has whole generations and differences. One that is the difference to something else than what is here is refused, and
// all stays as it was until the next whole one. The journal's checkpoints hold the newest one whole, whatever the log had.

import { BadGeneration, encodeGeneration, readGeneration, readGenerationHeader } from "#/lib/codec/generation.ts";
import { applyDelta, DeltaError } from "#/lib/model/delta.ts";
import { type Generation, isNewer, isSameGeneration } from "#/lib/model/generation.ts";
import { type GenerationSummary, summaryOf } from "#/lib/model/history.ts";
import type { LogEntry, LogPosition } from "#/lib/model/log.ts";

/** Weeks in which targets change a few times an hour; 2 kB each with 20 secondaries. */
const summariesMax = 1000;

/** What a difference says is not kept: a checkpoint has the whole. */
const noBytes = new Uint8Array(0);

/** Where the log tells the newest generation to somebody who knows nothing. */
export interface GenerationTrail {
  /** The newest whole one that the newest generation comes from. */
  readonly full: { readonly position: LogPosition; readonly storedMs: number; readonly bytes: number };
  /** Differences since. */
  readonly deltas: number;
  readonly deltaBytes: number;
  /** When the first of them was stored; undefined without any. */
  readonly firstDeltaMs: number | undefined;
}

/** taken: it is the newest now. known: it changes nothing. */
export type TakenGeneration =
  | { readonly outcome: "taken"; readonly generation: Generation; readonly previous: Generation | undefined }
  | { readonly outcome: "known" }
  | { readonly outcome: "refused"; readonly code: string; readonly message: string };

export class Generations {
  readonly #datacenter: string;
  readonly #summaries: GenerationSummary[] = [];
  #newest: Generation | undefined;
  #trail: GenerationTrail | undefined;
  /** The newest whole entry, and the one that brought the newest generation. */
  #full: LogEntry | undefined;
  #entry: LogEntry | undefined;

  constructor(datacenter: string) {
    this.#datacenter = datacenter;
  }

  get newest(): Generation | undefined {
    return this.#newest;
  }

  /** Undefined when it is not known: then there may be no whole one. */
  get trail(): GenerationTrail | undefined {
    return this.#trail;
  }

  /** Newest first. */
  summaries(limit = summariesMax): readonly GenerationSummary[] {
    return this.#summaries.slice(Math.max(0, this.#summaries.length - limit)).reverse();
  }

  /** The next entry of the log. */
  take(entry: LogEntry): TakenGeneration {
    try {
      return this.#take(entry);
    } catch (error) {
      if (!(error instanceof BadGeneration || error instanceof DeltaError)) throw error;
      return { outcome: "refused", code: error.code, message: error.message };
    }
  }

  /** What a checkpoint kept. It says nothing of what stands in the log. */
  restore(entry: LogEntry): TakenGeneration {
    const taken = this.take(entry);
    this.#trail = undefined;
    return taken;
  }

  /** The newest one as a whole, under the place of the entry that brought it. */
  checkpoint(): LogEntry | undefined {
    const entry = this.#entry;
    if (!entry || entry === this.#full || !this.#newest) return this.#full;
    try {
      this.#full = { ...entry, payload: encodeGeneration(this.#newest) };
      this.#entry = this.#full;
    } catch (error) {
      // Nobody of us writes differences that lead beyond the limit: what is older and whole is kept.
      if (!(error instanceof BadGeneration)) throw error;
    }
    return this.#full;
  }

  #take(entry: LogEntry): TakenGeneration {
    const { payload } = entry;
    const header = readGenerationHeader(payload);
    const known = this.#newest;
    if (header.datacenter !== this.#datacenter) {
      return { outcome: "refused", code: "foreign", message: `a generation of ${header.datacenter}` };
    }
    if (known && header.token < known.token) {
      const message = `expected a token from ${known.token} on, got ${header.token} of ${header.primary}`;
      return { outcome: "refused", code: "fenced", message };
    }
    if (known && !isNewer(header, known)) {
      if (!header.base && isSameGeneration(header, known)) this.#trail = trailOf(entry, header.validFromMs);
      return { outcome: "known" };
    }
    const read = readGeneration(payload);
    const isDelta = "base" in read;
    if (isDelta && !known) {
      const message = `a difference to generation ${read.base.number}, and there is none here`;
      return { outcome: "refused", code: "unknown_base", message };
    }
    const generation = isDelta ? applyDelta(known!, read) : read;
    this.#newest = generation;
    if (isDelta) {
      this.#entry = { ...entry, payload: noBytes };
      this.#trail = this.#trail && withDelta(this.#trail, entry, header.validFromMs);
    } else {
      this.#full = { ...entry, payload: payload.slice() };
      this.#entry = this.#full;
      this.#trail = trailOf(entry, header.validFromMs);
    }
    this.#summaries.push(summaryOf(generation, known, { form: isDelta ? "delta" : "full", bytes: payload.length }));
    if (this.#summaries.length > summariesMax) this.#summaries.shift();
    return { outcome: "taken", generation, previous: known };
  }
}

function trailOf({ payload, position }: LogEntry, validFromMs: number): GenerationTrail {
  const full = { position, storedMs: position.storedMs ?? validFromMs, bytes: payload.length };
  return { full, deltas: 0, deltaBytes: 0, firstDeltaMs: undefined };
}

function withDelta(trail: GenerationTrail, { payload, position }: LogEntry, validFromMs: number): GenerationTrail {
  return {
    full: trail.full,
    deltas: trail.deltas + 1,
    deltaBytes: trail.deltaBytes + payload.length,
    firstDeltaMs: trail.firstDeltaMs ?? position.storedMs ?? validFromMs,
  };
}
