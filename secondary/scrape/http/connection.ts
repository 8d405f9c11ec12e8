// A connection to a target, or to a proxy that leads there, and those that are kept between scrapes.
//
// All sockets read into the same memory: a read is handed on and copied before the next one begins, so that a connection costs
// no buffer of its own and a read no allocation.

import { Buffer } from "node:buffer";
import net, { type Socket } from "node:net";
import tls from "node:tls";

import { KiB, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Addresses } from "#/secondary/scrape/http/names.ts";
import type { TlsSetup } from "#/secondary/scrape/http/tls.ts";
import { TunnelAnswer } from "#/secondary/scrape/http/tunnel.ts";

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
  /** Connections with the same may be used for one another. */
  readonly key: string;
  /** Begins the key: whose connections these are. */
  readonly group: string;
  /** Who is dialled: the target, or its proxy. */
  readonly host: string;
  readonly port: number;
  /** Whether the host is an address and no name. */
  readonly isAddress: boolean;
  /** There for https: the target's host beside it. */
  readonly tls?: TlsSetup;
  readonly tlsHost?: string;
  /** The proxy, as people are told. */
  readonly proxy?: string;
  /** The whole head that asks the proxy for the target, before TLS begins. */
  readonly connect?: string;
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
  readonly endpoint: Endpoint;
  user: ConnectionUser | undefined;
  opened = false;
  idleSinceMs = 0;
  /** What is read and written; behind a proxy that was asked for a tunnel, TLS inside of `#line`. */
  #socket: Socket;
  /** To who was dialled. */
  readonly #line: Socket;
  readonly #memory: Buffer;
  /** Waits for a proxy to say that the target is on the line. */
  #unsent: string | undefined;
  /** Of the proxy, until the target is on the line. */
  #answer: TunnelAnswer | undefined;
  #error: Error | undefined;

  constructor(endpoint: Endpoint, addresses: Addresses, memory: Buffer, user: ConnectionUser) {
    this.endpoint = endpoint;
    this.user = user;
    this.#memory = memory;
    if (endpoint.connect !== undefined) {
      this.#line = net.connect(way(endpoint, addresses));
      this.#socket = this.#line;
      this.#askProxy(endpoint.connect);
    } else {
      this.#line = endpoint.tls ? this.#openTls(way(endpoint, addresses)) : this.#openPlain(addresses);
      this.#socket = this.#line;
      this.#line.once(endpoint.tls ? "secureConnect" : "connect", () => this.#open());
    }
    this.#follow(this.#line);
  }

  get remoteAddress(): string | undefined {
    return this.#line.remoteAddress;
  }

  get destroyed(): boolean {
    return this.#line.destroyed || this.#socket.destroyed;
  }

  /** A request's head, one byte a character. */
  send(text: string): void {
    if (this.#unsent === undefined) this.#socket.write(text, "latin1");
    else this.#unsent = text;
  }

  /** Called once, whoever closed it. */
  onClose(callback: () => void): void {
    this.#line.once("close", callback);
  }

  /** Whoever used it is told nothing more. */
  destroy(): void {
    this.user = undefined;
    this.#close();
  }

  #open(): void {
    this.opened = true;
    this.user?.connected();
  }

  #close(): void {
    this.#socket.destroy();
    this.#line.destroy();
  }

  #follow(socket: Socket): void {
    socket.on("error", (error) => {
      this.#error ??= error;
    });
    socket.on("end", () => this.#over());
    socket.on("close", () => this.#over());
  }

  #openPlain(addresses: Addresses): Socket {
    return net.connect({ ...way(this.endpoint, addresses), onread: this.#onRead() });
  }

  /** All connections read into the same memory, so that reading makes no garbage. */
  #onRead(): net.OnReadOpts {
    const buffer = this.#memory;
    return {
      buffer,
      callback: (length) => {
        this.#received(buffer, length);
        return true;
      },
    };
  }

  #openTls(over: tls.ConnectionOptions): Socket {
    const { key, tls: setup, tlsHost } = this.endpoint;
    const inTunnel = over.socket !== undefined;
    // The types do not know `onread` there; Node does (lib/internal/tls/wrap.js, `connect`), but not over a socket that is given.
    const reading = inTunnel ? {} : { onread: this.#onRead() };
    const socket = tls.connect({ ...over, ...setup!.options(tlsHost!, key), ...reading } as tls.ConnectionOptions);
    socket.on("session", (session) => setup!.remember(key, session));
    if (inTunnel) socket.on("data", (bytes: Buffer) => this.#received(bytes, bytes.length));
    return socket;
  }

  #askProxy(head: string): void {
    const answer = new TunnelAnswer(this.endpoint.proxy!);
    this.#answer = answer;
    this.#unsent = "";
    this.#line.once("connect", () => {
      answer.awaited = true;
    });
    this.#line.write(head, "latin1");
    const read = (bytes: Buffer) => {
      try {
        if (!answer.push(bytes)) return;
        this.#line.off("data", read);
        this.#enterTunnel();
      } catch (error) {
        this.#answer = undefined;
        this.#error = error as Error;
        this.#over();
      }
    };
    this.#line.on("data", read);
  }

  #enterTunnel(): void {
    this.#answer = undefined;
    this.#socket = this.#openTls({ socket: this.#line });
    this.#follow(this.#socket);
    this.#socket.once("secureConnect", () => this.#open());
    this.#socket.write(this.#unsent!, "latin1");
    this.#unsent = undefined;
  }

  #received(bytes: Buffer, length: number): void {
    if (this.user) this.user.received(bytes, length);
    // Nobody asked: whatever comes next would be taken for an answer that it is not.
    else this.#close();
  }

  #over(): void {
    const { user } = this;
    this.user = undefined;
    this.#close();
    user?.closed(this.#answer?.awaited ? this.#answer.ended(this.#error) : this.#error);
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
  readonly #byKey = new Map<string, Connection[]>();
  readonly #idle = new Set<Connection>();
  readonly #sweeper: Timer;
  #groups = 0;
  #closed = false;

  constructor(clock: Clock, idleMax = idleConnectionsMax) {
    this.#clock = clock;
    this.#idleMax = idleMax;
    this.#sweeper = clock.every(sweepMs, () => this.#sweep());
  }

  /** One that was kept, unless the name has other addresses by now. */
  take(endpoint: Endpoint, addresses: Addresses): Connection | undefined {
    const kept = this.#byKey.get(endpoint.key);
    for (let connection = kept?.at(-1); connection; connection = kept!.at(-1)) {
      this.#forget(connection);
      if (endpoint.isAddress) return connection;
      const { remoteAddress } = connection;
      if (addresses.some(({ address }) => address === remoteAddress)) return connection;
      connection.destroy();
    }
    return undefined;
  }

  open(endpoint: Endpoint, addresses: Addresses, user: ConnectionUser): Connection {
    const connection = new Connection(endpoint, addresses, this.#memory, user);
    connection.onClose(() => this.#forget(connection));
    return connection;
  }

  keep(connection: Connection): void {
    connection.user = undefined;
    if (this.#closed || connection.destroyed) {
      connection.destroy();
      return;
    }
    connection.idleSinceMs = this.#clock.monotonicMs();
    this.#idle.add(connection);
    const { key } = connection.endpoint;
    const kept = this.#byKey.get(key);
    if (kept) kept.push(connection);
    else this.#byKey.set(key, [connection]);
    if (this.#idle.size > this.#idleMax) this.#drop(this.#idle.values().next().value!);
  }

  /** Connections of different groups are never used for one another. */
  newGroup(): string {
    return `${++this.#groups}`;
  }

  /** Nobody takes a connection of this group any more. */
  leave(group: string): void {
    for (const connection of this.#idle) if (connection.endpoint.group === group) this.#drop(connection);
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
    const { key } = connection.endpoint;
    const kept = this.#byKey.get(key)!;
    kept.splice(kept.lastIndexOf(connection), 1);
    if (kept.length === 0) this.#byKey.delete(key);
  }
}
