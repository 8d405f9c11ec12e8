// A data centre's primaries in memory: what a secondary pushes ends in one log that they share, each batch once, in the order
// of arrival. They can be away, deaf, forgetful and wrong on request.

import { Buffer } from "node:buffer";

import { readBatchHeader } from "#/lib/codec/batch.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import { encodeGeneration } from "#/lib/codec/generation.ts";
import { type Generation, partOf } from "#/lib/model/generation.ts";
import { batchKey, type RunId, runKey } from "#/lib/model/identity.ts";
import type { Scrape } from "#/lib/model/scrape.ts";
import {
  type PrimaryClient,
  type PushRequest,
  type PushResponse,
  type ReachOrder,
  type ReachReport,
  type Session,
  type WatchResponse,
  WireError,
} from "#/lib/wire/session.ts";

/** What both primaries of a pair know. */
export class MemoryLog {
  readonly batches = new Map<string, Uint8Array>();
  readonly runs = new Map<string, { readonly run: RunId; accepted: number; held: number; durable: number }>();
  generation: Generation | undefined;

  append(bytes: Uint8Array): RunId {
    const header = readBatchHeader(bytes);
    this.batches.set(batchKey(header), bytes);
    const run = this.runOf(header);
    run.accepted = Math.max(run.accepted, header.sequence);
    return header;
  }

  runOf(run: RunId) {
    const key = runKey(run);
    let known = this.runs.get(key);
    if (!known) this.runs.set(key, (known = { run, accepted: 0, held: 0, durable: 0 }));
    return known;
  }

  /** Every scrape in the log, run by run. */
  decode(onScrape: (scrape: Scrape) => void): { readonly unreadable: number } {
    const decoders = new Map<string, RunDecoder>();
    const ordered = [...this.batches.values()]
      .map((bytes) => ({ bytes, header: readBatchHeader(bytes) }))
      .sort(
        (a, b) =>
          a.header.bootEpoch - b.header.bootEpoch ||
          a.header.run - b.header.run ||
          a.header.sequence - b.header.sequence,
      );
    let unreadable = 0;
    for (const { bytes, header } of ordered) {
      const key = runKey(header);
      let decoder = decoders.get(key);
      if (!decoder) decoders.set(key, (decoder = new RunDecoder(header)));
      unreadable += decoder.decode(bytes, onScrape).unreadable;
    }
    return { unreadable };
  }
}

type Refusing = (bytes: Uint8Array) => { readonly code: string; readonly named: boolean } | undefined;

export class MemoryPrimary {
  readonly name: string;
  readonly log: MemoryLog;
  /** Keys of all batches that came, also again. */
  readonly received: string[] = [];
  /** Messages with an empty batch. */
  keepAlives = 0;
  sessions = 0;
  windowBatches = 16;
  /** 0: as an older primary, which says nothing of it. */
  keepAliveMs = 0;
  /** What it heard of backlogs; it admits nobody before `admit` is called. */
  readonly backlogs: number[] = [];
  admitsDrains = false;
  up = true;
  /** Says welcome. */
  welcoming = true;
  /** Appends and acknowledges. */
  accepting = true;
  /** Appends, but nobody hears of it. */
  losesAcknowledgements = false;
  refuses: Refusing = () => undefined;
  readonly #pushes = new Set<Queue<PushResponse>>();
  /** What secondaries told of what they reach. */
  readonly reachReports: ReachReport[] = [];
  readonly #reaches = new Set<Queue<ReachOrder>>();
  readonly #watches = new Map<Queue<WatchResponse>, string>();

  constructor(name: string, log: MemoryLog = new MemoryLog()) {
    this.name = name;
    this.log = log;
  }

  connect(): PrimaryClient {
    return {
      push: (signal) => this.#push(signal),
      watch: (request, signal) => {
        if (!this.up) throw new WireError("unavailable", `${this.name} is down`);
        const queue = new Queue<WatchResponse>(signal);
        this.#watches.set(queue, request.secondary);
        this.#tell(queue, request.secondary);
        return queue;
      },
      // It has nobody else to ask.
      reach: (signal) => this.#reach(signal),
      close() {},
    };
  }

  /** Ends every stream, as a process that dies. */
  die(): void {
    this.up = false;
    for (const queue of [...this.#pushes, ...this.#watches.keys(), ...this.#reaches]) {
      queue.end(new WireError("broken", `${this.name} died`));
    }
    this.#pushes.clear();
    this.#watches.clear();
    this.#reaches.clear();
  }

  publish(generation: Generation): void {
    this.log.generation = generation;
    this.keepAlive();
  }

  /** To every watcher, with the generation. */
  keepAlive(): void {
    for (const [queue, secondary] of this.#watches) this.#tell(queue, secondary);
  }

  /** Bytes of our own making to every watcher. */
  tellRaw(generation: Uint8Array): void {
    for (const queue of this.#watches.keys()) queue.push({ generation: Buffer.from(generation), nowMs: 0 });
  }

  admit(admitted: boolean): void {
    for (const queue of this.#pushes) queue.push({ drain: { admitted } });
  }

  /** Tells every stream how far all runs are. */
  acknowledge(): void {
    for (const queue of this.#pushes) this.#acknowledgeAll(queue);
  }

  #tell(queue: Queue<WatchResponse>, secondary: string): void {
    const { generation } = this.log;
    const bytes = generation ? encodeGeneration(partOf(generation, secondary)) : new Uint8Array(0);
    queue.push({ generation: Buffer.from(bytes), nowMs: 0 });
  }

  #push(signal: AbortSignal): Session<PushRequest, PushResponse> {
    const queue = new Queue<PushResponse>(signal);
    if (!this.up) queue.end(new WireError("unavailable", `${this.name} is down`));
    else {
      this.#pushes.add(queue);
      this.sessions++;
    }
    return {
      incoming: queue,
      send: async (message) => {
        if (queue.ended) throw new WireError("broken", "the stream is over");
        await Promise.resolve();
        this.#take(queue, message);
      },
      close: () => queue.end(),
    };
  }

  #reach(signal: AbortSignal): Session<ReachReport, ReachOrder> {
    const queue = new Queue<ReachOrder>(signal);
    if (!this.up) queue.end(new WireError("unavailable", `${this.name} is down`));
    else this.#reaches.add(queue);
    return {
      incoming: queue,
      send: async (message) => {
        if (queue.ended) throw new WireError("broken", "the stream is over");
        await Promise.resolve();
        this.reachReports.push(message);
      },
      close: () => queue.end(),
    };
  }

  /** To everybody who listens. */
  order(order: ReachOrder): void {
    for (const queue of this.#reaches) queue.push(order);
  }

  #take(queue: Queue<PushResponse>, message: PushRequest): void {
    if (queue.ended) return;
    if (message.hello) {
      if (!this.welcoming) return;
      const { admitsDrains, keepAliveMs, windowBatches } = this;
      queue.push({
        welcome: { primary: this.name, windowBatches, nowMs: 0, softwareVersion: "test", keepAliveMs, admitsDrains },
      });
      this.#acknowledgeAll(queue);
    } else if (message.backlog) this.backlogs.push(message.backlog.batches);
    else if (message.batch && message.batch.length > 0) this.#takeBatch(queue, message.batch);
    else this.keepAlives++;
  }

  #takeBatch(queue: Queue<PushResponse>, bytes: Uint8Array): void {
    const { bootEpoch, run, sequence, shard, ...header } = readBatchHeader(bytes);
    this.received.push(batchKey({ bootEpoch, run, sequence, shard, ...header }));
    const refusal = this.refuses(bytes);
    if (refusal) {
      const place = refusal.named
        ? { bootEpoch, shard, run, sequence }
        : { bootEpoch: 0, shard: 0, run: 0, sequence: 0 };
      queue.push({ refusal: { ...place, code: refusal.code, message: "as the test wants" } });
      return;
    }
    if (!this.accepting) return;
    const appended = this.log.append(Uint8Array.from(bytes));
    if (!this.losesAcknowledgements) queue.push({ ack: ackOf(this.log.runOf(appended)) });
  }

  #acknowledgeAll(queue: Queue<PushResponse>): void {
    for (const run of this.log.runs.values()) queue.push({ ack: ackOf(run) });
  }
}

function ackOf({ run, accepted, held, durable }: { run: RunId; accepted: number; held: number; durable: number }) {
  return { bootEpoch: run.bootEpoch, shard: run.shard, run: run.run, accepted, held, durable };
}

/** What one side says and the other reads. */
export class Queue<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #error: Error | undefined;
  #wake: (() => void) | undefined;
  ended = false;

  constructor(signal: AbortSignal) {
    signal.addEventListener("abort", () => this.end(), { once: true });
    if (signal.aborted) this.ended = true;
  }

  push(item: T): void {
    if (this.ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  end(error?: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      while (this.#items.length > 0) yield this.#items.shift()!;
      if (this.#error) throw this.#error;
      if (this.ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
