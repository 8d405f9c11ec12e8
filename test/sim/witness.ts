// What must hold, whatever happens. The witness sees what goes into every spool, what every log takes, what secondaries are
// told and what replicas say, and asks the globals for all they have.
//
//     accepted_lost    a secondary was told `accepted`; after everything healed a global does not have it, or a primary of that
//                      data centre, if its peer has it or a spool must still keep it
//     sealed_lost      a secondary that lives sealed a batch; after everything healed a global does not have it
//     durable_lost     a secondary was told `durable`; a global that answers does not have it, at any time
//     wrong_value      a global has a value that differs from what its target told
//     never_told       a global has a sample that no target told
//     doubled          a slot has two scrapes at one global
//     outranked        a global has a slot's lesser scrape although the better one was accepted
//     durable_early    a secondary is told `durable` before both globals said so; held_early: `held`, before both primaries
//     token_back, two_holders    who acts under the pair's lease
//     generation_back  a primary wrote, or a secondary took, an older generation than before
//     reader_back      a replica went back in its log although the log lost nothing
//     watermark_back   a replica took back what it had said to be durable
//     told_failed      a secondary that a primary called cut off from its targets told one that is well as failed
//     thrown           the code threw where nobody expected it
//
// What a spool dropped and told may be missing, and what cannot be read without it (drops.ts).

import { readBatchHeader } from "#/lib/codec/batch.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import { decodeGeneration, type GenerationHeader, readGenerationHeader } from "#/lib/codec/generation.ts";
import type { BackChannel } from "#/lib/commitlog/commitlog.ts";
import { comparePositions } from "#/lib/commitlog/subjects.ts";
import type { LedgerBook } from "#/lib/ledger/book.ts";
import { type Generation, isNewer } from "#/lib/model/generation.ts";
import { batchKey, type RunId, runKey, type Watermark } from "#/lib/model/identity.ts";
import type { LogEntry, LogPosition } from "#/lib/model/log.ts";
import { isStored, type Outcome, outranks, type RankedOutcome } from "#/lib/model/outcome.ts";
import type { ReplicaReport } from "#/lib/model/report.ts";
import { reportRows, type ScrapeFacts } from "#/lib/model/scrape.ts";
import type { SampleSource } from "#/lib/model/source.ts";
import { isStale, wordsOf } from "#/lib/model/value.ts";
import type { PushResponse, ReachOrder } from "#/lib/wire/session.ts";
import { LedgerAudit } from "#/test/sim/audit.ts";
import { SimDrops } from "#/test/sim/drops.ts";
import { GivenUp } from "#/test/sim/givenup.ts";
import type { MachineClock, SimProcess } from "#/test/sim/process.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";
import { type SimTargets, type TargetsCut, timeRow } from "#/test/sim/targets.ts";

export interface Violation {
  readonly code: string;
  readonly message: string;
  readonly step: number;
  readonly timeMs: number;
}

interface Told extends RankedOutcome {
  readonly instance: string;
  readonly timestampMs: number;
  readonly slot: number;
  /** What the body said of its time. Two scrapes of one slot carry the same timestamp. */
  readonly bodyMs: number;
  readonly batch: string;
  readonly run: RunId;
  readonly sequence: number;
}

interface Run {
  readonly id: RunId;
  readonly decoder: RunDecoder;
  /** By sequence, the scrapes that stored. */
  readonly batches: Map<number, readonly Told[]>;
  readonly appended: Set<number>;
  accepted: number;
  /** Of those, what the globals must have once all has healed. */
  owed: number;
  /** The same of what was sealed, where whoever sealed it lives. */
  owedSealed: number;
  durable: number;
  held: number;
}

interface Holder {
  readonly token: number;
  readonly holder: string;
  readonly others: ReadonlySet<string>;
}

/** How far one life of a replica had come with a log. */
interface Reader {
  readonly position: LogPosition;
  /** Losses of that log that it may still stumble over have a higher number. */
  readonly losses: number;
}

/** A secondary's machine. */
interface Scraping {
  readonly name: string;
  readonly clock: MachineClock;
  readonly targetsCut: TargetsCut | undefined;
}

const violationsMax = 20;
/** A secondary waits a second longer for a verdict. */
const verdictMsMax = 7000;
/** Longer than a scrape of a target that was dead or slow takes to be told. */
const wellMsMin = 60_000;
const globalCount = 2;
/**
 * What a slot's other scrape may be away from it, so that both or neither is within a look's range: an interval, because who was
 * paused scrapes the present slot when it wakes, and what the clocks of two secondaries may differ.
 */
const slotSpreadMs = 45_000;
const reports = new Set<string>(reportRows);

export class Witness {
  readonly violations: Violation[] = [];
  readonly drops = new SimDrops();
  readonly counts = { dropped: 0, excused: 0, scrapes: 0, accepted: 0, durable: 0, samples: 0, moves: 0, slots: 0 };
  /** Of each secondary that was started, the present boot epoch. */
  readonly #epochs = new Map<string, number>();
  readonly #audit = new LedgerAudit();
  readonly #targets: SimTargets;
  readonly #scheduler: Scheduler;
  readonly #primaries: (datacenter: string) => number;
  readonly #runs = new Map<string, Run>();
  /** By instance, timestamp and the time in the body. */
  readonly #told = new Map<string, Told>();
  /** By run, then by replica of that tier: what it said to be durable. */
  readonly #watermarks = {
    primary: new Map<string, Map<string, number>>(),
    global: new Map<string, Map<string, number>>(),
  };
  readonly #givenUp = new GivenUp();
  readonly #tokens = new Map<string, Holder>();
  /** `secondary instance`, of what was told as failed last. */
  readonly #failing = new Set<string>();
  readonly #written = new Map<string, GenerationHeader>();
  readonly #taken = new Map<string, Generation>();
  readonly #readers = new Map<string, Reader>();
  readonly #losses = new Map<string, number>();
  readonly #outcomes = new Map<string, Map<Outcome, number>>();
  /** Secondaries that a primary called cut off: since when by their own clocks, and how these were off. */
  readonly #calledCutOff = new Map<string, { readonly sinceMs: number; readonly offsetMs: number }>();

  constructor(options: {
    readonly targets: SimTargets;
    readonly scheduler: Scheduler;
    /** How many primaries a data centre has. */
    readonly primaries: (datacenter: string) => number;
  }) {
    this.#targets = options.targets;
    this.#scheduler = options.scheduler;
    this.#primaries = options.primaries;
  }

  /** The process that last said that it has the say among the primaries of a data centre, or the globals; "" before. */
  holderOf(pair: string): string {
    return this.#tokens.get(pair)?.holder ?? "";
  }

  violated(code: string, message: string): void {
    if (this.violations.length >= violationsMax) return;
    this.violations.push({ code, message, step: this.#scheduler.steps, timeMs: this.#scheduler.nowMs });
  }

  /** Of one secondary's store: told of each value that is put, and of each key that is deleted. */
  spool(datacenter: string, machine: Scraping): (key: string, value: Uint8Array | undefined) => void {
    const secondary = machine.name;
    return (key, value) => {
      if (!value) return this.#deletes(datacenter, secondary, key);
      if (key === "meta/generation") return this.#takes(secondary, decodeGeneration(value));
      // A new start: what it had taken may not have reached the disk.
      if (key === "meta/boot_epoch") {
        this.#taken.delete(secondary);
        this.#epochs.set(`${datacenter}/${secondary}`, Number(Buffer.from(value).toString()));
        this.#calledCutOff.delete(secondary);
      }
      if (!key.startsWith("batch/")) return;
      const header = readBatchHeader(value);
      if (header.datacenter !== datacenter || header.secondary !== secondary) {
        return this.violated("never_told", `${secondary} spooled ${batchKey(header)}`);
      }
      const run = this.#runOf(header);
      if (run.batches.has(header.sequence)) return;
      const scrapes: Told[] = [];
      const { dropped } = run.decoder.decode(value, ({ target, facts, layout, values }) => {
        const instance = target.labels.find(([name]) => name === "instance")![1];
        count(this.#outcomes, secondary, facts.outcome);
        this.#audit.told(instance, facts, { run: runKey(header), sequence: header.sequence });
        const way = `${secondary} ${instance}`;
        if (facts.outcome === "failed_connect" || facts.outcome === "failed_timeout") {
          // That a target still fails which was told as failed before, because nobody could judge then, is no news.
          if (!this.#failing.has(way)) this.#toldFailed(machine, instance, facts);
          this.#failing.add(way);
        }
        if (!isStored(facts.outcome)) return;
        this.#failing.delete(way);
        const { timestampMs, slot, generation, outcome } = facts;
        const bodyMs = values[layout.rows.findIndex(({ name }) => name === timeRow)]!;
        const { sequence } = header;
        const place = { batch: batchKey(header), run: run.id, sequence };
        scrapes.push({ instance, timestampMs, slot, bodyMs, generation, outcome, ...place });
      });
      this.drops.spooled(header, value.slice(), dropped);
      for (const each of scrapes) {
        const name = `${each.instance} ${each.timestampMs} ${each.bodyMs}`;
        // Two secondaries may scrape one slot in the same millisecond: nothing in the samples tells these apart.
        const other = this.#told.get(name);
        if (!other || outranks(each, other)) this.#told.set(name, each);
      }
      this.counts.scrapes += scrapes.length;
      run.batches.set(header.sequence, scrapes);
    };
  }

  appended(datacenter: string, entry: Pick<LogEntry, "kind" | "payload">, id: string): void {
    if (entry.kind === "batch") {
      const header = readBatchHeader(entry.payload);
      // What a replica misses is put into the log again, by a name that the log did not have lately.
      if (id.replace(/\/again\/\d+$/, "") !== batchKey(header))
        this.violated("never_told", `${id} holds ${batchKey(header)}`);
      this.#runOf(header).appended.add(header.sequence);
      this.drops.appended(id);
      this.counts.dropped = this.drops.told;
    } else if (entry.kind === "generation") this.#writes(datacenter, readGenerationHeader(entry.payload));
  }

  /** From now on the globals owe what was accepted until now, and what was sealed by those who live. */
  owe(): void {
    for (const run of this.#runs.values()) {
      run.owed = run.accepted;
      const { bootEpoch, datacenter, secondary } = run.id;
      if (this.#epochs.get(`${datacenter}/${secondary}`) !== bootEpoch) continue;
      run.owedSealed = Math.max(0, ...run.batches.keys());
    }
  }

  /** The log of that data centre, or the hub's copy of all, lost entries: who has read them will go back. */
  lost(log: string): void {
    this.#losses.set(log, (this.#losses.get(log) ?? 0) + 1);
  }

  /** How many of each outcome a secondary told. */
  outcomesOf(secondary: string): Readonly<Partial<Record<Outcome, number>>> {
    return Object.fromEntries(this.#outcomes.get(secondary) ?? []);
  }

  /** By instance of that data centre, the longest time between two of its scrapes that stored, whoever did. */
  gaps(datacenter: string): ReadonlyMap<string, number> {
    const times = new Map<string, number[]>();
    for (const { batches, id } of this.#runs.values()) {
      if (id.datacenter !== datacenter) continue;
      for (const { bodyMs, instance } of [...batches.values()].flat()) {
        const known = times.get(instance);
        if (known) known.push(bodyMs);
        else times.set(instance, [bodyMs]);
      }
    }
    const gaps = new Map<string, number>();
    for (const [instance, all] of times) {
      const sorted = all.toSorted((a, b) => a - b);
      gaps.set(instance, Math.max(...sorted.slice(1).map((ms, i) => ms - sorted[i]!)));
    }
    return gaps;
  }

  /** A secondary's way to its targets is whole again. */
  reaches(secondary: string): void {
    this.#calledCutOff.delete(secondary);
  }

  /** A secondary hears that. */
  heard(datacenter: string, machine: Scraping, message: unknown): void {
    const secondary = machine.name;
    const { verdict } = message as ReachOrder;
    // A greeting counts only for who has nothing to say itself.
    if (verdict && verdict.sinceMs > 0) this.#judged(machine, verdict);
    const { ack } = message as PushResponse;
    if (!ack) return;
    const { bootEpoch, shard, run: number, accepted, durable, held } = ack;
    const key = runKey({ datacenter, secondary, bootEpoch, shard, run: number });
    const run = this.#runs.get(key);
    if (!run) return;
    // No fault here keeps a global away for an hour, from when on it would be left out.
    this.#expectSaid("durable_early", key, durable, this.#watermarks.global, globalCount);
    this.#expectSaid("held_early", key, held, this.#watermarks.primary, this.#primaries(datacenter));
    run.accepted = Math.max(run.accepted, accepted);
    run.durable = Math.max(run.durable, durable);
    run.held = Math.max(run.held, held);
  }

  #deletes(datacenter: string, secondary: string, key: string): void {
    if (!key.startsWith("batch/")) return;
    const [bootEpoch, shard, number, sequence] = key.split("/").slice(1, 5).map(Number) as [
      number,
      number,
      number,
      number,
    ];
    const run = this.#runOf({ datacenter, secondary, bootEpoch, shard, run: number });
    if (sequence > run.durable && sequence <= run.held) this.drops.heldDeleted(run.id, sequence);
  }

  /** Hears what that replica says of itself. */
  backChannel(channel: BackChannel, process: SimProcess): BackChannel {
    let last: readonly Watermark[] = [];
    return {
      subscribe: (callback) => channel.subscribe(callback),
      publish: (report) => {
        const pair = report.tier === "global" ? "global" : report.datacenter;
        if (report.leaseToken > 0) this.#holds(pair, report.leaseToken, process.name);
        if (report.tier === "primary") this.#givenUp.hear(report, this.#scheduler.nowMs);
        if (report.position) this.#reads(process.name, report, report.position);
        const ofTier = this.#watermarks[report.tier];
        for (const [i, watermark] of report.watermarks.entries()) {
          // The same object: this replica said it the last time.
          if (watermark === last[i]) continue;
          const key = runKey(watermark);
          let said = ofTier.get(key);
          if (!said) ofTier.set(key, (said = new Map()));
          const before = said.get(report.replica) ?? 0;
          if (watermark.sequence < before) {
            this.violated("watermark_back", `${report.replica} ${key}: ${watermark.sequence} after ${before}`);
          }
          said.set(report.replica, watermark.sequence);
        }
        last = report.watermarks;
        channel.publish(report);
      },
    };
  }

  #judged(
    { clock, name }: Scraping,
    { sinceMs, verdict }: { readonly sinceMs: number; readonly verdict: string },
  ): void {
    if (verdict !== "cut_off") this.#calledCutOff.delete(name);
    // Later it may have given up waiting, and told what it held.
    else if (!this.#calledCutOff.has(name) && clock.nowMs() - sinceMs < verdictMsMax) {
      this.#calledCutOff.set(name, { sinceMs, offsetMs: clock.offsetMs });
    }
  }

  /**
   * What it scraped since its suspicion began, which led to the verdict that it is cut off, says nothing of its targets, as long as
   * nobody says anything else. Whoever reached some in a row takes itself for well again, so this is asked only while its way to
   * all of them is cut.
   */
  #toldFailed({ clock, name, targetsCut }: Scraping, instance: string, { outcome, timestampMs }: ScrapeFacts): void {
    const called = this.#calledCutOff.get(name);
    if (!called || !targetsCut || called.offsetMs !== clock.offsetMs || timestampMs < called.sinceMs) return;
    const target = Number(instance.split(":")[1]) - 1000;
    if (this.#targets.wellForMs(target) < wellMsMin) return;
    this.violated("told_failed", `${name} told ${outcome} of ${instance} at ${timestampMs}`);
  }

  #expectSaid(
    code: string,
    key: string,
    told: number,
    ofTier: ReadonlyMap<string, ReadonlyMap<string, number>>,
    replicas: number,
  ): void {
    if (told === 0) return;
    const said = [...(ofTier.get(key) ?? [])];
    const enough = said.filter(([, sequence]) => sequence >= told);
    if (enough.length >= replicas) return;
    const text = said.map(([name, sequence]) => `${name} ${sequence}`).join(", ");
    this.violated(code, `${key}: ${told} was told, and was said by: ${text}`);
  }

  #holds(pair: string, token: number, holder: string): void {
    const known = this.#tokens.get(pair);
    if (!known || token > known.token) {
      if (known) this.counts.moves++;
      this.#tokens.set(pair, { token, holder, others: new Set(known ? [...known.others, known.holder] : []) });
    } else if (token < known.token) this.violated("token_back", `${holder} acts under ${token} after ${known.token}`);
    else if (known.holder !== holder) this.violated("two_holders", `${holder} and ${known.holder} hold ${token}`);
  }

  #reads(process: string, { datacenter, tier }: ReplicaReport, position: LogPosition): void {
    const key = `${process} ${datacenter}`;
    const losses = (this.#losses.get(datacenter) ?? 0) + (tier === "global" ? (this.#losses.get("hub") ?? 0) : 0);
    const before = this.#readers.get(key);
    const isBack = before !== undefined && comparePositions(position, before.position, datacenter) < 0;
    if (isBack && losses === before.losses) {
      const from = `${before.position.stream} ${before.position.sequence}`;
      this.violated("reader_back", `${key}: ${position.stream} ${position.sequence} after ${from}`);
    }
    // A new life may find a loss that came before it.
    this.#readers.set(key, { position, losses: isBack ? losses : (before?.losses ?? 0) });
  }

  #writes(datacenter: string, generation: GenerationHeader): void {
    const last = this.#written.get(datacenter);
    // The same one is written again after the log lost it, or because its answer was lost.
    if (last && generation.token === last.token && generation.number < last.number) {
      const { number, primary, token } = generation;
      this.violated("generation_back", `${primary} wrote ${number} after ${last.number} under token ${token}`);
    }
    if (!last || isNewer(generation, last)) this.#written.set(datacenter, generation);
  }

  #takes(secondary: string, generation: Generation): void {
    const last = this.#taken.get(secondary);
    if (last && isNewer(last, generation)) {
      const nameOf = ({ number, token }: Generation) => `${number} under ${token}`;
      this.violated("generation_back", `${secondary} took ${nameOf(generation)} after ${nameOf(last)}`);
    }
    this.#taken.set(secondary, generation);
  }

  /**
   * What a global, or a primary of that data centre, has of everything from that wall time on that is durable; at the end of
   * everything that was accepted, too.
   */
  async look(
    name: string,
    source: SampleSource,
    options: { readonly atTheEnd: boolean; readonly fromMs: number; readonly datacenter?: string },
  ): Promise<void> {
    const found = await this.#read(name, source, options.fromMs);
    const bySlot = new Map<string, Told>();
    let samples = 0;
    for (const [key, rows] of found) {
      samples += rows.size;
      const told = this.#told.get(`${key} ${rows.get(`${timeRow}{}`)}`);
      if (!told) {
        this.violated("never_told", `${name} has ${key} that no secondary spooled`);
        continue;
      }
      this.#compare(name, told, rows);
      const slot = `${told.instance} ${told.slot}`;
      const other = bySlot.get(slot);
      if (other) this.violated("doubled", `${name} has ${key} and ${other.timestampMs} for one slot`);
      bySlot.set(slot, told);
    }
    if (options.datacenter === undefined) this.counts.samples = samples;
    let excused = 0;
    const expect = (told: Told, code: string) => {
      if (told.timestampMs < options.fromMs + slotSpreadMs) return;
      const there = bySlot.get(`${told.instance} ${told.slot}`);
      if (
        (!there || outranks(told, there)) &&
        this.drops.excuses(told.run, told.sequence, `${told.instance} ${told.slot}`)
      )
        excused++;
      else if (!there) this.violated(code, `${name} lacks ${told.instance} at ${told.timestampMs} (${told.batch})`);
      else if (outranks(told, there) && options.atTheEnd) {
        this.violated(
          "outranked",
          `${name} has ${there.batch} (generation ${there.generation}) instead of ${told.batch} (${told.generation}) for ${told.instance} ${told.slot}`,
        );
      }
    };
    let accepted = 0;
    let durable = 0;
    for (const run of this.#runs.values()) {
      if (options.datacenter !== undefined) {
        if (options.datacenter === run.id.datacenter) this.#expectAtPrimary(run, expect);
        continue;
      }
      for (const [sequence, scrapes] of run.batches) {
        if (sequence <= run.durable) {
          durable += scrapes.length;
          for (const told of scrapes) expect(told, "durable_lost");
        } else if (options.atTheEnd && sequence <= run.owed && run.appended.has(sequence)) {
          for (const told of scrapes) expect(told, "accepted_lost");
        } else if (options.atTheEnd && sequence <= run.owedSealed) {
          for (const told of scrapes) expect(told, "sealed_lost");
        }
        if (sequence <= run.accepted) accepted += scrapes.length;
      }
    }
    if (options.datacenter !== undefined) return;
    this.counts.accepted = accepted;
    this.counts.durable = durable;
    this.counts.excused = excused;
  }

  /** A global's ledgers, at the end: see audit.ts. */
  async audit(
    name: string,
    source: SampleSource,
    options: { readonly ledgers: Iterable<LedgerBook>; readonly nowMs: number },
  ): Promise<void> {
    const stored = await this.slotsAt(name, source);
    const isOwed = (key: string, sequence: number, slot: string) => {
      const { appended, durable, id, owed, owedSealed } = this.#runs.get(key)!;
      if (this.drops.excuses(id, sequence, slot)) return false;
      return sequence <= durable || sequence <= owedSealed || (sequence <= owed && appended.has(sequence));
    };
    const violated = (code: string, message: string) => this.violated(code, message);
    for (const ledger of options.ledgers) {
      const { slots } = this.#audit.check(name, ledger, { nowMs: options.nowMs, stored, isOwed, violated });
      this.counts.slots += slots;
    }
  }

  /**
   * What is durable and no primary has, none can give to another: only globals have it, and these do not write the log. What
   * follows in that run is not asked for either, for it may not be readable.
   */
  #expectAtPrimary(run: Run, expect: (told: Told, code: string) => void): void {
    const said = this.#watermarks.primary.get(runKey(run.id)) ?? new Map<string, number>();
    for (const [sequence, scrapes] of run.batches) {
      if (sequence > run.owed || !run.appended.has(sequence)) continue;
      if (sequence <= run.durable && !this.#givenUp.isWithSome(said, run.id, sequence)) return;
      for (const told of scrapes) expect(told, "accepted_lost");
    }
  }

  /** Of each instance, the slots that a global has a stored scrape of; what no secondary spooled is told as a violation. */
  async slotsAt(name: string, source: SampleSource): Promise<ReadonlyMap<string, ReadonlySet<number>>> {
    const slots = new Map<string, Set<number>>();
    for (const [key, rows] of await this.#read(name, source, 0)) {
      const told = this.#told.get(`${key} ${rows.get(`${timeRow}{}`)}`);
      if (!told) {
        this.violated("never_told", `${name} has ${key} that no secondary spooled`);
        continue;
      }
      const known = slots.get(told.instance) ?? new Set();
      if (known.has(told.slot)) this.violated("doubled", `${name} has slot ${told.slot} of ${told.instance} twice`);
      slots.set(told.instance, known.add(told.slot));
    }
    return slots;
  }

  #compare(name: string, told: Told, rows: ReadonlyMap<string, number>): void {
    const timeMs = rows.get(`${timeRow}{}`);
    const target = Number(told.instance.split(":")[1]) - 1000;
    const truth = timeMs === undefined ? undefined : this.#targets.truth(target, timeMs);
    const where = `${name}: ${told.instance} at ${told.timestampMs}`;
    if (!truth) {
      this.violated("never_told", `${where} tells ${timeMs}, and the target told nothing then`);
      return;
    }
    for (const [row, value] of rows) {
      const expected = truth.get(row);
      if (expected === undefined) this.violated("never_told", `${where}: ${row} was not in that body`);
      else if (!Object.is(expected, value))
        this.violated("wrong_value", `${where}: ${row} expected ${expected}, got ${value}`);
    }
    for (const row of truth.keys()) if (!rows.has(row)) this.violated("accepted_lost", `${where}: ${row} is missing`);
  }

  async #read(name: string, source: SampleSource, fromMs: number): Promise<Map<string, Map<string, number>>> {
    const everything = {
      name: "job",
      operator: "=" as const,
      value: "node",
      matches: (text: string) => text === "node",
    };
    const range = { fromMs, untilMs: 8.64e15 };
    const { series } = await source.select([everything], range, new AbortController().signal);
    const found = new Map<string, Map<string, number>>();
    for (const { labels, timesMs, values } of series) {
      const of = new Map(labels);
      const metric = of.get("__name__")!;
      if (reports.has(metric)) continue;
      const instance = of.get("instance")!;
      const own = labels.filter(([label]) => !targetLabels.has(label)).map(([label, value]) => `${label}="${value}"`);
      const row = `${metric}{${own.join(",")}}`;
      const words = wordsOf(values);
      for (const [i, timeMs] of timesMs.entries()) {
        if (isStale(words, i)) continue;
        const key = `${instance} ${timeMs}`;
        let rows = found.get(key);
        if (!rows) found.set(key, (rows = new Map()));
        if (rows.has(row)) this.violated("doubled", `${name} has ${row} of ${key} twice`);
        rows.set(row, values[i]!);
      }
    }
    return found;
  }

  #runOf({ datacenter, secondary, bootEpoch, shard, run: number }: RunId): Run {
    const id = { datacenter, secondary, bootEpoch, shard, run: number };
    const key = runKey(id);
    let run = this.#runs.get(key);
    if (!run) {
      run = {
        id,
        decoder: new RunDecoder(id),
        batches: new Map(),
        appended: new Set(),
        accepted: 0,
        owed: 0,
        owedSealed: 0,
        durable: 0,
        held: 0,
      };
      this.#runs.set(key, run);
    }
    return run;
  }
}

function count(outcomes: Map<string, Map<Outcome, number>>, secondary: string, outcome: Outcome): void {
  let of = outcomes.get(secondary);
  if (!of) outcomes.set(secondary, (of = new Map()));
  of.set(outcome, (of.get(outcome) ?? 0) + 1);
}

const targetLabels = new Set(["__name__", "job", "instance", "datacenter", "region"]);
