// One HTTP GET of a target, within its deadline and within bounds, whatever the target does.
//
// A target keeps its connection from scrape to scrape. What goes wrong is an outcome with a sentence for people, never an
// exception: a slow, silent or hostile target costs itself one scrape and the others nothing. The tier gets its fetcher handed
// in, so that a simulation can hand it another. How HTTP is spoken stands in http/, which is a client of our own because
// Node's costs several times as much.

import dns from "node:dns";

import type { Clock } from "#/lib/clock/clock.ts";
import { BodyMemory } from "#/secondary/scrape/http/body.ts";
import { Connections } from "#/secondary/scrape/http/connection.ts";
import { FetchError, type FetchFailure } from "#/secondary/scrape/http/error.ts";
import { type Answered, Exchange, type ExchangeParts } from "#/secondary/scrape/http/exchange.ts";
import { type FetchMeter, unmetered } from "#/secondary/scrape/http/meter.ts";
import { type Lookup, Names } from "#/secondary/scrape/http/names.ts";
import { type PlannedRequest, planRequest } from "#/secondary/scrape/http/request.ts";
import { HalvedCache } from "#/secondary/scrape/interned.ts";

export interface FetchRequest {
  readonly url: string;
  readonly timeoutMs: number;
  /** Of the body after decompression; 0 means no limit of the target's own. */
  readonly bodyBytesMax: number;
}

export type Fetched =
  | {
      readonly ok: true;
      readonly body: Uint8Array;
      readonly contentType: string;
      /** To be called once, when nobody will look at the body any more, so that the next one gets its memory. */
      readonly release?: () => void;
    }
  | { readonly ok: false; readonly outcome: FetchFailure; readonly error: string };

export interface Fetcher {
  /** Never rejects. When the signal aborts, it ends soon as `failed_closed`. */
  fetch(request: FetchRequest, signal: AbortSignal): Promise<Fetched>;
  /** Closes idle connections; may be called twice. */
  close(): void;
}

/** Four times a full secondary's targets, 1 kB each. */
const plannedMax = 20_000;

export function httpFetcher(options: {
  readonly clock: Clock;
  readonly lookup?: Lookup;
  readonly idleConnectionsMax?: number;
  readonly meter?: FetchMeter;
}): Fetcher {
  const { clock, idleConnectionsMax, lookup = systemLookup, meter = unmetered } = options;
  const connections = new Connections(clock, idleConnectionsMax);
  const names = new Names({ clock, lookup, meter });
  const parts: ExchangeParts = { clock, connections, names, memory: new BodyMemory(), meter };
  const planned = new HalvedCache<PlannedRequest>({ weightMax: plannedMax });
  const running = new Map<AbortSignal, Running>();
  const plan = (url: string): PlannedRequest | FetchError => {
    let found = planned.get(url);
    if (found) return found;
    try {
      planned.set(url, (found = planRequest(url)));
      return found;
    } catch (error) {
      if (error instanceof FetchError) return error;
      throw error;
    }
  };
  return {
    fetch({ bodyBytesMax, timeoutMs, url }, signal) {
      const { promise, resolve } = Promise.withResolvers<Fetched>();
      const failed = (error: FetchError) => resolve(fetchedOf(error));
      const begin = (found: PlannedRequest) => {
        const exchange = new Exchange(parts, { planned: found, timeoutMs, bodyBytesMax }, (result) => {
          timer.cancel();
          leave(running, signal, exchange);
          resolve(fetchedOf(result));
        });
        const timer = clock.after(timeoutMs, () => exchange.timedOut());
        join(running, signal, exchange);
        exchange.begin();
      };
      if (signal.aborted) failed(stopping());
      else {
        const found = plan(url);
        if (found instanceof FetchError) failed(found);
        else begin(found);
      }
      return promise;
    },
    close() {
      connections.close();
    },
  };
}

const systemLookup: Lookup = (host, done) => dns.lookup(host, { all: true }, done);

function fetchedOf(result: Answered | FetchError): Fetched {
  if (result instanceof FetchError) return { ok: false, outcome: result.outcome, error: result.message };
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
