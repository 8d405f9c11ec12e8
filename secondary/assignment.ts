// Learns from a primary what to scrape, and keeps the newest generation on disk, so that a start needs no primary.

import { secondMs } from "#/lib/bytes/units.ts";
import { Follower, onAbort } from "#/lib/clock/abort.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { BadGeneration, decodeGeneration } from "#/lib/codec/generation.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { type Generation, isNewer } from "#/lib/model/generation.ts";
import { type PrimaryClient, WireError } from "#/lib/wire/session.ts";
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

  /** `onGeneration` is called with each generation that is newer than all before, and `onBytes` with the same as it came. */
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
    const request = {
      datacenter: this.#datacenter,
      secondary: this.#secondary,
      generation: this.#newest?.number ?? 0,
    };
    const following = (async () => {
      for await (const response of client.watch(request, life.signal)) {
        heardMs = this.#clock.monotonicMs();
        if (response.generation.length > 0) await this.#take(response.generation);
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

  async #take(bytes: Uint8Array): Promise<void> {
    const generation = this.#read(bytes, "from a primary");
    if (!generation) return;
    const newest = this.#newest;
    if (newest && !isNewer(generation, newest)) {
      if (generation.token < newest.token) {
        this.#log.error(
          { token: generation.token, expected: newest.token, primary: generation.primary },
          "A generation was refused: its lease is older than the last one's. If the lease store was made anew, remove this data directory.",
        );
      }
      return;
    }
    this.#newest = generation;
    this.#onGeneration(generation);
    this.#onBytes(bytes);
    try {
      await this.#spool.saveGeneration(bytes);
    } catch (error) {
      this.#log.warn(
        { err: error, generation: generation.number },
        "A generation could not be saved; it is scraped by anyway.",
      );
    }
  }

  #read(bytes: Uint8Array, where: string): Generation | undefined {
    try {
      const generation = decodeGeneration(bytes);
      if (generation.datacenter === this.#datacenter) return generation;
      this.#log.error(
        { expected: this.#datacenter, got: generation.datacenter, where },
        "A generation of another data centre was refused.",
      );
    } catch (error) {
      if (!(error instanceof BadGeneration)) throw error;
      this.#log.error({ code: error.code, reason: error.message, where }, "A generation cannot be read.");
    }
    return undefined;
  }
}
