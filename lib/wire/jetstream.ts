// The one door to the client package "nats": a link to a NATS server that never gives up.
//
// Everything above speaks core NATS through this small interface, and JetStream through JSON requests over it (streams.ts),
// so that another client, or a simulated network, replaces this file alone. The client's own reconnecting is switched off:
// it buffers what is sent while the server is away and gives up on refused credentials. Here a message that cannot go out
// is an error at once, and the next connection is tried forever, after a random part of a growing delay.

import { checkServerIdentity, type PeerCertificate } from "node:tls";
import {
  connect,
  createInbox,
  Events,
  type Msg,
  type NatsConnection,
  type NatsError,
  headers as newHeaders,
  type TlsOptions,
} from "nats";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Random } from "#/lib/random/random.ts";
import { plainReason, type TlsMaterial } from "#/lib/wire/tls.ts";

/** A server that does not answer a ping for three intervals is away: 4.5 s. */
const pingIntervalMs = 1500;
const pingsOutMax = 2;

/** A connection attempt that hangs, for instance at a silent firewall. */
const connectTimeoutMs = 5 * secondMs;

/** The wait before the next attempt is a random part of this, doubled after each failure up to the largest. */
const reconnectDelayMsMin = 200;
const reconnectDelayMsMax = 2 * secondMs;

/** Reasons that are told one by one while no server answers: of each server a few, and not one that changes with each try. */
const reasonsSaidMax = 16;

export interface NatsMessage {
  readonly subject: string;
  readonly reply: string;
  /** Of a status message without payload (100, 404, 408, 409, 503), else 0. */
  readonly status: number;
  readonly statusText: string;
  readonly payload: Uint8Array;
  header(name: string): string | undefined;
}

export interface NatsLink {
  readonly connected: boolean;
  /** Another one after each start of the server; "" while none is connected. */
  readonly serverRun: string;
  /** Called after each change. Returns what takes the callback away again. */
  onChange(callback: (connected: boolean) => void): () => void;
  /** Rejects with NatsLinkError. */
  request(subject: string, payload: Uint8Array, options: RequestOptions): Promise<NatsMessage>;
  /** Says it once to whoever listens. False when the server is away: it was not sent. */
  publish(subject: string, payload: Uint8Array, options?: { readonly reply?: string }): boolean;
  /** Lasts over reconnects until it is closed; what is published in between is missed. */
  subscribe(subject: string, onMessage: (message: NatsMessage) => void): { close(): void };
  /** A subject of one's own, for answers. */
  newInbox(): string;
  close(): Promise<void>;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/**
 * `unavailable`: not connected, or the connection broke before the answer. `timeout`: no answer in time. In both cases the
 * request may have been carried out. `no_responders`: nobody listens there. `too_large`: above the server's max_payload.
 */
export type NatsLinkErrorCode = "unavailable" | "timeout" | "no_responders" | "too_large" | "refused";

export class NatsLinkError extends Error {
  override readonly name = "NatsLinkError";
  readonly code: NatsLinkErrorCode;

  constructor(code: NatsLinkErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface NatsLinkOptions {
  /** `nats://host:port` or `tls://host:port`; tried one after the other, from a random one on. */
  readonly servers: readonly string[];
  readonly user?: string;
  readonly password?: string;
  readonly tls?: TlsMaterial;
  /** Shown in the server's list of connections. */
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Returns at once, connected or not. Whether it is, it says in the log, once per change. */
export function connectNats(options: NatsLinkOptions): NatsLink {
  return new Link(options);
}

interface Subscription {
  readonly subject: string;
  readonly onMessage: (message: NatsMessage) => void;
  live: { unsubscribe(): void } | undefined;
}

class Link implements NatsLink {
  readonly #options: NatsLinkOptions;
  readonly #subscriptions = new Set<Subscription>();
  readonly #callbacks = new Set<(connected: boolean) => void>();
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  #connection: NatsConnection | undefined;
  /** The reasons said since it was connected, so that a hundred failed attempts are a line or two. */
  readonly #saidReasons = new Set<string>();

  constructor(options: NatsLinkOptions) {
    this.#options = options;
    this.#finished = this.#run();
  }

  get serverRun(): string {
    return this.#connection?.info?.server_id ?? "";
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  onChange(callback: (connected: boolean) => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  async request(subject: string, payload: Uint8Array, options: RequestOptions): Promise<NatsMessage> {
    options.signal?.throwIfAborted();
    const connection = this.#connection;
    if (!connection) throw new NatsLinkError("unavailable", `${subject}: no NATS server is connected`);
    const answer = connection
      .request(subject, payload, {
        timeout: options.timeoutMs,
        ...(options.headers && { headers: headersOf(options.headers) }),
      })
      .then(messageOf, (error: NatsError) => {
        throw linkError(subject, error);
      });
    return options.signal ? abortable(answer, options.signal) : answer;
  }

  publish(subject: string, payload: Uint8Array, options: { readonly reply?: string } = {}): boolean {
    if (!this.#connection) return false;
    try {
      this.#connection.publish(subject, payload, options);
      return true;
    } catch (error) {
      if ((error as NatsError).code === "MAX_PAYLOAD_EXCEEDED") throw linkError(subject, error as NatsError);
      return false; // The connection is just closing.
    }
  }

  subscribe(subject: string, onMessage: (message: NatsMessage) => void): { close(): void } {
    const subscription: Subscription = { subject, onMessage, live: undefined };
    this.#subscriptions.add(subscription);
    if (this.#connection) this.#listen(this.#connection, subscription);
    return {
      close: () => {
        this.#subscriptions.delete(subscription);
        subscription.live?.unsubscribe();
        subscription.live = undefined;
      },
    };
  }

  newInbox(): string {
    return createInbox();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#connection?.close();
    await this.#finished;
  }

  async #run(): Promise<void> {
    const { clock, random, servers } = this.#options;
    let delayMs = reconnectDelayMsMin;
    let next = random.below(servers.length);
    while (!this.#closing.signal.aborted) {
      try {
        const connection = await this.#connect(servers[next++ % servers.length]!);
        if (this.#closing.signal.aborted) return await connection.close();
        delayMs = reconnectDelayMsMin;
        this.#up(connection);
        const reason = await connection.closed();
        this.#down(reason instanceof Error ? reason.message : "the connection was closed");
      } catch (error) {
        this.#sayAway(error instanceof Error ? error.message : String(error));
      }
      await clock.sleep(random.next() * delayMs, this.#closing.signal);
      delayMs = Math.min(delayMs * 2, reconnectDelayMsMax);
    }
  }

  #connect(server: string): Promise<NatsConnection> {
    const { user, password, tls, name } = this.#options;
    return connect({
      servers: server,
      name,
      reconnect: false,
      timeout: connectTimeoutMs,
      pingInterval: pingIntervalMs,
      maxPingOut: pingsOutMax,
      // The topology file says where servers are; what servers say of each other may not be reachable from here.
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
      ...(user !== undefined && { user }),
      ...(password !== undefined && { pass: password }),
      ...(tls && { tls: tlsOptions(tls, server) }),
    });
  }

  #up(connection: NatsConnection): void {
    this.#connection = connection;
    this.#saidReasons.clear();
    this.#options.log.info({ server: connection.getServer() }, "Connected to NATS.");
    void this.#watch(connection);
    for (const subscription of this.#subscriptions) this.#listen(connection, subscription);
    this.#tell(true);
  }

  #down(reason: string): void {
    this.#connection = undefined;
    for (const subscription of this.#subscriptions) subscription.live = undefined;
    this.#sayAway(reason);
    this.#tell(false);
  }

  #tell(connected: boolean): void {
    for (const callback of [...this.#callbacks]) callback(connected);
  }

  #sayAway(text: string): void {
    const reason = plainReason(text);
    if (this.#closing.signal.aborted || this.#saidReasons.has(reason) || this.#saidReasons.size >= reasonsSaidMax)
      return;
    this.#saidReasons.add(reason);
    this.#options.log.warn({ servers: this.#options.servers, reason }, "NATS is away: trying until it is back.");
  }

  #listen(connection: NatsConnection, subscription: Subscription): void {
    subscription.live = connection.subscribe(subscription.subject, {
      callback: (error, message) => {
        // The error is a refused permission; #watch says so.
        if (!error) subscription.onMessage(messageOf(message));
      },
    });
  }

  /** What the server refuses, it says on the side; each subject is logged once a connection. */
  async #watch(connection: NatsConnection): Promise<void> {
    const refused = new Set<string>();
    for await (const status of connection.status()) {
      const context = status.permissionContext;
      if (status.type !== Events.Error || !context || refused.has(context.subject) || refused.size > 100) continue;
      refused.add(context.subject);
      this.#options.log.warn({ ...context }, "The NATS server refused permission.");
    }
  }
}

/** The client passes on what it does not know. By itself it would hold a server that is named by its address for "localhost". */
function tlsOptions({ ca, cert, key }: TlsMaterial, server: string): TlsOptions {
  const host = server
    .replace(/^[a-z]+:\/\//, "")
    .replace(/:\d+$/, "")
    .replace(/^\[|\]$/g, "");
  const checkHost = (_name: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate);
  const options = { ca: ca.toString(), cert: cert.toString(), key: key.toString(), checkServerIdentity: checkHost };
  return options;
}

const messageOf = (message: Msg): NatsMessage => ({
  subject: message.subject,
  reply: message.reply ?? "",
  status: message.headers?.code ?? 0,
  statusText: message.headers?.description ?? "",
  payload: message.data,
  header: (name) => message.headers?.get(name) || undefined,
});

function headersOf(fields: Readonly<Record<string, string>>) {
  const all = newHeaders();
  for (const [name, value] of Object.entries(fields)) all.set(name, value);
  return all;
}

function linkError(subject: string, error: NatsError): NatsLinkError {
  const codes: Readonly<Record<string, NatsLinkErrorCode>> = {
    TIMEOUT: "timeout",
    "503": "no_responders",
    MAX_PAYLOAD_EXCEEDED: "too_large",
    PERMISSIONS_VIOLATION: "refused",
  };
  const code = codes[error.code] ?? "unavailable";
  return new NatsLinkError(code, `${subject}: ${error.message || error.code}`, { cause: error });
}

/** Rejects with the signal's reason as soon as it aborts; what the promise brings later is dropped. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
