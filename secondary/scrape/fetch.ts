// One HTTP GET of a target, within its deadline and within bounds, whatever the target does.
//
// A target keeps its connection from scrape to scrape. What goes wrong is an outcome with a sentence for people, never an
// exception: a slow, silent or hostile target costs itself one scrape and the others nothing. The tier gets its fetcher handed
// in, so that a simulation can hand it another. How HTTP is spoken stands in http/, which is a client of our own because
// Node's costs several times as much.

import dns from "node:dns";

import type { Clock } from "#/lib/clock/clock.ts";
import type { HttpSettings } from "#/lib/model/http.ts";
import { BodyMemory } from "#/secondary/scrape/http/body.ts";
import { Client, type ClientParts, type SecretLookup } from "#/secondary/scrape/http/client.ts";
import { Connections } from "#/secondary/scrape/http/connection.ts";
import { FetchError, type FetchFailure } from "#/secondary/scrape/http/error.ts";
import { type Answered, Exchange, type ExchangeParts } from "#/secondary/scrape/http/exchange.ts";
import { type FileAccess, systemFiles } from "#/secondary/scrape/http/file.ts";
import { type FetchMeter, unmetered } from "#/secondary/scrape/http/meter.ts";
import { type Lookup, Names } from "#/secondary/scrape/http/names.ts";
import type { ProxyEnvironment } from "#/secondary/scrape/http/proxy.ts";
import { HalvedCache } from "#/secondary/scrape/interned.ts";

export interface FetchRequest {
  readonly url: string;
  readonly timeoutMs: number;
  /** Of the body after decompression; 0 means no limit of the target's own. */
  readonly bodyBytesMax: number;
  /** Shared by the targets of a scrape config; absent where it says nothing of it. */
  readonly http?: HttpSettings | undefined;
}

export type Fetched =
  | {
      readonly ok: true;
      readonly body: Uint8Array;
      readonly contentType: string;
      /** To be called once, when nobody will look at the body any more, so that the next one gets its memory. */
      readonly release?: () => void;
    }
  | {
      readonly ok: false;
      readonly outcome: FetchFailure;
      readonly error: string;
      /** Whether a byte of an answer came; absent when none did. */
      readonly reached?: boolean;
    };

export interface Fetcher {
  /** Never rejects. When the signal aborts, it ends soon as `failed_closed`. */
  fetch(request: FetchRequest, signal: AbortSignal): Promise<Fetched>;
  /** Closes idle connections; may be called twice. */
  close(): void;
}

/**
 * Whether it failed without a byte of the target: then it may be the way to it. Credentials and certificates that could not be
 * read are our own affair, and a failed handshake has heard the target.
 */
export function isUnreached(fetched: Fetched): boolean {
  return !fetched.ok && !fetched.reached && unreachedOutcomes.has(fetched.outcome);
}

const unreachedOutcomes: ReadonlySet<FetchFailure> = new Set([
  "failed_timeout",
  "failed_connect",
  "failed_closed",
  "failed_name",
]);

/** Scrape configs with settings of their own: ten times what a large prometheus.yml has. */
const clientsMax = 2000;

export function httpFetcher(options: {
  readonly clock: Clock;
  /** Of secrets that stand in the topology file. */
  readonly secrets?: SecretLookup;
  /** Where relative paths of credentials and certificates start. */
  readonly baseDir?: string;
  readonly environment?: ProxyEnvironment;
  readonly files?: FileAccess;
  readonly lookup?: Lookup;
  readonly idleConnectionsMax?: number;
  readonly meter?: FetchMeter;
}): Fetcher {
  const { clock, idleConnectionsMax, lookup = systemLookup, meter = unmetered } = options;
  const connections = new Connections(clock, idleConnectionsMax);
  const names = new Names({ clock, lookup, meter });
  const parts: ExchangeParts = { clock, connections, names, memory: new BodyMemory(), meter };
  const { baseDir = ".", environment = {}, files = systemFiles, secrets = () => undefined } = options;
  const clients = new Clients({ clock, connections, files, baseDir, secrets, environment });
  const running = new Map<AbortSignal, Running>();
  return {
    fetch({ bodyBytesMax, http, timeoutMs, url }, signal) {
      const { promise, resolve } = Promise.withResolvers<Fetched>();
      if (signal.aborted) {
        resolve(fetchedOf(stopping()));
        return promise;
      }
      const request = { client: clients.of(http), url, timeoutMs, bodyBytesMax };
      const exchange = new Exchange(parts, request, (result) => {
        timer.cancel();
        leave(running, signal, exchange);
        resolve(fetchedOf(result, exchange.answered));
      });
      const timer = clock.after(timeoutMs, () => exchange.timedOut());
      join(running, signal, exchange);
      exchange.begin();
      return promise;
    },
    close() {
      connections.close();
    },
  };
}

/** A client for each scrape config that has settings of its own, and one for all others. */
class Clients {
  readonly #parts: ClientParts;
  readonly #plain: Client;
  /** Each generation brings the settings as new objects; the id is looked up once for each. */
  readonly #known = new WeakMap<HttpSettings, Client>();
  readonly #byId = new HalvedCache<Client>({ weightMax: clientsMax });

  constructor(parts: ClientParts) {
    this.#parts = parts;
    this.#plain = new Client(parts);
  }

  of(settings: HttpSettings | undefined): Client {
    return settings ? (this.#known.get(settings) ?? this.#find(settings)) : this.#plain;
  }

  #find(settings: HttpSettings): Client {
    let client = this.#byId.get(settings.id);
    if (!client) this.#byId.set(settings.id, (client = new Client(this.#parts, settings)));
    this.#known.set(settings, client);
    return client;
  }
}

const systemLookup: Lookup = (host, done) => dns.lookup(host, { all: true }, done);

function fetchedOf(result: Answered | FetchError, reached = false): Fetched {
  if (result instanceof FetchError) {
    return { ok: false, outcome: result.outcome, error: result.message, ...(reached && { reached }) };
  }
  return { ok: true, ...result };
}

function stopping(): FetchError {
  return new FetchError("failed_closed", "the secondary is stopping");
}

/** The exchanges that one signal ends. They share a listener: a signal looks through all of its own to take one away. */
interface Running {
  readonly exchanges: Set<Exchange>;
  readonly stop: () => void;
}

function join(running: Map<AbortSignal, Running>, signal: AbortSignal, exchange: Exchange): void {
  let group = running.get(signal);
  if (!group) {
    const exchanges = new Set<Exchange>();
    const stop = () => {
      for (const each of exchanges) each.fail(stopping());
    };
    signal.addEventListener("abort", stop, { once: true });
    running.set(signal, (group = { exchanges, stop }));
  }
  group.exchanges.add(exchange);
}

function leave(running: Map<AbortSignal, Running>, signal: AbortSignal, exchange: Exchange): void {
  const group = running.get(signal);
  if (!group?.exchanges.delete(exchange) || group.exchanges.size > 0) return;
  signal.removeEventListener("abort", group.stop);
  running.delete(signal);
}
