// A replica reads one data centre's log into its own journal and into a head. Both primaries are replicas of their own log,
// both globals of every one.
//
// The journal comes first, verbatim and with the entry's place in the log; then the entry is decoded and the head has it;
// and within a second it is fsynced, which alone moves the watermarks that secondaries are told of. The log is transport:
// after a crash the journal is replayed into the head and reading goes on after the last entry in it. Nothing that the log
// may hold ends a replica: what is bad is named and counted, what is missing is counted and shown.

import { setImmediate } from "node:timers/promises";
import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Timer } from "#/lib/clock/clock.ts";
import { BadBatch, type BatchHeader, headerOf } from "#/lib/codec/batch.ts";
import { type BatchDecoder, RunDecoder } from "#/lib/codec/decode.ts";
import { Journal, type JournalPlace } from "#/lib/journal/journal.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { BadHeartbeat } from "#/lib/model/heartbeat.ts";
import type { GenerationSummary } from "#/lib/model/history.ts";
import { type BatchRange, type RunId, runKey, type Watermark } from "#/lib/model/identity.ts";
import {
  type EntryReader,
  type LogEntry,
  type LogKind,
  type LogPosition,
  entryName as nameOf,
} from "#/lib/model/log.ts";
import type { LastOutcome } from "#/lib/model/outcome.ts";
import type { Scrape } from "#/lib/model/scrape.ts";
import { DroppedRanges, type ToldRange } from "#/lib/replica/dropped.ts";
import { DurableMarks } from "#/lib/replica/durable.ts";
import { Generations, type GenerationTrail, type TakenGeneration } from "#/lib/replica/generations.ts";
import { Heartbeats } from "#/lib/replica/heartbeats.ts";
import { LayoutCache } from "#/lib/replica/layouts.ts";
import type { ReplicaOptions } from "#/lib/replica/options.ts";
import { LastOutcomes } from "#/lib/replica/outcomes.ts";
import { ReplicaProblems } from "#/lib/replica/problems.ts";
import {
  type Checkpoint,
  checkpointKind,
  decodeCheckpoint,
  decodeEntry,
  encodeCheckpoint,
  encodeEntry,
} from "#/lib/replica/record.ts";
import type { ReplicaRun } from "#/lib/replica/run.ts";
import { ReplicaRuns } from "#/lib/replica/runs.ts";
import { Stock } from "#/lib/replica/stock.ts";
import type { ReceivedHeartbeat, ReplicaProblem, ReplicaSummary } from "#/lib/replica/summary.ts";
import { Tally } from "#/lib/replica/tally.ts";
import { countPresent } from "#/lib/store/chunk.ts";
import type { Counter } from "#/lib/telemetry/registry.ts";

/**
 * The journal must rebuild what decoders refer to, not the head alone: a target's keyframe comes every 5 minutes, and names
 * a layout's rows when they are 5 minutes old, which makes 10; the rest is for long intervals and late flushes.
 */
const readabilityMs = 15 * minuteMs;

/** A run whose first batch here is not its first may have begun before the log that a new replica finds. */
const joiningMs = 10 * minuteMs;

/** Samples decoded before others get the event loop: some 20 ms. */
const samplesPerTurn = 200_000;

const trimEveryMs = minuteMs;
const retryMs = secondMs;

export class Replica {
  /** What the journal holds, for those who miss it. */
  readonly stock: Stock;
  readonly #options: ReplicaOptions;
  readonly #label: { readonly datacenter: string };
  readonly #runs: ReplicaRuns;
  readonly #layouts = new LayoutCache();
  readonly #tally: Tally;
  readonly #outcomes = new LastOutcomes();
  readonly #generations: Generations;
  readonly #dropped: DroppedRanges;
  /** Whose secondary just told of dropped batches. */
  #toldRuns: RunId[] = [];
  readonly #entries: Readonly<Record<LogKind, Counter>>;
  readonly #problems: ReplicaProblems;
  readonly #generationCallbacks: ((generation: Generation) => void)[] = [];
  readonly #droppedCallbacks: ((range: ToldRange) => void)[] = [];
  readonly #durableCallbacks: (() => void)[] = [];
  readonly #heartbeatCallbacks: ((heartbeat: ReceivedHeartbeat) => void)[] = [];
  readonly #lostCallbacks: ((lost: BatchRange) => void)[] = [];
  readonly #durable = new DurableMarks();
  #journal!: Journal;
  #replaying = true;
  #position: LogPosition | undefined;
  /** By stream, the last of its entries that was replayed. */
  readonly #reached = new Map<string, LogPosition>();
  #joiningUntilMs = Number.NEGATIVE_INFINITY;
  #targetIds: ReadonlySet<string> | undefined;
  readonly #heartbeats = new Heartbeats();
  #samplesThisTurn = 0;
  #trimming: Timer | undefined;

  /** Opens and locks the journal, and replays it into the head. Throws JournalError and DirectoryLocked. */
  static async open(options: ReplicaOptions): Promise<Replica> {
    const replica = new Replica(options);
    await replica.#open();
    return replica;
  }

  private constructor(options: ReplicaOptions) {
    const { newDecoder = (run, known) => new RunDecoder(run, known) } = options;
    this.#options = options;
    this.#label = { datacenter: options.datacenter };
    this.#tally = new Tally(options.clock);
    this.#generations = new Generations(options.datacenter);
    this.#dropped = new DroppedRanges(options.datacenter);
    const entriesOf = (kind: LogKind) =>
      options.metrics.counter("heliograph_replica_entries_total", { datacenter: options.datacenter, kind });
    this.#entries = {
      batch: entriesOf("batch"),
      generation: entriesOf("generation"),
      heartbeat: entriesOf("heartbeat"),
    };
    this.#problems = new ReplicaProblems(options);
    this.#runs = new ReplicaRuns({
      decode: (decoder, batch, { secondary }) => this.#decode(decoder, batch, secondary),
      reread: (place) => this.#reread(place),
      newDecoder: (run) => newDecoder(run, { layoutOf: (id) => this.#layouts.get(id) }),
      droppedUntil: (key, sequence) => this.#dropped.until(key, sequence),
      onHole: (run) => this.#onHole(run),
      onRepaired: (run) => options.log.info({ run: run.key }, "A hole in a run was filled; all of it is readable."),
      onGivenUp: (_, lost) => this.#givenUp(lost),
    });
    this.stock = new Stock({ runs: this.#runs, journal: () => this.#journal });
  }

  /** The last entry taken; reading resumes after it. */
  get position(): LogPosition | undefined {
    return this.#position;
  }

  /** Everything up to it is on disk here. */
  get durablePosition(): LogPosition | undefined {
    return this.#durable.position;
  }

  /** In each segment of the log that the journal had entries of when it was opened, the last one. */
  reached(): Iterable<LogPosition> {
    return this.#reached.values();
  }

  /** A line a run: the highest sequence up to which every batch is journalled and fsynced here. */
  watermarks(): readonly Watermark[] {
    return this.#runs.watermarks();
  }

  /** What it misses although later batches of those runs came, newest first; at most `missingMax`. */
  missing(): readonly BatchRange[] {
    return this.#runs.missing();
  }

  /** The newest that was read. */
  get generation(): Generation | undefined {
    return this.#generations.newest;
  }

  /** Where the log tells the newest generation to somebody who knows nothing; undefined when that is not known. */
  get generationTrail(): GenerationTrail | undefined {
    return this.#generations.trail;
  }

  /** The last generations, newest first: those that the journal still had, and those that were read since. */
  generations(limit?: number): readonly GenerationSummary[] {
    return this.#generations.summaries(limit);
  }

  /** The one that was sent last of those that were read. */
  get lastHeartbeat(): ReceivedHeartbeat | undefined {
    return this.#heartbeats.newest;
  }

  /** The newest few, oldest first. */
  get problems(): readonly ReplicaProblem[] {
    const failure = this.#journal.failure;
    if (!failure) return this.#problems.newest;
    return [
      ...this.#problems.newest,
      { code: failure.code, message: failure.message, atMs: this.#options.clock.nowMs() },
    ];
  }

  /** What became of the newest slot of a target, as far as the log was read; undefined when nothing was told of it. */
  lastOutcome(id: string): LastOutcome | undefined {
    return this.#outcomes.get(id);
  }

  onGeneration(callback: (generation: Generation) => void): void {
    this.#generationCallbacks.push(callback);
  }

  /** The last ones that secondaries dropped and told of, oldest first. */
  get dropped(): readonly ToldRange[] {
    return this.#dropped.all;
  }

  /** Called with each range of dropped batches when it is told for the first time, not while the journal is replayed. */
  onDropped(callback: (range: ToldRange) => void): void {
    this.#droppedCallbacks.push(callback);
  }

  /** Called when watermarks moved. */
  onDurable(callback: () => void): void {
    this.#durableCallbacks.push(callback);
  }

  onHeartbeat(callback: (heartbeat: ReceivedHeartbeat) => void): void {
    this.#heartbeatCallbacks.push(callback);
  }

  /** Nobody sent those batches for so long that their run goes on without them. */
  onLost(callback: (lost: BatchRange) => void): void {
    this.#lostCallbacks.push(callback);
  }

  summary(): ReplicaSummary {
    const { up, down, lastStoredMs } = this.#outcomes;
    return {
      targets: this.generation?.targets.length ?? up + down,
      up,
      down,
      samplesPerSecond: this.#tally.samplesPerSecond(),
      lastSampleMs: lastStoredMs,
      missingBatches: this.#runs.missingBatches,
    };
  }

  /**
   * Reads until the signal aborts. Outages do not end it. When the log cannot be read on from where it was (`hole`,
   * `recreated`, `shortened`), that is said and counted, and reading goes on at the place that the reader names: not
   * reading any more would lose all that is still to come. Call it once at a time.
   */
  async run(reader: EntryReader, signal: AbortSignal): Promise<void> {
    let after = this.#position;
    while (!signal.aborted) {
      const entries = reader.read(after, signal)[Symbol.asyncIterator]();
      try {
        for (;;) {
          let next: IteratorResult<LogEntry>;
          try {
            next = await entries.next();
          } catch (error) {
            after = this.#onReadError(error, after);
            break;
          }
          if (next.done) break;
          if (!this.#journal.hasRoom) await this.#journal.room(signal);
          if (signal.aborted) break;
          const taking = this.#take(next.value);
          if (taking) await taking;
          after = this.#position;
          if (this.#samplesThisTurn >= samplesPerTurn) await this.#turn();
        }
      } finally {
        await entries.return?.();
      }
      await this.#options.clock.sleep(retryMs, signal);
    }
  }

  /** Makes durable what was read, and unlocks. Abort `run` first. Throws JournalError when the disk does not take it. */
  async close(): Promise<void> {
    this.#trimming?.cancel();
    await this.#journal.close();
  }

  async #open(): Promise<void> {
    const { clock, dir, disk, log, metrics } = this.#options;
    const label = this.#label;
    const startedMs = clock.monotonicMs();
    const fsyncSeconds = metrics.histogram("heliograph_journal_fsync_seconds", label);
    this.#journal = await Journal.open({
      dir,
      disk,
      clock,
      log,
      preamble: () => [this.#checkpoint()],
      onDurable: (records) => this.#onDurable(records),
      onSync: (durationMs) => fsyncSeconds.observe(durationMs / secondMs),
      onFailure: () => metrics.add("heliograph_journal_write_errors_total", 1, label),
    });
    metrics.add("heliograph_journal_torn_bytes_total", this.#journal.tornBytes, label);
    try {
      await this.#replay();
    } catch (error) {
      await this.#journal.close();
      throw error;
    }
    metrics.onCollect(() => this.#collect());
    this.#trimming = clock.every(trimEveryMs, () => void this.#trim());
    const durationMs = clock.monotonicMs() - startedMs;
    log.info({ bytes: this.#journal.bytes, runs: this.#runs.size, durationMs }, "The journal was replayed.");
  }

  async #replay(): Promise<void> {
    let first = true;
    for await (const records of this.#journal.records()) {
      for (const record of records) {
        if (record.kind === checkpointKind) {
          // Only the oldest one tells something: what the later ones say was just replayed.
          if (first) this.#restore(decodeCheckpoint(record));
        } else {
          const entry = decodeEntry(record);
          const applying = entry && this.#apply(entry, record.place);
          if (applying) await applying;
        }
        first = false;
        if (this.#samplesThisTurn >= samplesPerTurn) await this.#turn();
      }
    }
    for (const run of this.#runs.all()) run.durableSequence = run.sequence;
    this.#durable.position = this.#position;
    this.#replaying = false;
  }

  #reach(position: LogPosition): void {
    const known = this.#reached.get(position.stream);
    if (!known || known.sequence < position.sequence) this.#reached.set(position.stream, position);
  }

  #restore(checkpoint: Checkpoint): void {
    this.#position = checkpoint.position;
    if (checkpoint.position) this.#reach(checkpoint.position);
    this.#joiningUntilMs = checkpoint.joiningUntilMs;
    for (const range of checkpoint.dropped) if (this.#dropped.take(range)) this.#options.book?.dropped(range);
    this.#runs.restore(this.#options.datacenter, checkpoint.runs, checkpoint.position);
    if (checkpoint.generation) this.#onTaken(checkpoint.generation, this.#generations.restore(checkpoint.generation));
  }

  #checkpoint() {
    return encodeCheckpoint({
      position: this.#position,
      joiningUntilMs: this.#joiningUntilMs,
      runs: this.#runs.checkpoint(),
      generation: this.#generations.checkpoint(),
      dropped: this.#dropped.all,
    });
  }

  /** A new entry: refuses what was read before, journals it, and applies it. */
  #take(entry: LogEntry): Promise<void> | undefined {
    if (this.#position === undefined && entry.position.sequence > 1) {
      this.#joiningUntilMs = this.#options.clock.nowMs() + joiningMs;
    }
    if (this.#isRepeat(entry)) {
      this.#position = entry.position;
      return undefined;
    }
    // Should a segment begin here, its checkpoint says what was before this entry.
    const place = this.#journal.append(encodeEntry(entry));
    this.#durable.awaitPosition(entry.position, this.#journal.appended);
    this.#entries[entry.kind].add(1);
    return this.#apply(entry, place);
  }

  #isRepeat(entry: LogEntry): boolean {
    if (entry.kind !== "batch") return false;
    const header = headerOf(entry.payload);
    if (header instanceof BadBatch || !this.#isOwn(entry, header)) return false;
    if (this.#runs.find(header)?.has(header.sequence) !== true) return false;
    this.stock.cameAgain(header, entry.position);
    this.#options.metrics.add("heliograph_replica_repeated_batches_total", 1, this.#label);
    return true;
  }

  /** The subject says who was allowed to write it; the batch must not claim to be another's. */
  #isOwn(entry: LogEntry, header: BatchHeader): boolean {
    return header.datacenter === this.#options.datacenter && header.secondary === entry.origin;
  }

  /** What an entry means, new or replayed. Nothing in it may throw for what is in the entry. */
  #apply(entry: LogEntry, place: JournalPlace): Promise<void> | undefined {
    this.#position = entry.position;
    this.#options.book?.read(entry.position);
    if (this.#replaying) this.#reach(entry.position);
    switch (entry.kind) {
      case "batch":
        return this.#takeBatch(entry, place);
      case "generation":
        this.#onTaken(entry, this.#generations.take(entry));
        return undefined;
      case "heartbeat":
        return this.#takeHeartbeat(entry);
      default:
        return entry.kind satisfies never;
    }
  }

  async #takeBatch(entry: LogEntry, place: JournalPlace): Promise<void> {
    const header = headerOf(entry.payload);
    if (header instanceof BadBatch) return this.#badBatch(header.code, `${nameOf(entry)}: ${header.message}`);
    if (!this.#isOwn(entry, header)) {
      const claimed = `${header.datacenter}/${header.secondary}`;
      const expected = `${this.#options.datacenter}/${entry.origin}`;
      return this.#badBatch("foreign", `${nameOf(entry)}: expected a batch of ${expected}, got one of ${claimed}`);
    }
    const run = this.#runs.of(header, header.createdMs <= this.#joiningUntilMs);
    if (run.has(header.sequence)) return;
    this.stock.take(header, place.segment);
    const fillsHole = run.hasGap && header.sequence === run.sequence + 1;
    await run.take(header.sequence, entry.payload, place);
    run.position = entry.position;
    if (fillsHole && !this.#replaying) this.stock.cameAgain(header, entry.position);
    this.#awaitFsync(run);
    if (this.#toldRuns.length > 0) await this.#goOn();
  }

  async #goOn(): Promise<void> {
    for (const id of this.#toldRuns.splice(0)) {
      const run = this.#runs.find(id);
      if (!run) continue;
      await run.goOn();
      this.#awaitFsync(run);
    }
  }

  /** The run is durable this far once everything appended up to now is on disk. */
  #awaitFsync(run: ReplicaRun): void {
    if (!this.#replaying) this.#durable.awaitRun(run, this.#journal.appended);
  }

  #decode(decoder: BatchDecoder, batch: Uint8Array, secondary: string): void {
    const { metrics } = this.#options;
    let stored = 0;
    try {
      const decoded = decoder.decode(batch, (scrape) => {
        stored += this.#takeScrape(scrape, secondary);
      });
      // A replayed journal begins amid its runs: that the first minutes refer to what was trimmed is no news.
      if (!this.#replaying && decoded.unreadable > 0) {
        metrics.add("heliograph_replica_unreadable_scrapes_total", decoded.unreadable, this.#label);
      }
      this.#samplesThisTurn += decoded.samples;
      this.#options.book?.batch(decoded.header, decoded.unreadable);
      for (const range of decoded.dropped) this.#onTold({ ...range, secondary });
    } catch (error) {
      if (!(error instanceof BadBatch)) throw error;
      this.#badBatch(error.code, error.message);
    }
    if (this.#replaying) return;
    metrics.add("heliograph_replica_samples_total", stored, this.#label);
    this.#tally.countSamples(stored);
  }

  #onTold(range: ToldRange): void {
    if (!this.#dropped.take(range)) return;
    this.#options.book?.dropped(range);
    const { bootEpoch, from, reason, run, secondary, shard, until } = range;
    this.#toldRuns.push({ datacenter: this.#options.datacenter, secondary, bootEpoch, shard, run });
    if (this.#replaying) return;
    const labels = { ...this.#label, reason };
    this.#options.metrics.add("heliograph_replica_dropped_batches_total", until - from + 1, labels);
    this.#options.log.error({ ...range }, "A secondary dropped batches before every global had them.");
    for (const callback of this.#droppedCallbacks) callback(range);
  }

  /** Returns the number of samples that the head did not have. */
  #takeScrape(scrape: Scrape, secondary: string): number {
    this.#layouts.add(scrape.layout);
    this.#options.book?.scrape(scrape);
    const samples = countPresent(scrape.values, scrape.layout.rows.length);
    if (this.#targetIds?.has(scrape.target.id) !== false) this.#outcomes.take(scrape, { samples, secondary });
    const outcome = this.#options.head.append(scrape, samples);
    return outcome === "appended" || outcome === "merged" ? scrape.layout.rows.length : 0;
  }

  #onTaken(entry: LogEntry, taken: TakenGeneration): void {
    if (taken.outcome === "refused") this.#refused(taken.code, `${nameOf(entry)}: ${taken.message}`);
    if (taken.outcome !== "taken") return;
    const { generation, previous } = taken;
    this.#options.book?.generation(generation);
    this.#targetIds = new Set(generation.targets.map(({ target }) => target.id));
    if (previous) {
      const ended = previous.targets.map(({ target }) => target.id).filter((id) => !this.#targetIds!.has(id));
      this.#options.head.endTargets(ended, { timeMs: generation.validFromMs, generation: generation.number });
      this.#outcomes.forget(ended);
    }
    if (!this.#replaying) for (const callback of this.#generationCallbacks) callback(generation);
  }

  #takeHeartbeat(entry: LogEntry): Promise<void> | undefined {
    if (this.#runs.haveGaps) return this.#beat(entry);
    this.#heard(entry);
    return undefined;
  }

  /** Gaps grow old by heartbeats. */
  async #beat(entry: LogEntry): Promise<void> {
    for (const run of this.#runs.withGaps()) {
      await run.beat();
      this.#awaitFsync(run);
    }
    if (this.#toldRuns.length > 0) await this.#goOn();
    this.#heard(entry);
  }

  #heard(entry: LogEntry): void {
    try {
      const heartbeat = this.#heartbeats.take(entry);
      if (!heartbeat) return;
      this.#options.book?.heartbeat(heartbeat.payload);
      if (!this.#replaying) for (const callback of this.#heartbeatCallbacks) callback(heartbeat);
    } catch (error) {
      if (!(error instanceof BadHeartbeat)) throw error;
      this.#refused(error.code, `${nameOf(entry)}: ${error.message}`);
    }
  }

  #onDurable(records: number): void {
    if (!this.#durable.reach(records)) return;
    // Not within the journal's own work: what a callback throws is no failure to write.
    queueMicrotask(() => {
      for (const callback of this.#durableCallbacks) callback();
    });
  }

  /** Where reading goes on after the reader threw. */
  #onReadError(error: unknown, after: LogPosition | undefined): LogPosition | undefined {
    const { code, message, resumeAfter } = error as Error & { code?: unknown; resumeAfter?: LogPosition };
    if (code !== "hole" && code !== "recreated" && code !== "shortened") {
      this.#options.log.warn({ cause: String(error) }, "The log cannot be read at present; trying again.");
      return after;
    }
    this.#problems.logBreak(
      code,
      `${message}; reading goes on ${resumeAfter ? `after ${resumeAfter.stream} ${resumeAfter.sequence}` : "from the start of what is there"}`,
    );
    return resumeAfter;
  }

  #onHole(run: ReplicaRun): void {
    if (this.#replaying) return;
    this.#problems.hole(`${run.key}: ${run.missing} batches after ${run.sequence} are missing`);
  }

  #badBatch(code: string, message: string): void {
    if (this.#replaying) return;
    this.#problems.badBatch(code, message);
  }

  #refused(code: string, message: string): void {
    if (this.#replaying) return;
    this.#problems.refused(code, message);
  }

  #givenUp(lost: BatchRange): void {
    if (this.#replaying) return;
    const batches = lost.until - lost.from + 1;
    this.#options.metrics.add("heliograph_replica_lost_batches_total", batches, this.#label);
    this.#problems.say("batches_lost", `${runKey(lost)}: ${batches} batches from ${lost.from} on never came; going on`);
    for (const callback of this.#lostCallbacks) callback(lost);
  }

  async #reread(place: JournalPlace): Promise<Uint8Array | undefined> {
    const record = await this.#journal.read(place);
    return record && decodeEntry(record)?.payload;
  }

  async #turn(): Promise<void> {
    this.#samplesThisTurn = 0;
    await setImmediate();
  }

  async #trim(): Promise<void> {
    const { clock, headRetentionMs, log } = this.#options;
    this.#layouts.sweep();
    try {
      await this.#journal.trim(clock.nowMs() - headRetentionMs() - readabilityMs);
      this.stock.trim(this.#journal.oldestSegment ?? 0);
    } catch (error) {
      log.warn({ cause: String(error) }, "Old segments of the journal could not be removed; trying again.");
    }
  }

  #collect(): void {
    const { clock, metrics } = this.#options;
    metrics.set("heliograph_journal_bytes", this.#journal.bytes, this.#label);
    metrics.set("heliograph_replica_missing_batches", this.summary().missingBatches, this.#label);
    const newest = this.#heartbeats.newest;
    if (!newest) return;
    const lagMs = Math.max(0, clock.nowMs() - newest.sentMs);
    metrics.set("heliograph_replica_lag_seconds", lagMs / secondMs, this.#label);
  }
}
