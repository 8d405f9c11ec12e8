// Learns from a primary what to scrape, and keeps the newest generation on disk, so that a start needs no primary.
//
// A primary that knows what is here tells the difference to it. What stands on disk is whole, and is written when something in it
// is new: most generations move targets of others.

import { secondMs } from "#/lib/bytes/units.ts";
import { Follower, onAbort } from "#/lib/clock/abort.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import {
  BadGeneration,
  decodeGeneration,
  encodeGeneration,
  readGeneration,
  readGenerationHeader,
} from "#/lib/codec/generation.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { applyDelta, DeltaError } from "#/lib/model/delta.ts";
import { type Generation, isNewer } from "#/lib/model/generation.ts";
import { type PrimaryClient, type WatchRequest, WireError } from "#/lib/wire/session.ts";
import type { Spool } from "#/secondary/spool.ts";

/** A primary says each second that it lives; one that is silent for so long is given up for its pair. */
const silenceMsMax = 10 * secondMs;

/** In the data directory: a copy of the newest assignment, in the format of generations, for whoever wants to look at it. */
export const assignmentFile = "assignment";

export class Assignment {
  readonly #datacenter: string;
  readonly #secondary: string;
  readonly #spool: Spool;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onGeneration: (generation: Generation) => void;
  readonly #onBytes: (bytes: Uint8Array) => void;
  #newest: Generation | undefined;
  /** As it stands on disk. */
  #saved: Generation | undefined;
  /** A difference led nowhere: the whole is to be asked for, or was, and did not come yet. */
  #wantsWhole = false;
  #awaitsWhole = false;

  /**
   * `onGeneration` is called with each generation that is newer than all before, and `onBytes` with the whole of those that
   * bring this secondary something new.
   */
  constructor(options: {
    readonly datacenter: string;
    readonly secondary: string;
    readonly spool: Spool;
    readonly clock: Clock;
    readonly log: Logger;
    readonly onGeneration: (generation: Generation) => void;
    readonly onBytes?: (bytes: Uint8Array) => void;
  }) {
    this.#datacenter = options.datacenter;
    this.#secondary = options.secondary;
    this.#spool = options.spool;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onGeneration = options.onGeneration;
    this.#onBytes = options.onBytes ?? (() => {});
  }

  /** Goes on with the generation on disk, if there is one. */
  async resume(): Promise<void> {
    const bytes = await this.#spool.generation();
    const generation = bytes && this.#read(bytes, "on disk");
    if (!bytes || !generation) return;
    this.#newest = generation;
    this.#saved = generation;
    this.#onGeneration(generation);
    this.#onBytes(bytes);
  }

  /** Follows one primary until the stream ends, and then throws WireError, unless the signal aborted. */
  async watch(client: PrimaryClient, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const life = new Follower(signal);
    const silent = Promise.withResolvers<never>();
    const forget = onAbort(signal, () => silent.reject(new WireError("broken", "stopped")));
    let heardMs = this.#clock.monotonicMs();
    const watchdog = this.#clock.every(secondMs, () => {
      if (this.#clock.monotonicMs() - heardMs <= silenceMsMax) return;
      silent.reject(new WireError("unavailable", `the primary was silent for ${silenceMsMax / secondMs} s`));
    });
    const following = (async () => {
      while (!life.signal.aborted) {
        const stream = new Follower(life.signal);
        try {
          for await (const response of client.watch(this.#request(), stream.signal)) {
            heardMs = this.#clock.monotonicMs();
            if (response.generation.length > 0) await this.#take(response.generation);
            if (this.#wantsWhole) break;
          }
        } finally {
          stream.over();
        }
        if (!this.#wantsWhole) break;
      }
      throw new WireError("broken", "the primary ended the assignment stream");
    })();
    try {
      await Promise.race([silent.promise, following]);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      watchdog.cancel();
      forget();
      life.over();
      following.catch(() => {});
    }
  }

  #request(): WatchRequest {
    const known = this.#wantsWhole ? undefined : this.#newest;
    this.#awaitsWhole = known === undefined;
    this.#wantsWhole = false;
    return {
      datacenter: this.#datacenter,
      secondary: this.#secondary,
      generation: known?.number ?? 0,
      token: known?.token ?? 0,
      takesDeltas: true,
    };
  }

  async #take(bytes: Uint8Array): Promise<void> {
    const read = this.#told(bytes);
    if (!read) return;
    const { generation } = read;
    this.#newest = generation;
    this.#onGeneration(generation);
    const saved = this.#saved;
    // The token is the fence against a primary that does not know that its lease is over.
    if (saved && saved.targets === generation.targets && saved.token === generation.token) return;
    try {
      const whole = read.isDelta ? encodeGeneration(generation) : bytes;
      this.#onBytes(whole);
      await this.#spool.saveGeneration(whole);
      this.#saved = generation;
    } catch (error) {
      this.#log.warn(
        { err: error, generation: generation.number },
        "A generation could not be saved; it is scraped by anyway.",
      );
    }
  }

  /** The generation that a primary tells; undefined when there is none to take. Throws WireError when it makes no sense. */
  #told(bytes: Uint8Array): { readonly generation: Generation; readonly isDelta: boolean } | undefined {
    const newest = this.#newest;
    try {
      const header = readGenerationHeader(bytes);
      if (header.datacenter !== this.#datacenter) return this.#refuseForeign(header.datacenter, "from a primary");
      if (!header.base) this.#awaitsWhole = false;
      if (newest && !isNewer(header, newest)) {
        if (header.token < newest.token) {
          this.#log.error(
            { token: header.token, expected: newest.token, primary: header.primary },
            "A generation was refused: its lease is older than the last one's. If the lease store was made anew, remove this data directory.",
          );
        }
        return undefined;
      }
      const read = readGeneration(bytes);
      if (!("base" in read)) return { generation: read, isDelta: false };
      if (newest) return { generation: applyDelta(newest, read), isDelta: true };
      throw new DeltaError("unknown_base", `generation ${read.number}: a difference, and there is none here`);
    } catch (error) {
      if (error instanceof DeltaError) {
        if (this.#awaitsWhole) throw new WireError("broken", `asked for a whole generation, and got ${error.message}`);
        this.#log.warn(
          { code: error.code, reason: error.message },
          "A difference cannot be applied; asking for the whole.",
        );
        this.#wantsWhole = true;
      } else if (error instanceof BadGeneration) this.#refuseBad(error, "from a primary");
      else throw error;
      return undefined;
    }
  }

  #read(bytes: Uint8Array, where: string): Generation | undefined {
    try {
      const generation = decodeGeneration(bytes);
      if (generation.datacenter === this.#datacenter) return generation;
      return this.#refuseForeign(generation.datacenter, where);
    } catch (error) {
      if (!(error instanceof BadGeneration)) throw error;
      return this.#refuseBad(error, where);
    }
  }

  #refuseForeign(got: string, where: string): undefined {
    const fields = { expected: this.#datacenter, got, where };
    this.#log.error(fields, "A generation of another data centre was refused.");
  }

  #refuseBad(error: BadGeneration, where: string): undefined {
    this.#log.error({ code: error.code, reason: error.message, where }, "A generation cannot be read.");
  }
}
