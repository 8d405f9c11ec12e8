// A connection to a target, and those that are kept between scrapes.
//
// All sockets read into the same memory: a read is handed on and copied before the next one begins, so that a connection costs
// no buffer of its own and a read no allocation.

import { Buffer } from "node:buffer";
import net, { type Socket } from "node:net";
import tls, { type TLSSocket } from "node:tls";

import { KiB, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Addresses } from "#/secondary/scrape/http/names.ts";

/** An ordinary body is one read. */
const readBytes = 64 * KiB;
/** As Prometheus: targets with intervals up to this keep their connection. */
const idleMsMax = 5 * minuteMs;
const sweepMs = 15 * secondMs;
/** Twice a full secondary's targets. */
const idleConnectionsMax = 10_000;
/** Says when a peer has vanished without a word, as Go's client does. */
const probeMs = 15 * secondMs;
/** Of several addresses the next is tried after this. */
const attemptMs = 250;

export interface Endpoint {
  /** Scheme, host and port: connections to the same are alike. */
  readonly origin: string;
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  /** Whether the host is an address and no name. */
  readonly isAddress: boolean;
}

/** Who uses a connection: one exchange at a time. */
export interface ConnectionUser {
  /** `bytes` are overwritten after the call. */
  received(bytes: Buffer, length: number): void;
  /** It is open; not told of one that was kept. */
  connected(): void;
  /** The last call. No error: the target closed it in an orderly way. */
  closed(error: Error | undefined): void;
}

export class Connection {
  readonly origin: string;
  readonly socket: Socket;
  user: ConnectionUser | undefined;
  opened = false;
  idleSinceMs = 0;
  #error: Error | undefined;

  constructor(endpoint: Endpoint, addresses: Addresses, memory: Buffer, user: ConnectionUser) {
    this.origin = endpoint.origin;
    this.user = user;
    this.socket = endpoint.secure ? this.#openTls(endpoint, addresses) : this.#openPlain(endpoint, addresses, memory);
    this.socket.once(endpoint.secure ? "secureConnect" : "connect", () => {
      this.opened = true;
      this.user?.connected();
    });
    this.socket.on("error", (error) => {
      this.#error = error;
    });
    this.socket.on("end", () => this.#over());
    this.socket.on("close", () => this.#over());
  }

  /** Whoever used it is told nothing more. */
  destroy(): void {
    this.user = undefined;
    this.socket.destroy();
  }

  #openPlain(endpoint: Endpoint, addresses: Addresses, memory: Buffer): Socket {
    return net.connect({
      ...way(endpoint, addresses),
      onread: {
        buffer: memory,
        callback: (length) => {
          this.#received(memory, length);
          return true;
        },
      },
    });
  }

  #openTls(endpoint: Endpoint, addresses: Addresses): TLSSocket {
    const servername = endpoint.isAddress ? {} : { servername: endpoint.host };
    const socket = tls.connect({ ...way(endpoint, addresses), ...servername });
    socket.on("data", (bytes: Buffer) => this.#received(bytes, bytes.length));
    return socket;
  }

  #received(bytes: Buffer, length: number): void {
    if (this.user) this.user.received(bytes, length);
    // Nobody asked: whatever comes next would be taken for an answer that it is not.
    else this.socket.destroy();
  }

  #over(): void {
    const { user } = this;
    this.user = undefined;
    this.socket.destroy();
    user?.closed(this.#error);
  }
}

function way({ host, isAddress, port }: Endpoint, addresses: Addresses) {
  const lookup: net.LookupFunction = (_host, options, done) => {
    if (options.all) done(null, [...addresses]);
    else done(null, addresses[0]!.address, addresses[0]!.family);
  };
  return {
    host,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: probeMs,
    autoSelectFamily: addresses.length > 1,
    autoSelectFamilyAttemptTimeout: attemptMs,
    ...(isAddress ? {} : { lookup }),
  };
}

/** Connections between scrapes. No more are kept to a place than scrapes of it ran at the same time. */
export class Connections {
  readonly #clock: Clock;
  readonly #idleMax: number;
  readonly #memory = Buffer.allocUnsafeSlow(readBytes);
  /** The most recently used last. */
  readonly #byOrigin = new Map<string, Connection[]>();
  readonly #idle = new Set<Connection>();
  readonly #sweeper: Timer;
  #closed = false;

  constructor(clock: Clock, idleMax = idleConnectionsMax) {
    this.#clock = clock;
    this.#idleMax = idleMax;
    this.#sweeper = clock.every(sweepMs, () => this.#sweep());
  }

  /** One that was kept, unless the name has other addresses by now. */
  take(endpoint: Endpoint, addresses: Addresses): Connection | undefined {
    const kept = this.#byOrigin.get(endpoint.origin);
    for (let connection = kept?.at(-1); connection; connection = kept!.at(-1)) {
      this.#forget(connection);
      const { remoteAddress } = connection.socket;
      if (endpoint.isAddress || addresses.some(({ address }) => address === remoteAddress)) return connection;
      connection.destroy();
    }
    return undefined;
  }

  open(endpoint: Endpoint, addresses: Addresses, user: ConnectionUser): Connection {
    const connection = new Connection(endpoint, addresses, this.#memory, user);
    connection.socket.once("close", () => this.#forget(connection));
    return connection;
  }

  keep(connection: Connection): void {
    connection.user = undefined;
    if (this.#closed || connection.socket.destroyed) {
      connection.destroy();
      return;
    }
    connection.idleSinceMs = this.#clock.monotonicMs();
    this.#idle.add(connection);
    const kept = this.#byOrigin.get(connection.origin);
    if (kept) kept.push(connection);
    else this.#byOrigin.set(connection.origin, [connection]);
    if (this.#idle.size > this.#idleMax) this.#drop(this.#idle.values().next().value!);
  }

  close(): void {
    this.#closed = true;
    this.#sweeper.cancel();
    for (const connection of this.#idle) this.#drop(connection);
  }

  /** The longest idle are first. */
  #sweep(): void {
    const untilMs = this.#clock.monotonicMs() - idleMsMax;
    for (const connection of this.#idle) {
      if (connection.idleSinceMs > untilMs) return;
      this.#drop(connection);
    }
  }

  #drop(connection: Connection): void {
    this.#forget(connection);
    connection.destroy();
  }

  #forget(connection: Connection): void {
    if (!this.#idle.delete(connection)) return;
    const kept = this.#byOrigin.get(connection.origin)!;
    kept.splice(kept.lastIndexOf(connection), 1);
    if (kept.length === 0) this.#byOrigin.delete(connection.origin);
  }
}
