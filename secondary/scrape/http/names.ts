// The addresses of target's hosts, as the system's resolver says them: /etc/hosts, search domains and all, as people expect.
//
// getaddrinfo blocks one of libuv's four threads, which the disk needs too, and may block it for long. So at most two run at a
// time, whoever asks for the same name shares one, and what is known is used while it is asked for again. A name that nobody
// knew yet goes first.

import type { LookupAddress } from "node:dns";

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";
import { type FetchMeter, unmetered } from "#/secondary/scrape/http/meter.ts";

/** libuv itself gives no more of its threads to slow work. */
const lookupsMax = 2;
/** A name that moved is followed after about this long. */
const freshMs = 30 * secondMs;
/** So long a known address is used while the resolver cannot be asked, as when it restarts. */
const staleMsMax = 5 * minuteMs;
/** Four times a full secondary's targets, each with a name of its own. */
const namesMax = 20_000;

export type Addresses = readonly LookupAddress[];

/** `dns.lookup` with `all`, or a test's. */
export type Lookup = (host: string, done: (error: Error | null, addresses: LookupAddress[]) => void) => void;

export type Resolved = (addresses: Addresses | FetchError) => void;

interface Name {
  readonly host: string;
  addresses: Addresses | undefined;
  resolvedMs: number;
  asked: boolean;
  readonly waiting: Set<Resolved>;
}

export class Names {
  readonly #clock: Clock;
  readonly #lookup: Lookup;
  readonly #meter: FetchMeter;
  readonly #names = new Map<string, Name>();
  readonly #urgent = new Set<Name>();
  readonly #refresh = new Set<Name>();
  #running = 0;

  constructor(options: { readonly clock: Clock; readonly lookup: Lookup; readonly meter?: FetchMeter }) {
    this.#clock = options.clock;
    this.#meter = options.meter ?? unmetered;
    this.#lookup = options.lookup;
  }

  /** What the name is known to be; asks again behind the scenes when that is no longer fresh. */
  known(host: string): Addresses | undefined {
    const name = this.#names.get(host);
    if (!name?.addresses) return undefined;
    const ageMs = this.#clock.monotonicMs() - name.resolvedMs;
    if (ageMs > freshMs) this.#ask(name, ageMs > staleMsMax ? this.#urgent : this.#refresh);
    return ageMs > staleMsMax ? undefined : name.addresses;
  }

  /** Calls back when the name was looked up, unless the returned function is called before. */
  wait(host: string, resolved: Resolved): () => void {
    let name = this.#names.get(host);
    if (!name) {
      name = { host, addresses: undefined, resolvedMs: 0, asked: false, waiting: new Set() };
      this.#makeRoom();
      this.#names.set(host, name);
    }
    const { waiting } = name;
    waiting.add(resolved);
    this.#ask(name, this.#urgent);
    return () => waiting.delete(resolved);
  }

  #ask(name: Name, queue: Set<Name>): void {
    if (name.asked && !(queue === this.#urgent && this.#refresh.delete(name))) return;
    name.asked = true;
    queue.add(name);
    this.#next();
  }

  #next(): void {
    if (this.#running >= lookupsMax) return;
    for (const queue of [this.#urgent, this.#refresh]) {
      for (const name of queue) {
        queue.delete(name);
        this.#running++;
        const beganMs = this.#clock.monotonicMs();
        this.#lookup(name.host, (error, addresses) => {
          this.#meter.lookedUp(this.#clock.monotonicMs() - beganMs, !error && addresses.length > 0);
          this.#answered(name, error, addresses);
        });
        return;
      }
    }
  }

  #answered(name: Name, error: Error | null, addresses: Addresses): void {
    this.#running--;
    name.asked = false;
    if (!error && addresses.length > 0) {
      name.addresses = addresses;
      name.resolvedMs = this.#clock.monotonicMs();
    }
    const answer =
      !error && addresses.length > 0
        ? addresses
        : new FetchError("failed_name", `no address for the host: ${error?.message ?? `${name.host} has none`}`, {
            cause: error,
          });
    const waiting = [...name.waiting];
    name.waiting.clear();
    for (const resolved of waiting) resolved(answer);
    this.#next();
  }

  /** The oldest names go; who still uses them asks again. */
  #makeRoom(): void {
    if (this.#names.size < namesMax) return;
    for (const [host, name] of this.#names) {
      if (name.asked) continue;
      this.#names.delete(host);
      return;
    }
  }
}
