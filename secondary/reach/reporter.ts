// What a secondary and its primary say to each other of who reaches what: suspicions go up, verdicts and probes for others come down.
//
// A suspicion waits for its verdict for a bounded time. Without one, what was held is told as it is, because a false alarm is better
// than none; unless no primary can be heard either, for then it is most likely this machine that is cut off.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import { BadGeneration, decodeGeneration } from "#/lib/codec/generation.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { isReachVerdict, type ReachVerdict, reachSampleMax, type Suspicion } from "#/lib/model/reach.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { type PrimaryClient, type ReachOrder, type ReachReport, type Session, WireError } from "#/lib/wire/session.ts";
import { spread } from "#/secondary/reach/judge.ts";
import type { Shard } from "#/secondary/shard.ts";

/** A primary's own patience, with what others need to answer it, and a second for the way. */
const verdictMsMax = 8 * secondMs;
/** A suspicion is told again, because a primary that takes the say does not know it. */
const tellEveryMs = 2 * secondMs;
/** After a stream that failed. */
const pauseMs = secondMs;
/** An older primary does not know what this is. */
const refusedPauseMs = 60 * secondMs;

/** `waiting`: for a verdict on what is told. */
type Phase = "clear" | "waiting" | "cut_off";

export class ReachReporter {
  readonly #datacenter: string;
  readonly #secondary: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: Registry;
  readonly #shards: () => readonly Pick<Shard, "verdict" | "probe">[];
  readonly #isHeard: () => boolean;
  /** The shards that are not clear, with what they suspect; undefined when another shard's verdict took them along. */
  readonly #bad = new Map<number, Suspicion | undefined>();
  #phase: Phase = "clear";
  /** Told again and again until the phase is clear; undefined while it is, and when a primary alone says that it is not. */
  #told: Suspicion | undefined;
  #session: Session<ReachReport, ReachOrder> | undefined;
  #deadline: Timer | undefined;

  constructor(options: {
    readonly datacenter: string;
    readonly secondary: string;
    readonly clock: Clock;
    readonly log: Logger;
    readonly metrics: Registry;
    readonly shards: () => readonly Pick<Shard, "verdict" | "probe">[];
    /** Whether a primary takes this secondary's batches. */
    readonly isHeard: () => boolean;
  }) {
    this.#datacenter = options.datacenter;
    this.#secondary = options.secondary;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#shards = options.shards;
    this.#isHeard = options.isHeard;
    options.metrics.onCollect(() => {
      options.metrics.set("heliograph_secondary_cut_off", this.#phase === "cut_off" ? 1 : 0);
    });
  }

  get isCutOff(): boolean {
    return this.#phase === "cut_off";
  }

  /** A shard's word; undefined when it reaches its targets, or what it suspected has been told. */
  suspects(shard: number, suspicion: Suspicion | undefined): void {
    if (suspicion) {
      this.#bad.set(shard, suspicion);
      if (this.#phase === "clear") this.#begin();
      else if (this.#phase === "cut_off") this.#shards()[shard]!.verdict("cut_off");
    } else if (this.#bad.delete(shard) && this.#bad.size === 0) this.#clear("It reaches its targets again.");
  }

  /** Until the signal aborts. Whatever happens to this stream, batches and assignments go on. */
  async run(client: PrimaryClient, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const failure = await this.#talk(client, signal);
      await this.#clock.sleep(failure?.code === "refused" ? refusedPauseMs : pauseMs, signal);
    }
  }

  /** May be called twice. */
  close(): void {
    this.#deadline?.cancel();
    this.#deadline = undefined;
  }

  async #talk(client: PrimaryClient, signal: AbortSignal): Promise<WireError | undefined> {
    const telling = this.#clock.every(tellEveryMs, () => this.#tell());
    let session: Session<ReachReport, ReachOrder> | undefined;
    try {
      session = client.reach(signal);
      await session.send({ hello: { datacenter: this.#datacenter, secondary: this.#secondary } });
      this.#session = session;
      this.#tell();
      for await (const order of session.incoming) {
        if (order.verdict) this.#hear(order.verdict);
        else if (order.probe) void this.#probe(session, order.probe);
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return error;
    } finally {
      telling.cancel();
      if (this.#session === session) this.#session = undefined;
      session?.close();
    }
    return undefined;
  }

  #begin(): void {
    this.#phase = "waiting";
    this.#told = merge([...this.#bad.values()].filter((each) => each !== undefined));
    const { failed, of } = this.#told!;
    this.#log.warn({ failed, of }, "Most scrapes fail without a byte: do others reach these targets?");
    this.#deadline = this.#clock.after(verdictMsMax, () => {
      if (this.#isHeard()) this.#judge("unknown", "no primary answered in time");
      else this.#judge("cut_off", "no primary can be heard either");
    });
    this.#tell();
  }

  #hear({ sinceMs, verdict }: NonNullable<ReachOrder["verdict"]>): void {
    if (!isReachVerdict(verdict)) return;
    // One about an earlier suspicion says nothing of this one, and a greeting (0) nothing against it.
    const expected = this.#told ? this.#told.sinceMs : verdict === "cut_off" ? 0 : sinceMs;
    if (sinceMs !== expected) return;
    this.#judge(verdict, "says a primary");
  }

  #judge(verdict: ReachVerdict, reason: string): void {
    // A late word about what is over.
    if (this.#phase === "clear" && verdict !== "cut_off") return;
    if (verdict === this.#phase || (verdict === "reachable" && this.#phase === "waiting")) return;
    this.close();
    const { failed = 0, of = 0 } = this.#told ?? {};
    this.#metrics.add("heliograph_secondary_reach_verdicts_total", 1, { verdict });
    if (verdict === "cut_off") {
      this.#phase = "cut_off";
      this.#log.error(
        { failed, of, reason },
        "This secondary is cut off from its targets: failures to reach them are missed slots until that is over.",
      );
      for (const shard of this.#shards().keys()) if (!this.#bad.has(shard)) this.#bad.set(shard, undefined);
    } else {
      this.#bad.clear();
      this.#clear(sentences[verdict], reason);
    }
    for (const shard of this.#shards()) shard.verdict(verdict);
  }

  #clear(sentence: string, reason = "scrapes succeed"): void {
    this.close();
    const { failed = 0, of = 0, sinceMs = 0 } = this.#told ?? {};
    this.#log.warn({ failed, of, reason, wasCutOff: this.isCutOff }, sentence);
    this.#phase = "clear";
    this.#told = undefined;
    this.#send({ suspicion: { sinceMs, failed: 0, of: 0, sample: [] } });
  }

  #tell(): void {
    if (this.#told) this.#send({ suspicion: { ...this.#told, sample: [...this.#told.sample] } });
  }

  #send(report: ReachReport): void {
    // A stream that broke is opened again, and then what counts is told anew.
    this.#session?.send(report).catch(() => {});
  }

  async #probe(
    session: Session<ReachReport, ReachOrder>,
    { id, targets }: NonNullable<ReachOrder["probe"]>,
  ): Promise<void> {
    try {
      const reached = await this.#shards()[0]!.probe(decodeGeneration(targets));
      await session.send({ result: { id, reached: [...reached] } });
    } catch (error) {
      if (error instanceof WireError) return; // Whoever asked is gone.
      if (!(error instanceof BadGeneration)) throw error;
      this.#log.error({ code: error.code, reason: error.message }, "A probe cannot be read.");
    }
  }
}

const sentences: Readonly<Record<Exclude<ReachVerdict, "cut_off">, string>> = {
  targets_down: "The targets are down: others do not reach them either.",
  unknown: "Nobody could tell whether the targets are down: their failures are told as they are.",
  reachable: "It reaches its targets again.",
};

/** The shards' together. */
function merge(all: readonly Suspicion[]): Suspicion | undefined {
  if (all.length === 0) return undefined;
  return {
    sinceMs: Math.min(...all.map(({ sinceMs }) => sinceMs)),
    failed: all.reduce((sum, { failed }) => sum + failed, 0),
    of: all.reduce((sum, { of }) => sum + of, 0),
    sample: spread(
      all.flatMap(({ sample }) => sample),
      reachSampleMax,
    ),
  };
}
