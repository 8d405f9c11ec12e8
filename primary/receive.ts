// The primary's front door: secondaries push batches here and learn how safe they are.
//
// A batch is accepted once the data centre's log holds it, and the same batch sent twice is acknowledged twice and kept
// once, which is what makes a retry harmless. Batches of one stream are appended one after the other, so a run stands in the
// log in its order; while the log is away, or has no room, the stream simply stands still, and the secondary's spool holds
// what comes. When the log loses what it had acknowledged, every stream is ended, and begins anew with what is durable.

import type { Clock } from "#/lib/clock/clock.ts";
import { BadBatch, type BatchHeader, readBatchHeader } from "#/lib/codec/batch.ts";
import { LogError, type LogWriter } from "#/lib/commitlog/commitlog.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { type BatchRange, batchKey, runKey } from "#/lib/model/identity.ts";
import type { Random } from "#/lib/random/random.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { version } from "#/lib/telemetry/version.ts";
import { type PushRequest, type PushResponse, type Session, WireError } from "#/lib/wire/session.ts";
import { Drains } from "#/primary/drains.ts";
import type { KnownRun, Safety, SafetyBook } from "#/primary/safety.ts";

/** Batches a secondary may have on their way: at 1 MiB each, what a stream can make a primary hold. */
export const windowBatches = 16;

/** How long to wait before an append to a log that is away is tried again; doubled up to the maximum. */
const retryMsFirst = 50;
const retryMsMax = 1000;

export interface ReceiverParts {
  readonly datacenter: string;
  readonly primary: string;
  /** Names of the data centre's secondaries, as the topology file has them now. */
  readonly secondaries: () => readonly string[];
  readonly writer: LogWriter;
  /** How often a secondary with nothing to send shall say that it lives. */
  readonly keepAliveMs: () => number;
  /** Called with each word of a secondary, right when it comes. */
  readonly onWord: (secondary: string) => void;
  readonly safety: SafetyBook;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Registry;
}

interface Connection {
  readonly secondary: string;
  readonly bootEpoch: number;
  readonly session: Session<PushResponse, PushRequest>;
  heardMs: number;
  /** A batch waits for the log, and nothing is read meanwhile: the silence is ours. */
  taking: boolean;
  /** What was last said of each run, so that an `ack` is sent only when something moved. */
  readonly said: Map<string, Safety>;
}

export class Receiver {
  readonly #parts: ReceiverParts;
  readonly #connections = new Map<string, Connection>();
  readonly #drains: Drains;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#drains = new Drains(parts.clock);
    parts.metrics.onCollect(() => {
      parts.metrics.set("heliograph_primary_drains", this.#drains.admitted, { state: "admitted" });
      parts.metrics.set("heliograph_primary_drains", this.#drains.waiting, { state: "waiting" });
      parts.metrics.set("heliograph_primary_connected_secondaries", this.#connections.size);
    });
  }

  /** The secondaries whose streams end here, with the age of their last word. */
  connected(): readonly { readonly name: string; readonly ageMs: number }[] {
    const nowMs = this.#parts.clock.monotonicMs();
    return [...this.#connections.values()].map(({ secondary, heardMs, taking }) => ({
      name: secondary,
      ageMs: taking ? 0 : nowMs - heardMs,
    }));
  }

  /** The log lost entries that it had acknowledged: whoever comes again is told how far it is now, and sends the rest again. */
  startOver(): void {
    this.#parts.safety.forgetAccepted();
    for (const { session } of this.#connections.values()) session.close();
    this.#connections.clear();
  }

  /**
   * Some replica misses these batches and no journal has them: their secondary is told that they are not accepted, and sends them
   * again if it still has them. False when it is not connected here, or nothing was to be taken back.
   */
  askAgain(range: BatchRange): boolean {
    if (!this.#connections.has(range.secondary) || !this.#parts.safety.wantAgain(range)) return false;
    void this.acknowledgeAll();
    return true;
  }

  /** They come again, and are welcomed with what is so now. */
  welcomeAnew(): void {
    for (const { session } of this.#connections.values()) session.close();
  }

  /** Serves one stream until it ends. `peer` is the certificate's identity, whose last part must be the secondary's name. */
  async serve(
    session: Session<PushResponse, PushRequest>,
    peer: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log, metrics, primary, safety } = this.#parts;
    let connection: Connection | undefined;
    try {
      for await (const request of session.incoming) {
        if (!connection) {
          connection = this.#welcome(session, request, peer);
          log.info({ secondary: connection.secondary, bootEpoch: connection.bootEpoch }, "A secondary connected.");
          await session.send({
            welcome: {
              primary,
              windowBatches,
              nowMs: Math.round(clock.nowMs()),
              softwareVersion: version,
              keepAliveMs: Math.round(this.#parts.keepAliveMs()),
              admitsDrains: true,
            },
          });
          for (const known of safety.runsOf(connection.secondary)) await this.#acknowledge(connection, known);
          continue;
        }
        this.#heard(connection);
        if (request.backlog) this.#tellDrains(this.#drains.said(connection.secondary, request.backlog.batches));
        if (!request.batch || request.batch.length === 0) continue;
        metrics.add("heliograph_primary_received_bytes_total", request.batch.length);
        connection.taking = true;
        await this.#take(connection, request.batch, signal);
        connection.taking = false;
        this.#heard(connection);
        if (signal.aborted || !this.#isServed(connection)) return;
      }
    } finally {
      if (connection && this.#isServed(connection)) {
        this.#connections.delete(connection.secondary);
        this.#tellDrains(this.#drains.gone(connection.secondary));
        log.info({ secondary: connection.secondary }, "A secondary's stream ended.");
      }
    }
  }

  /** Some replica's watermarks moved: tell whoever waits for it. */
  async acknowledgeAll(): Promise<void> {
    for (const connection of this.#connections.values()) {
      for (const known of this.#parts.safety.runsOf(connection.secondary)) {
        if (sameSafety(connection.said.get(known.key), this.#parts.safety.safetyOf(known.key))) continue;
        // A stream that broke ends in `serve`; here its silence is enough.
        await this.#acknowledge(connection, known).catch(() => connection.session.close());
      }
    }
  }

  #tellDrains(changes: ReadonlyMap<string, boolean>): void {
    for (const [secondary, admitted] of changes) {
      const session = this.#connections.get(secondary)?.session;
      session?.send({ drain: { admitted } }).catch(() => session.close());
    }
  }

  #heard(connection: Connection): void {
    connection.heardMs = this.#parts.clock.monotonicMs();
    if (this.#isServed(connection)) this.#parts.onWord(connection.secondary);
  }

  /** No longer so when its secondary came again, or everything starts over. */
  #isServed(connection: Connection): boolean {
    return this.#connections.get(connection.secondary) === connection;
  }

  #welcome(session: Session<PushResponse, PushRequest>, request: PushRequest, peer: string | undefined): Connection {
    const { clock, datacenter, primary, secondaries } = this.#parts;
    const hello = request.hello;
    if (!hello) throw new WireError("refused", `${primary}: expected a hello first, got a batch`);
    if (hello.datacenter !== datacenter) {
      throw new WireError(
        "refused",
        `${primary} is of data centre "${datacenter}", got a secondary of "${hello.datacenter}"`,
      );
    }
    if (!secondaries().includes(hello.secondary)) {
      throw new WireError(
        "refused",
        `${primary}: no secondary "${hello.secondary}" in the topology file of "${datacenter}"`,
      );
    }
    if (peer !== undefined && peer.split("/").at(-1) !== hello.secondary) {
      throw new WireError(
        "refused",
        `${primary}: the certificate is of "${peer}", got a hello of "${hello.secondary}"`,
      );
    }
    const other = this.#connections.get(hello.secondary);
    if (other && other.bootEpoch > hello.bootEpoch) {
      throw new WireError(
        "refused",
        `${primary}: another "${hello.secondary}" with the newer boot epoch ${other.bootEpoch} is connected, got ${hello.bootEpoch}: is it running twice?`,
      );
    }
    other?.session.close();
    const connection: Connection = {
      secondary: hello.secondary,
      bootEpoch: hello.bootEpoch,
      session,
      heardMs: clock.monotonicMs(),
      taking: false,
      said: new Map(),
    };
    this.#connections.set(hello.secondary, connection);
    this.#parts.onWord(hello.secondary);
    return connection;
  }

  async #take(connection: Connection, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const { metrics, safety } = this.#parts;
    let header: BatchHeader;
    try {
      header = readBatchHeader(bytes);
    } catch (error) {
      if (!(error instanceof BadBatch)) throw error;
      return await this.#refuse(connection, undefined, error.code, error.message);
    }
    if (header.datacenter !== this.#parts.datacenter || header.secondary !== connection.secondary) {
      const message = `expected a batch of ${this.#parts.datacenter}/${connection.secondary}, got ${batchKey(header)}`;
      return await this.#refuse(connection, header, "foreign", message);
    }
    if (header.sequence <= safety.safety(header).accepted) {
      metrics.add("heliograph_primary_received_batches_total", 1, { result: "duplicate" });
      return await this.#acknowledge(connection, { run: header, key: runKey(header) }, true);
    }
    const refused = await this.#append(header, bytes, signal);
    if (refused) return await this.#refuse(connection, header, refused.code, refused.message);
    // Batches before it may have been lost since: then none of this stream is accepted any more.
    if (signal.aborted || !this.#isServed(connection)) return;
    safety.accept(header, header.sequence);
    metrics.add("heliograph_primary_received_batches_total", 1, { result: "accepted" });
    await this.#acknowledge(connection, { run: header, key: runKey(header) });
  }

  /**
   * Tries until the log has it, or the stream ends. Only a batch that is too large is refused: a server that says no to
   * anything else (a full disk, a limit, a permission) can be mended, and what a secondary is told is refused, it deletes.
   */
  async #append(header: BatchHeader, bytes: Uint8Array, signal: AbortSignal): Promise<LogError | undefined> {
    const { clock, log, random, writer } = this.#parts;
    let said = false;
    for (let delayMs = retryMsFirst; !signal.aborted; delayMs = Math.min(delayMs * 2, retryMsMax)) {
      try {
        await writer.append({ kind: "batch", origin: header.secondary, id: batchKey(header), payload: bytes }, signal);
        return undefined;
      } catch (error) {
        if (!(error instanceof LogError)) throw error;
        if (error.code === "too_large") return error;
        if (error.code === "refused" && !said) {
          said = true;
          log.error(
            { batch: batchKey(header), reason: error.message },
            "The log takes no batch: trying until it does.",
          );
        }
        await clock.sleep(delayMs * (0.5 + random.next() / 2), signal);
      }
    }
    return undefined;
  }

  async #refuse(connection: Connection, header: BatchHeader | undefined, code: string, message: string): Promise<void> {
    const { log, metrics } = this.#parts;
    metrics.add("heliograph_primary_received_batches_total", 1, { result: "refused" });
    metrics.add("heliograph_primary_refused_batches_total", 1, { code });
    log.error(
      { secondary: connection.secondary, code, batch: header && batchKey(header), reason: message },
      "A batch was refused: its samples are lost unless the secondary can make it anew.",
    );
    await connection.session.send({
      refusal: {
        bootEpoch: header?.bootEpoch ?? 0,
        shard: header?.shard ?? 0,
        run: header?.run ?? 0,
        sequence: header?.sequence ?? 0,
        code,
        message,
      },
    });
  }

  async #acknowledge(connection: Connection, { run, key }: KnownRun, always = false): Promise<void> {
    const safety = this.#parts.safety.safetyOf(key);
    if (!always && sameSafety(connection.said.get(key), safety)) return;
    connection.said.set(key, safety);
    const { accepted, held, durable } = safety;
    await connection.session.send({
      ack: { bootEpoch: run.bootEpoch, shard: run.shard, run: run.run, accepted, held, durable },
    });
  }
}

function sameSafety(said: Safety | undefined, { accepted, held, durable }: Safety): boolean {
  return said !== undefined && said.accepted === accepted && said.held === held && said.durable === durable;
}
