// Hands each secondary its part of every generation, as soon as this primary has read it from the log.
//
// Either primary may do it, because both read the same log: what is handed out never depends on who holds the lease.

import { secondMs } from "#/lib/bytes/units.ts";
import { onAbort } from "#/lib/clock/abort.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { encodeGeneration } from "#/lib/codec/generation.ts";
import { type Generation, isNewer, partOf } from "#/lib/model/generation.ts";
import { type WatchRequest, type WatchResponse, WireError } from "#/lib/wire/session.ts";

/** A stream without a generation to tell says this often that it lives, and what time it is here. */
const keepAliveMs = secondMs;

export class Assignments {
  readonly #datacenter: string;
  readonly #primary: string;
  readonly #secondaries: () => readonly string[];
  readonly #clock: Clock;
  readonly #wakers = new Set<() => void>();
  #generation: Generation | undefined;

  constructor(options: {
    readonly datacenter: string;
    readonly primary: string;
    /** Names of the data centre's secondaries, as the topology file has them now. */
    readonly secondaries: () => readonly string[];
    readonly clock: Clock;
  }) {
    this.#datacenter = options.datacenter;
    this.#primary = options.primary;
    this.#secondaries = options.secondaries;
    this.#clock = options.clock;
  }

  /** The newest generation of the log; an older one than before is ignored. */
  publish(generation: Generation): void {
    if (this.#generation && !isNewer(generation, this.#generation)) return;
    this.#generation = generation;
    for (const wake of this.#wakers) wake();
  }

  /** Serves one stream until it ends. */
  async serve(
    request: WatchRequest,
    send: (response: WatchResponse) => Promise<void>,
    peer: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (request.datacenter !== this.#datacenter || !this.#secondaries().includes(request.secondary)) {
      throw new WireError(
        "refused",
        `${this.#primary}: no secondary "${request.secondary}" of data centre "${request.datacenter}" in the topology file`,
      );
    }
    if (peer !== undefined && peer.split("/").at(-1) !== request.secondary) {
      throw new WireError(
        "refused",
        `${this.#primary}: the certificate is of "${peer}", got a request of "${request.secondary}"`,
      );
    }
    let sent: Generation | undefined;
    while (!signal.aborted) {
      const generation = this.#generation;
      const isNew = generation !== undefined && generation !== sent;
      await send({
        generation: Buffer.from(isNew ? encodeGeneration(partOf(generation, request.secondary)) : []),
        nowMs: Math.round(this.#clock.nowMs()),
      });
      sent = generation;
      // What was published while that one was sent follows at once.
      if (this.#generation === generation) await this.#nextWord(signal);
    }
  }

  /** Until a generation is published or the keep-alive is due. */
  #nextWord(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = () => {
        timer.cancel();
        forget();
        this.#wakers.delete(done);
        resolve();
      };
      const timer = this.#clock.after(keepAliveMs, done);
      const forget = onAbort(signal, done);
      this.#wakers.add(done);
    });
  }
}
