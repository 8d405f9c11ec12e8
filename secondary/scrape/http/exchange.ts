// One scrape's request with its redirects, from credentials and the host's address to the decompressed body, all within one deadline.
//
// It is driven by calls from below (an address, bytes, the connection's end) and from outside (the deadline, the stop), and the
// first of them that settles it wins. Whatever happens, the connection is either kept for the next scrape or closed.

import type { Buffer } from "node:buffer";

import type { Clock } from "#/lib/clock/clock.ts";
import { AnswerReader } from "#/secondary/scrape/http/answer.ts";
import { Body, type BodyMemory } from "#/secondary/scrape/http/body.ts";
import type { Client } from "#/secondary/scrape/http/client.ts";
import type { Connection, Connections, ConnectionUser } from "#/secondary/scrape/http/connection.ts";
import { decompress, encodingOf } from "#/secondary/scrape/http/decompress.ts";
import { brokenConnection, FetchError } from "#/secondary/scrape/http/error.ts";
import type { AnswerHead } from "#/secondary/scrape/http/head.ts";
import type { FetchMeter } from "#/secondary/scrape/http/meter.ts";
import type { Addresses, Names } from "#/secondary/scrape/http/names.ts";
import { type PlannedRequest, requestBytes, type Setup } from "#/secondary/scrape/http/request.ts";

/** A redirect beyond these is not followed: as Go's client, which Prometheus uses, that is 10 requests in all. */
const redirectsMax = 9;

/** A body is a little longer or shorter than the last one. */
const bodyGrowth = 9 / 8;

export interface ExchangeParts {
  readonly clock: Clock;
  readonly connections: Connections;
  readonly names: Names;
  readonly memory: BodyMemory;
  readonly meter: FetchMeter;
}

export interface ExchangeRequest {
  readonly client: Client;
  readonly url: string;
  readonly timeoutMs: number;
  /** 0 means no limit of the target's own. */
  readonly bodyBytesMax: number;
}

export interface Answered {
  readonly body: Uint8Array;
  readonly contentType: string;
  /** See `ReadyBody`. */
  readonly release: () => void;
}

export class Exchange implements ConnectionUser {
  readonly #parts: ExchangeParts;
  readonly #request: ExchangeRequest;
  readonly #settle: (result: Answered | FetchError) => void;
  readonly #beganMs: number;
  #setup: Setup | undefined;
  #first: PlannedRequest | undefined;
  #planned: PlannedRequest | undefined;
  #stage: "files" | "name" | "connect" | "answer" = "files";
  #connection: Connection | undefined;
  #reader: AnswerReader | undefined;
  #body: Body | undefined;
  #inflated: Body | undefined;
  #reused = false;
  #retried = false;
  #redirects = 0;
  #settled = false;
  #begun = false;
  /** Of the files, the lookup or the decompression that is waited for. */
  #leave: (() => void) | undefined;

  /** `settle` is called once, at some time from the call of `begin` on. */
  constructor(parts: ExchangeParts, request: ExchangeRequest, settle: (result: Answered | FetchError) => void) {
    this.#parts = parts;
    this.#request = request;
    this.#settle = settle;
    this.#beganMs = parts.clock.monotonicMs();
  }

  /** A byte of an answer came. */
  get answered(): boolean {
    return this.#begun;
  }

  begin(): void {
    const { client } = this.#request;
    const { setup } = client;
    if (setup) this.#plan(setup);
    else {
      this.#leave = client.wait((known) => {
        this.#leave = undefined;
        this.#plan(known);
      });
    }
  }

  #plan(setup: Setup | FetchError): void {
    try {
      if (setup instanceof FetchError) throw setup;
      this.#setup = setup;
      this.#first = setup.plan(this.#request.url);
      this.#reach(this.#first);
    } catch (error) {
      this.#end(failureOf(error));
    }
  }

  #reach(planned: PlannedRequest): void {
    this.#planned = planned;
    const { endpoint } = planned;
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
    const within = `within ${this.#request.timeoutMs / 1000} s`;
    if (this.#stage === "files") {
      this.#end(new FetchError("failed_credentials", `the files of the scrape config were not read ${within}`));
    } else if (this.#stage === "name") {
      this.#end(new FetchError("failed_name", `no address for ${this.#planned!.endpoint.host} ${within}`));
    } else if (this.#stage === "connect" && !this.#connection?.opened) {
      const { proxy } = this.#planned!.endpoint;
      this.#end(
        new FetchError("failed_connect", `no connection ${proxy ? `through the proxy ${proxy} ` : ""}${within}`),
      );
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
      if (error) throw opened && reader.begun ? reader.unfinished(error) : this.#broken(error, opened);
      reader.finish();
      this.#answered(reader);
    } catch (failure) {
      this.#end(failureOf(failure));
    }
  }

  #broken(error: Error, opened: boolean): FetchError {
    if (error instanceof FetchError) return error;
    const failure = brokenConnection(error, opened);
    const { connect, proxy } = this.#planned!.endpoint;
    if (!proxy || (opened && connect !== undefined)) return failure;
    return new FetchError(failure.outcome, `through the proxy ${proxy}: ${failure.message}`, { cause: error });
  }

  #connect(addresses: Addresses): void {
    const kept = this.#parts.connections.take(this.#planned!.endpoint, addresses);
    if (!kept) {
      this.#open(addresses);
      return;
    }
    kept.user = this;
    this.#send(kept, true);
  }

  #reopen(): void {
    const { host, isAddress } = this.#planned!.endpoint;
    const addresses = isAddress ? [] : this.#parts.names.known(host);
    if (addresses) this.#open(addresses);
    else this.#waitForName(host);
  }

  #open(addresses: Addresses): void {
    this.#send(this.#parts.connections.open(this.#planned!.endpoint, addresses, this), false);
  }

  #send(connection: Connection, reused: boolean): void {
    this.#stage = reused ? "answer" : "connect";
    this.#connection = connection;
    this.#reused = reused;
    this.#body?.release();
    const planned = this.#planned!;
    this.#body = new Body(this.#request.bodyBytesMax, this.#parts.memory);
    this.#body.expect(Math.ceil(planned.bodyBytes * bodyGrowth));
    this.#reader = new AnswerReader(this.#body);
    const request = requestBytes(planned, this.#request.timeoutMs);
    this.#parts.meter.requested(request.length, reused);
    connection.send(request);
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
    const redirects = redirectStatuses.has(head.status) && this.#setup!.followRedirects;
    if (redirects && head.location !== undefined) this.#redirect(head.location);
    else if (head.status === 200) this.#decode(head, this.#body!);
    else {
      throw new FetchError("failed_status", `server returned HTTP status ${head.status} ${head.reason}`.trim());
    }
  }

  #decode(head: AnswerHead, body: Body): void {
    const encoding = encodingOf(head.contentEncoding);
    this.#planned!.bodyBytes = body.length;
    if (encoding === "none") {
      this.#end(answered(head, body));
      return;
    }
    const inflated = new Body(this.#request.bodyBytesMax, this.#parts.memory);
    this.#inflated = inflated;
    const leave = decompress(encoding, body.bytes(), inflated, (error) => {
      this.#end(error ?? answered(head, inflated));
    });
    if (this.#settled) leave();
    else this.#leave = leave;
  }

  #redirect(location: string): void {
    if (this.#redirects++ >= redirectsMax) {
      throw new FetchError("failed_status", `expected an answer, got ${redirectsMax + 1} redirects`);
    }
    this.#reader = undefined;
    this.#reach(this.#setup!.redirected(location, this.#planned!, this.#first!));
  }

  #end(result: Answered | FetchError): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#leave?.();
    this.#connection?.destroy();
    this.#connection = undefined;
    this.#body?.release(this.#inflated !== undefined);
    this.#inflated?.release();
    this.#parts.meter.ended(this.#elapsedMs(), result instanceof FetchError ? 0 : result.body.length);
    this.#settle(result instanceof FetchError ? this.#told(result) : result);
  }

  /** A target may have echoed what it was sent. */
  #told(failure: FetchError): FetchError {
    const message = this.#setup?.redact(failure.message) ?? failure.message;
    return message === failure.message ? failure : new FetchError(failure.outcome, message);
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
