// The way to the data centre's primaries: one connection to one of them, over which batches go and assignments come.
//
// Either primary of the pair will do. When the connection fails, or its primary does not do its work, the other one is tried
// after a short random pause, so that losing a primary shows in seconds and all secondaries do not return at the same instant.

import { crc32 } from "#/lib/bytes/hash.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import { Follower } from "#/lib/clock/abort.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Random } from "#/lib/random/random.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { type PrimaryClient, WireError } from "#/lib/wire/session.ts";
import type { Assignment } from "#/secondary/assignment.ts";
import type { Pusher } from "#/secondary/push.ts";
import type { ReachReporter } from "#/secondary/reach/reporter.ts";

/** Full jitter: a pause is anything up to this, which doubles with each failure up to the maximum. */
const pauseMsFirst = 200;
const pauseMsMax = 2 * secondMs;

/** Reasons that are told one by one while no primary takes us; the two addresses have a few each. */
const reasonsSaidMax = 16;

export class Uplink {
  readonly #name: string;
  readonly #primaries: readonly string[];
  readonly #connect: (address: string) => PrimaryClient;
  readonly #pusher: Pusher;
  readonly #assignment: Assignment;
  readonly #reach: Pick<ReachReporter, "run">;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #metrics: Registry;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  /** Since a primary took us. */
  readonly #saidReasons = new Set<string>();
  /** The primary that takes our batches; "" while none does. */
  primary = "";

  constructor(options: {
    /** The secondary's: which primary comes first is spread over the secondaries by it. */
    readonly name: string;
    /** Addresses, at least one. */
    readonly primaries: readonly string[];
    readonly connect: (address: string) => PrimaryClient;
    readonly pusher: Pusher;
    readonly assignment: Assignment;
    readonly reach: Pick<ReachReporter, "run">;
    readonly clock: Clock;
    readonly random: Random;
    readonly log: Logger;
    readonly metrics: Registry;
  }) {
    this.#name = options.name;
    this.#primaries = options.primaries;
    this.#connect = options.connect;
    this.#pusher = options.pusher;
    this.#assignment = options.assignment;
    this.#reach = options.reach;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#log = options.log;
    this.#metrics = options.metrics;
  }

  start(): void {
    this.#running ??= this.#run(this.#stop.signal);
  }

  /** May be called twice. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    let at = crc32(new TextEncoder().encode(this.#name)) % this.#primaries.length;
    let failures = 0;
    while (!signal.aborted) {
      const address = this.#primaries[at]!;
      const welcomed = await this.#serve(address, failures, signal);
      failures = welcomed ? 1 : failures + 1;
      at = (at + 1) % this.#primaries.length;
      const pauseMs = this.#random.next() * Math.min(pauseMsMax, pauseMsFirst * 2 ** Math.min(failures - 1, 10));
      await this.#clock.sleep(pauseMs, signal);
    }
  }

  /** Until the connection fails; whether the primary had taken it. */
  async #serve(address: string, failures: number, signal: AbortSignal): Promise<boolean> {
    const life = new Follower(signal);
    const client = this.#connect(address);
    let welcomed = false;
    const onWelcome = (primary: string) => {
      welcomed = true;
      this.primary = primary;
      this.#saidReasons.clear();
      this.#log.info({ primary, address }, "A primary takes our batches.");
    };
    const tasks = [
      this.#pusher.run(client, onWelcome, life.signal),
      this.#assignment.watch(client, life.signal),
      this.#reach.run(client, life.signal),
    ];
    try {
      await Promise.race(tasks);
    } catch (error) {
      this.#metrics.add("heliograph_secondary_push_errors_total");
      // One line when it breaks, one for each other reason, and one a minute or so while it stays broken.
      const reason = (error as Error).message;
      const isNew = !this.#saidReasons.has(reason) && this.#saidReasons.size < reasonsSaidMax;
      if (isNew || failures % 32 === 0) {
        this.#saidReasons.add(reason);
        const fields = { address, reason };
        if (error instanceof WireError && error.code === "refused") {
          this.#log.error(fields, "A primary refuses us: our batches wait in the spool until that is mended.");
        } else this.#log.warn(fields, "A primary is away: our batches wait in the spool.");
      }
    } finally {
      this.primary = "";
      life.over();
      await Promise.allSettled(tasks);
      client.close();
    }
    return welcomed;
  }
}
