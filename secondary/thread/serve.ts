// The thread's end: a shard as it is in a process of one thread, driven by messages. Batches, log lines and what was counted go
// to the main thread, which has the spool, the log and the page of metrics.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { EncodedBatch } from "#/lib/codec/encode.ts";
import { decodeGeneration } from "#/lib/codec/generation.ts";
import type { Logger, LogLevel } from "#/lib/logger/logger.ts";
import { createRegistry, type Registry } from "#/lib/telemetry/registry.ts";
import { sliceTargets } from "#/secondary/page/view.ts";
import type { Fetcher } from "#/secondary/scrape/fetch.ts";
import { type Shard, startShard } from "#/secondary/shard.ts";
import {
  type FromShard,
  type Line,
  type ShardTask,
  type ToShard,
  untakenBytesMax,
} from "#/secondary/thread/message.ts";

/** What was counted is told so often: as often as anybody looks. */
const tellEveryMs = secondMs;
/** A main thread that is stuck loses batch after batch; one line a minute is enough. */
const lossLoggedEveryMs = minuteMs;

type Port = Line<FromShard, ToShard>;

/** Serves one shard until `close` is said; then the caller can let the port go. */
export function serveShard(
  port: Port,
  task: ShardTask,
  parts: {
    readonly clock: Clock;
    readonly fetcherOf: (metrics: Registry) => Fetcher;
    readonly untakenBytesMax?: number;
  },
): Promise<void> {
  const { clock } = parts;
  const { bootEpoch, cardinalityLimit, datacenter, secondary } = task;
  const closed = Promise.withResolvers<void>();
  const metrics = createRegistry({ tier: "secondary" });
  const log = postedLog(port, {});
  const outbox = new Outbox({
    port,
    clock,
    log,
    metrics,
    bytesMax: parts.untakenBytesMax ?? untakenBytesMax,
    onLost: () => shard.newRun("batch_lost"),
  });
  const shard: Shard = startShard(
    {
      datacenter,
      secondary,
      bootEpoch,
      shard: task.shard,
      clock,
      log,
      metrics,
      sink: (batch) => outbox.put(batch),
      onSuspicion: (_shard, suspicion) => port.postMessage({ kind: "suspicion", suspicion }),
    },
    { fetcher: parts.fetcherOf(metrics), ...(cardinalityLimit !== undefined && { cardinalityLimit }) },
  );
  const tell = () => port.postMessage({ kind: "news", generation: shard.generation, changes: metrics.takeChanges() });
  const telling = clock.every(tellEveryMs, tell);

  async function close() {
    await shard.close();
    telling.cancel();
    tell();
    port.postMessage({ kind: "closed" });
  }
  port.on("message", (message) => {
    switch (message.kind) {
      case "start":
        return shard.start();
      case "generation":
        shard.offer(decodeGeneration(message.bytes));
        return tell();
      case "new_run":
        return shard.newRun(message.reason);
      case "tell_dropped":
        return shard.tellDropped(message.ranges);
      case "taken":
        return outbox.taken(message.bytes);
      case "verdict":
        return shard.verdict(message.verdict);
      case "probe":
        return carry(
          shard
            .probe(decodeGeneration(message.targets))
            .then((reached) => port.postMessage({ kind: "probed", id: message.id, reached })),
        );
      case "select":
        return carry(answerSelection(port, shard, message, clock));
      case "layout":
        return carry(
          shard.layout(message.layout).then((share) => port.postMessage({ kind: "share", id: message.id, share })),
        );
      case "tell":
        tell();
        return port.postMessage({ kind: "told", id: message.id });
      case "close":
        return carry(close().then(closed.resolve));
      default:
        return message satisfies never;
    }
  });
  /** What fails here is a bug: it ends the thread, and so the process. */
  function carry(work: Promise<void>) {
    work.catch(closed.reject);
  }
  return closed.promise;
}

/** Batches on their way to the main thread, bounded: what it does not take is lost, counted, and ends the run. */
class Outbox {
  readonly #port: Port;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: Registry;
  readonly #bytesMax: number;
  readonly #onLost: () => void;
  #untakenBytes = 0;
  #lossLoggedMs = Number.NEGATIVE_INFINITY;
  #lossesUnlogged = 0;

  constructor(parts: {
    readonly port: Port;
    readonly clock: Clock;
    readonly log: Logger;
    readonly metrics: Registry;
    readonly bytesMax: number;
    readonly onLost: () => void;
  }) {
    this.#port = parts.port;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#metrics = parts.metrics;
    this.#bytesMax = parts.bytesMax;
    this.#onLost = parts.onLost;
  }

  put(batch: EncodedBatch): void {
    const { bytes } = batch;
    if (this.#untakenBytes + bytes.length > this.#bytesMax) {
      this.#lose();
      this.#onLost();
      return;
    }
    this.#untakenBytes += bytes.length;
    // A buffer that is shared with something else cannot change hands.
    const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
    this.#port.postMessage({ kind: "batch", batch: { ...batch, bytes: own } }, [own.buffer as ArrayBuffer]);
  }

  taken(bytes: number): void {
    this.#untakenBytes -= bytes;
  }

  #lose(): void {
    this.#metrics.add("heliograph_secondary_spool_dropped_batches_total", 1, { reason: "stuck" });
    this.#lossesUnlogged++;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lossLoggedMs < lossLoggedEveryMs) return;
    const fields = { batches: this.#lossesUnlogged, untakenBytes: this.#untakenBytes };
    this.#log.error(fields, "Batches were lost: the main thread does not take them.");
    this.#lossLoggedMs = nowMs;
    this.#lossesUnlogged = 0;
  }
}

async function answerSelection(
  port: Port,
  shard: Shard,
  { asked, id }: Extract<ToShard, { kind: "select" }>,
  clock: Clock,
): Promise<void> {
  const part = await shard.select(asked);
  for (let from = 0; from < part.rows.length; from += sliceTargets) {
    port.postMessage({ kind: "rows", id, rows: part.rows.slice(from, from + sliceTargets) });
    await clock.sleep(0);
  }
  port.postMessage({ kind: "selection", id, part: { ...part, rows: [] } });
}

function postedLog(port: Port, common: object): Logger {
  const say = (level: LogLevel) => (fields: object, sentence: string) => {
    const message = { kind: "log", level, fields: { ...common, ...fields }, sentence } as const;
    try {
      port.postMessage(message);
    } catch {
      // Something in it cannot be sent; as text it can.
      port.postMessage({ ...message, fields: { fields: JSON.stringify(message.fields) } });
    }
  };
  return {
    debug: say("debug"),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
    child: (fields) => postedLog(port, { ...common, ...fields }),
  };
}
