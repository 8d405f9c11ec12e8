// One scrape's request with its redirects, from the host's address to the decompressed body, all within one deadline.
//
// It is driven by calls from below (an address, bytes, the connection's end) and from outside (the deadline, the stop), and the
// first of them that settles it wins. Whatever happens, the connection is either kept for the next scrape or closed.

import type { Buffer } from "node:buffer";

import type { Clock } from "#/lib/clock/clock.ts";
import { AnswerReader } from "#/secondary/scrape/http/answer.ts";
import { Body, type BodyMemory } from "#/secondary/scrape/http/body.ts";
import type { Connection, Connections, ConnectionUser } from "#/secondary/scrape/http/connection.ts";
import { decompress, encodingOf } from "#/secondary/scrape/http/decompress.ts";
import { brokenConnection, FetchError } from "#/secondary/scrape/http/error.ts";
import type { AnswerHead } from "#/secondary/scrape/http/head.ts";
import type { FetchMeter } from "#/secondary/scrape/http/meter.ts";
import type { Addresses, Names } from "#/secondary/scrape/http/names.ts";
import { type PlannedRequest, planRequest, requestBytes } from "#/secondary/scrape/http/request.ts";

/** As Go's client, which Prometheus uses. */
const redirectsMax = 10;

/** A body is a little longer or shorter than the last one. */
const bodyGrowth = 9 / 8;

export interface ExchangeParts {
  readonly clock: Clock;
  readonly connections: Connections;
  readonly names: Names;
  readonly memory: BodyMemory;
  readonly meter: FetchMeter;
}

export interface Answered {
  readonly body: Uint8Array;
  readonly contentType: string;
  /** See `ReadyBody`. */
  readonly release: () => void;
}

export class Exchange implements ConnectionUser {
  readonly #parts: ExchangeParts;
  readonly #timeoutMs: number;
  readonly #bodyBytesMax: number;
  readonly #settle: (result: Answered | FetchError) => void;
  readonly #beganMs: number;
  #planned: PlannedRequest;
  #stage: "name" | "connect" | "answer" = "name";
  #connection: Connection | undefined;
  #reader: AnswerReader | undefined;
  #body: Body | undefined;
  #inflated: Body | undefined;
  #reused = false;
  #retried = false;
  #redirects = 0;
  #settled = false;
  #begun = false;
  /** Of the lookup or the decompression that is waited for. */
  #leave: (() => void) | undefined;

  /** `settle` is called once, at some time after `begin`. */
  constructor(
    parts: ExchangeParts,
    request: { readonly planned: PlannedRequest; readonly timeoutMs: number; readonly bodyBytesMax: number },
    settle: (result: Answered | FetchError) => void,
  ) {
    this.#parts = parts;
    this.#planned = request.planned;
    this.#timeoutMs = request.timeoutMs;
    this.#bodyBytesMax = request.bodyBytesMax;
    this.#settle = settle;
    this.#beganMs = parts.clock.monotonicMs();
  }

  begin(): void {
    const { endpoint } = this.#planned;
    const addresses = endpoint.isAddress ? [] : this.#parts.names.known(endpoint.host);
    if (addresses) this.#connect(addresses);
    else this.#waitForName(endpoint.host);
  }

  #waitForName(host: string): void {
    this.#stage = "name";
    this.#leave = this.#parts.names.wait(host, (resolved) => {
      this.#leave = undefined;
      if (resolved instanceof FetchError) this.#end(resolved);
      else this.#connect(resolved);
    });
  }

  timedOut(): void {
    const within = `within ${this.#timeoutMs / 1000} s`;
    if (this.#stage === "name") {
      this.#end(new FetchError("failed_name", `no address for ${this.#planned.endpoint.host} ${within}`));
    } else if (this.#stage === "connect" && !this.#connection?.opened) {
      this.#end(new FetchError("failed_connect", `no connection ${within}`));
    } else {
      const what = this.#reader?.head ? "the body was not complete" : "no answer";
      this.#end(new FetchError("failed_timeout", `${what} ${within}`));
    }
  }

  fail(failure: FetchError): void {
    this.#end(failure);
  }

  received(bytes: Buffer, length: number): void {
    const reader = this.#reader!;
    if (!this.#begun) {
      this.#begun = true;
      this.#parts.meter.answered(this.#elapsedMs());
    }
    this.#parts.meter.received(length);
    try {
      reader.push(bytes, length);
      if (reader.done || (reader.head && reader.head.status !== 200)) this.#answered(reader);
    } catch (error) {
      this.#end(failureOf(error));
    }
  }

  connected(): void {
    this.#parts.meter.connected(this.#elapsedMs());
  }

  closed(error: Error | undefined): void {
    const opened = this.#connection!.opened;
    const reader = this.#reader!;
    this.#connection = undefined;
    if (this.#reused && !this.#retried && !reader.begun) {
      // A connection that was kept may be closed by the target just as it is used again; only then a second try is fair.
      this.#retried = true;
      this.#reopen();
      return;
    }
    try {
      if (error) throw opened && reader.begun ? reader.unfinished(error) : brokenConnection(error, opened);
      reader.finish();
      this.#answered(reader);
    } catch (failure) {
      this.#end(failureOf(failure));
    }
  }

  #connect(addresses: Addresses): void {
    const kept = this.#parts.connections.take(this.#planned.endpoint, addresses);
    if (!kept) {
      this.#open(addresses);
      return;
    }
    kept.user = this;
    this.#send(kept, true);
  }

  #reopen(): void {
    const { host, isAddress } = this.#planned.endpoint;
    const addresses = isAddress ? [] : this.#parts.names.known(host);
    if (addresses) this.#open(addresses);
    else this.#waitForName(host);
  }

  #open(addresses: Addresses): void {
    this.#send(this.#parts.connections.open(this.#planned.endpoint, addresses, this), false);
  }

  #send(connection: Connection, reused: boolean): void {
    this.#stage = reused ? "answer" : "connect";
    this.#connection = connection;
    this.#reused = reused;
    this.#body?.release();
    this.#body = new Body(this.#bodyBytesMax, this.#parts.memory);
    this.#body.expect(Math.ceil(this.#planned.bodyBytes * bodyGrowth));
    this.#reader = new AnswerReader(this.#body);
    const request = requestBytes(this.#planned, this.#timeoutMs);
    this.#parts.meter.requested(request.length, reused);
    connection.socket.write(request, "latin1");
  }

  /** The answer is here, or what there is of it suffices. Throws FetchError. */
  #answered(reader: AnswerReader): void {
    const head = reader.head!;
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection) {
      if (reader.reusable) this.#parts.connections.keep(connection);
      else connection.destroy();
    }
    if (redirectStatuses.has(head.status) && head.location !== undefined) this.#redirect(head.location);
    else if (head.status === 200) this.#decode(head, this.#body!);
    else {
      throw new FetchError("failed_status", `server returned HTTP status ${head.status} ${head.reason}`.trim());
    }
  }

  #decode(head: AnswerHead, body: Body): void {
    const encoding = encodingOf(head.contentEncoding);
    this.#planned.bodyBytes = body.length;
    if (encoding === "none") {
      this.#end(answered(head, body));
      return;
    }
    const inflated = new Body(this.#bodyBytesMax, this.#parts.memory);
    this.#inflated = inflated;
    const leave = decompress(encoding, body.bytes(), inflated, (error) => {
      this.#end(error ?? answered(head, inflated));
    });
    if (this.#settled) leave();
    else this.#leave = leave;
  }

  #redirect(location: string): void {
    if (this.#redirects++ >= redirectsMax) {
      throw new FetchError("failed_status", `expected an answer, got more than ${redirectsMax} redirects`);
    }
    this.#planned = planRequest(location, this.#planned.url);
    this.#reader = undefined;
    this.begin();
  }

  #end(result: Answered | FetchError): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#leave?.();
    this.#connection?.destroy();
    this.#connection = undefined;
    this.#body?.release();
    this.#inflated?.release();
    this.#parts.meter.ended(this.#elapsedMs(), result instanceof FetchError ? 0 : result.body.length);
    this.#settle(result);
  }

  #elapsedMs(): number {
    return this.#parts.clock.monotonicMs() - this.#beganMs;
  }
}

function answered({ contentType }: AnswerHead, body: Body): Answered {
  const { bytes, release } = body.handOver();
  return { body: bytes, contentType, release };
}

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Anything else is a bug, and ends the process. */
function failureOf(error: unknown): FetchError {
  if (error instanceof FetchError) return error;
  throw error;
}
