// Shards in threads of their own, for a secondary whose targets are too many for one core. The main thread keeps what belongs to
// the secondary as a whole: assignment, spool, pusher, pages and metrics.
//
// Each thread has its own schedule, connections, kernel memory, guard and run of batches, and shares nothing with the others.
// One that dies takes the process with it, as a broken invariant does: its supervisor starts it again, and the spool has what was
// sealed. A thread that is silent makes the process unhealthy.

import { Worker } from "node:worker_threads";

import { assert } from "#/lib/assert/assert.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { EncodedBatch } from "#/lib/codec/encode.ts";
import { encodeGeneration } from "#/lib/codec/generation.ts";
import type { DroppedRange } from "#/lib/model/dropped.ts";
import type { Generation } from "#/lib/model/generation.ts";
import type { ReachVerdict } from "#/lib/model/reach.ts";
import type { RunReason } from "#/secondary/compact.ts";
import type { Asked, LayoutShare, RankedView, SelectionPart } from "#/secondary/page/view.ts";
import type { Shard, ShardParts, StartShards } from "#/secondary/shard.ts";
import type { FetchSettings, FromShard, ShardTask, ToShard } from "#/secondary/thread/message.ts";

/** Well below the watchdog's 30 s, and above what a thread needs to start on a machine that is overloaded. */
const silenceMsMax = 20 * secondMs;
/** A thread that does not end in order is ended: the process has 10 s for everything. */
const closeMsMax = 5 * secondMs;
/** A page of metrics waits no longer for a busy thread: what that had counted a second ago is there. */
const tellMsMax = secondMs;

export interface ThreadOptions {
  readonly threads: number;
  /** Of the series of all targets together; each shard gets its share. */
  readonly cardinalityLimit?: number;
  readonly fetching: FetchSettings;
  /** Hears once why a thread died, and is to end the process. */
  readonly onDeath: (error: Error) => void;
  /** Other threads than ours, for tests. */
  readonly stage?: ThreadStage;
}

export interface ThreadStage {
  readonly entry: URL;
  readonly heapMiBMax?: number;
}

export function threadedShards(options: ThreadOptions): StartShards {
  const { cardinalityLimit, fetching, onDeath, stage, threads } = options;
  assert(threads >= 1, "there is a thread at least");
  return (parts) =>
    Array.from({ length: threads }, (_, shard) => {
      const { bootEpoch, datacenter, secondary } = parts;
      const share = cardinalityLimit === undefined ? undefined : Math.floor(cardinalityLimit / threads);
      const task = { datacenter, secondary, bootEpoch, shard, cardinalityLimit: share, fetching };
      return new ThreadShard({ ...parts, shard }, { task, onDeath, ...(stage && { stage }) });
    });
}

class ThreadShard implements Shard {
  readonly #parts: ShardParts;
  readonly #worker: Worker;
  readonly #name: string;
  readonly #onDeath: (error: Error) => void;
  readonly #questions = new Map<number, Question>();
  readonly #ended = Promise.withResolvers<void>();
  #asked = 0;
  #heardMs: number;
  #death: Error | undefined;
  #closing: Promise<void> | undefined;
  /** Nothing is expected of the thread any more. */
  #over = false;
  generation: number | undefined;

  constructor(
    parts: ShardParts,
    {
      onDeath,
      stage: { entry, heapMiBMax } = { entry: new URL("./worker.ts", import.meta.url) },
      task,
    }: { readonly task: ShardTask; readonly stage?: ThreadStage; readonly onDeath: (error: Error) => void },
  ) {
    this.#parts = parts;
    this.#onDeath = onDeath;
    this.#name = `shard-${parts.shard}`;
    this.#heardMs = parts.clock.monotonicMs();
    this.#worker = new Worker(entry, {
      workerData: task,
      name: `${parts.secondary} ${this.#name}`,
      ...(heapMiBMax !== undefined && { resourceLimits: { maxOldGenerationSizeMb: heapMiBMax } }),
    });
    this.#worker.on("message", (message: FromShard) => this.#hear(message));
    this.#worker.on("messageerror", (error) => this.#dead(error));
    this.#worker.on("error", (error) => this.#dead(error as Error));
    this.#worker.on("exit", (code) => this.#dead(new Error(`the thread ended with code ${code}`)));
    parts.metrics.onCollect(() => {
      const { active } = this.#worker.performance.eventLoopUtilization();
      const labels = { thread: this.#name };
      parts.metrics.set("heliograph_event_loop_busy_seconds_total", active / 1000, labels);
    });
  }

  start(): void {
    this.#say({ kind: "start" });
  }

  offer(part: Generation): void {
    const bytes = encodeGeneration(part);
    this.#say({ kind: "generation", bytes });
  }

  newRun(reason: RunReason): void {
    this.#say({ kind: "new_run", reason });
  }

  tellDropped(ranges: readonly DroppedRange[]): void {
    this.#say({ kind: "tell_dropped", ranges });
  }

  verdict(verdict: ReachVerdict): void {
    this.#say({ kind: "verdict", verdict });
  }

  async probe(targets: Generation): Promise<readonly string[]> {
    if (this.#over) return [];
    const question = (id: number): ToShard => ({ kind: "probe", id, targets: encodeGeneration(targets) });
    return (await this.#ask<Extract<Answer, { kind: "probed" }>>(question)).reached;
  }

  async select(asked: Asked): Promise<SelectionPart> {
    if (this.#over) return nothing;
    const { part, rows } = await this.#ask<Extract<Answer, { kind: "selection" }>>((id) => ({
      kind: "select",
      id,
      asked,
    }));
    return { ...part, rows };
  }

  async layout(layout: string): Promise<LayoutShare | undefined> {
    if (this.#over) return undefined;
    return (await this.#ask<Extract<Answer, { kind: "share" }>>((id) => ({ kind: "layout", id, layout }))).share;
  }

  async tell(): Promise<void> {
    const told = this.#ask((id) => ({ kind: "tell", id }));
    // Then it is dead, and that is said elsewhere.
    await this.#atMost(
      tellMsMax,
      told.catch(() => {}),
    );
  }

  healthy(): string | undefined {
    const silentMs = this.#parts.clock.monotonicMs() - this.#heardMs;
    if (silentMs <= silenceMsMax) return undefined;
    return `${this.#name} is stuck: its thread was silent for ${Math.round(silentMs / secondMs)} s`;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (!this.#death) this.#say({ kind: "close" });
    await this.#atMost(closeMsMax, this.#ended.promise);
    if (!this.#over)
      this.#parts.log.error({ thread: this.#name }, "A thread did not end in order: its last batch is lost.");
    this.#over = true;
    await this.#worker.terminate();
  }

  async #atMost(msMax: number, work: Promise<unknown>): Promise<void> {
    const over = new AbortController();
    await Promise.race([work, this.#parts.clock.sleep(msMax, over.signal)]);
    over.abort();
  }

  #say(message: ToShard): void {
    this.#worker.postMessage(message);
  }

  #ask<A extends Answer>(question: (id: number) => ToShard): Promise<A & { readonly rows: readonly RankedView[] }> {
    const { promise, reject, resolve } = Promise.withResolvers<Answer & { readonly rows: readonly RankedView[] }>();
    if (this.#death) reject(this.#death);
    else {
      const id = this.#asked++;
      this.#questions.set(id, { rows: [], resolve, reject });
      this.#say(question(id));
    }
    return promise as Promise<A & { readonly rows: readonly RankedView[] }>;
  }

  #hear(message: FromShard): void {
    const { log, metrics } = this.#parts;
    this.#heardMs = this.#parts.clock.monotonicMs();
    switch (message.kind) {
      case "batch":
        this.#take(message.batch);
        break;
      case "news":
        this.generation = message.generation;
        metrics.addChanges(message.changes);
        break;
      case "log":
        log[message.level]({ ...message.fields, thread: this.#name }, message.sentence);
        break;
      case "rows":
        this.#questions.get(message.id)?.rows.push(...message.rows);
        break;
      case "suspicion":
        this.#parts.onSuspicion(this.#parts.shard, message.suspicion);
        break;
      case "probed":
      case "selection":
      case "share":
      case "told":
        this.#answer(message);
        break;
      case "closed":
        this.#over = true;
        this.#ended.resolve();
        break;
      default:
        message satisfies never;
    }
  }

  #answer(answer: Answer): void {
    const question = this.#questions.get(answer.id);
    this.#questions.delete(answer.id);
    question?.resolve({ ...answer, rows: question.rows });
  }

  #take(batch: EncodedBatch): void {
    // The sink may have it on its way to the disk when this returns.
    const bytes = batch.bytes.length;
    this.#parts.sink(batch);
    this.#say({ kind: "taken", bytes });
  }

  #dead(error: Error): void {
    if (this.#death) return;
    this.#death = error;
    for (const { reject } of this.#questions.values()) reject(error);
    this.#questions.clear();
    this.#ended.resolve();
    if (this.#over) return;
    this.#onDeath(new Error(`${this.#name} died: ${error.message}`, { cause: error }));
  }
}

/** Of a thread that has ended in order, while what it scraped is still on its way. */
const nothing: SelectionPart = {
  rows: [],
  found: 0,
  total: 0,
  counts: { all: 0, failing: 0, missed: 0, partial: 0, waiting: 0, up: 0 },
  outcomes: [],
  jobs: [],
  common: [],
};

type Answer = Extract<FromShard, { kind: "probed" | "selection" | "share" | "told" }>;

interface Question {
  readonly rows: RankedView[];
  readonly resolve: (answer: Answer & { readonly rows: readonly RankedView[] }) => void;
  readonly reject: (error: Error) => void;
}
