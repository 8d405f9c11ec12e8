// Hands each secondary its part of every generation, as soon as this primary has read it from the log.
//
// Either primary may do it, because both read the same log: what is handed out never depends on who holds the lease. Whoever has
// one of the last generations gets the difference to it, and then to what the same stream told before.

import { secondMs } from "#/lib/bytes/units.ts";
import { onAbort } from "#/lib/clock/abort.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { encodeDelta, encodeGeneration } from "#/lib/codec/generation.ts";
import { diffGenerations } from "#/lib/model/delta.ts";
import { type AssignedTarget, type Generation, isNewer } from "#/lib/model/generation.ts";
import { type WatchRequest, type WatchResponse, WireError } from "#/lib/wire/session.ts";

/** A stream without a generation to tell says this often that it lives, and what time it is here. */
const keepAliveMs = secondMs;

/** A secondary that was away for longer, or through more changes than this, gets its part whole. Their targets are mostly the same objects. */
const generationsKept = 8;

export class Assignments {
  readonly #datacenter: string;
  readonly #primary: string;
  readonly #secondaries: () => readonly string[];
  readonly #clock: Clock;
  readonly #wakers = new Set<() => void>();
  /** The last ones, oldest first. */
  readonly #kept: Parts[] = [];
  #tokenHeard = 0;

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

  /**
   * The highest token of a generation that a secondary came with, which the log may have lost since: no generation under a
   * lower one is taken by that secondary.
   */
  get tokenHeard(): number {
    return this.#tokenHeard;
  }

  /** The newest generation of the log; an older one than before is ignored. */
  publish(generation: Generation): void {
    const newest = this.#kept.at(-1);
    if (newest && !isNewer(generation, newest.generation)) return;
    this.#kept.push(new Parts(generation));
    if (this.#kept.length > generationsKept) this.#kept.shift();
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
    const { generation: number, secondary, takesDeltas, token } = request;
    if (Number.isSafeInteger(token)) this.#tokenHeard = Math.max(this.#tokenHeard, token);
    const has = this.#kept.findLast(({ generation }) => generation.number === number && generation.token === token);
    let known = takesDeltas ? has?.of(secondary) : undefined;
    let sent: Parts | undefined;
    while (!signal.aborted) {
      const newest = this.#kept.at(-1);
      const part = newest && newest !== sent ? newest.of(secondary) : undefined;
      await send({
        generation: Buffer.from(part ? told(part, known) : []),
        nowMs: Math.round(this.#clock.nowMs()),
      });
      if (part && takesDeltas) known = part;
      sent = newest;
      // What was published while that one was sent follows at once.
      if (this.#kept.at(-1) === newest) await this.#nextWord(signal);
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

/** A generation and what each secondary has of it. */
class Parts {
  readonly generation: Generation;
  #byOwner: ReadonlyMap<string, readonly AssignedTarget[]> | undefined;

  constructor(generation: Generation) {
    this.generation = generation;
  }

  of(secondary: string): Generation {
    this.#byOwner ??= Map.groupBy(this.generation.targets, ({ owner }) => owner);
    return { ...this.generation, targets: this.#byOwner.get(secondary) ?? [] };
  }
}

/** To whom has `known`, if anything. A difference that brings most of the targets is none. */
function told(part: Generation, known: Generation | undefined): Uint8Array {
  const delta = known && diffGenerations(known, part);
  return delta && delta.targets.length * 2 <= part.targets.length ? encodeDelta(delta) : encodeGeneration(part);
}
