// Which of a pair has the say: a lease on one key, kept by renewing it and lost by not renewing it.
//
// No two clocks are compared. The holder counts its lease from before it sent the renewal, less a margin; a candidate takes
// over when it has itself seen the same revision for a whole lease. So the holder's lease is over, by its own clock, before
// a candidate's wait is, even when the holder was paused or the answer to its renewal was lost.
//
// The fencing token grows from holder to holder, and whoever obeys a holder refuses a lower one. It is the revision at
// acquisition, counted on from a base that the record carries along, because the store may lose what it held: its disk, and
// then revisions begin again, or its last writes in a power cut, and then it counts them again. So whoever acquires the lease
// raises the base until the token is above the wall clock's ms, also as it would be if nobody had set it back since the process
// began, above every token that was seen here, and above the one that its owner remembers over a restart.

import { Buffer } from "node:buffer";
import { assert } from "#/lib/assert/assert.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { LeaseStore } from "#/lib/pair/store.ts";
import type { Random } from "#/lib/random/random.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

/** With three replicas the store itself may need 4 s to elect a leader, and a holder must live through that. */
export function leaseLengthMs(storeReplicas: number): number {
  return storeReplicas > 1 ? 5 * secondMs : 3 * secondMs;
}

/** Two renewals may fail before a lease is lost. */
const renewalsPerLease = 3;
/** How often a candidate looks, and the wait after a call that failed, as a share of the lease. */
const looksPerLease = 12;
/** For clocks of different speed: the holder's lease ends this share early. */
const marginShare = 0.1;
/** A record that asks for more is not believed. */
const lengthMsMax = 60 * secondMs;
assert(1 / renewalsPerLease + marginShare < 0.5, "a renewal and its repetition fit into a lease");

export interface LeaseOptions {
  readonly store: LeaseStore;
  /** This process' name. */
  readonly holder: string;
  /** Of this start of the process, so that it is not taken for its predecessor. */
  readonly incarnation: string;
  readonly lengthMs: number;
  /**
   * The highest token that is known from elsewhere to have been held, for instance from the journal; 0 when none is. Asked
   * at each acquisition and renewal: who holds the lease and learns of a higher token takes it anew, under one still higher.
   */
  readonly tokenFloor?: () => number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Registry;
}

/** What the key holds, as JSON (docs/formats/lease.md). */
interface LeaseValue {
  readonly version: 1;
  /** "" when it was given up. */
  readonly holder: string;
  readonly incarnation: string;
  readonly lengthMs: number;
  readonly tokenBase: number;
}

interface Seen {
  readonly revision: number;
  /** The record as it was written. Revisions come again after a power cut of the store, records do not. */
  readonly bytes: string;
  readonly value: LeaseValue;
  /** When this revision was seen first. */
  readonly sinceMs: number;
}

export class Lease {
  readonly #options: LeaseOptions;
  readonly #callbacks: (() => void)[] = [];
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  /** Of the record that is ours, while we hold the lease. */
  #revision = 0;
  #token = 0;
  #tokenBase = 0;
  #writes = 0;
  /** No token of any record that was read or written here is above it. */
  #tokenFloor = 0;
  /** The newest record that was read or written here. */
  #newest = { revision: 0, isOthers: false };
  /** By the monotonic clock: until then another one may hold what the store does not remember. */
  #waitUntilMs = Number.NEGATIVE_INFINITY;
  /** By the monotonic clock; held until then. */
  #untilMs = Number.NEGATIVE_INFINITY;
  #expiry: Timer | undefined;
  #seen: Seen | undefined;
  #toldHolder = "";
  #storeAway = false;
  /** The wall clock less the monotonic one, at most. */
  #wallOffsetMs: number;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#wallOffsetMs = options.clock.nowMs() - options.clock.monotonicMs();
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** The fencing token, 0 when the lease is not held. */
  get token(): number {
    return this.held() ? this.#token : 0;
  }

  /** Ask right before each act: it looks at the clock, so a process that was paused knows at once. */
  held(): boolean {
    return this.#token !== 0 && this.#options.clock.monotonicMs() < this.#untilMs;
  }

  /** Who holds it, as last seen; "" when that is unknown or nobody does. */
  get holder(): string {
    if (this.held()) return this.#options.holder;
    const seen = this.#seen;
    if (!seen || this.#options.clock.monotonicMs() - seen.sinceMs >= this.#lengthOf(seen)) return "";
    return seen.value.incarnation === this.#options.incarnation ? "" : seen.value.holder;
  }

  /** Called when the lease was acquired or lost, or its holder changed. */
  onChange(callback: () => void): void {
    this.#callbacks.push(callback);
  }

  /** Gives it up, so that the other one need not wait. May be called twice. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return this.#running;
    this.#closing.abort();
    await this.#running;
    const wasHeld = this.held();
    // Before it is written: when the answer is lost, the other one may have it already.
    this.#drop("it was given up");
    if (!wasHeld) return;
    try {
      await this.#options.store.write(this.#record(""), this.#revision);
    } catch (error) {
      this.#countFailure(error);
    }
  }

  async #run(): Promise<void> {
    const { clock, lengthMs, random } = this.#options;
    while (!this.#closing.signal.aborted) {
      let delayMs = lengthMs / looksPerLease;
      try {
        if (this.#token === 0) await this.#contend();
        else if (await this.#renew()) delayMs = lengthMs / renewalsPerLease;
        if (this.#storeAway) this.#options.log.info({}, "The lease store is back.");
        this.#storeAway = false;
      } catch (error) {
        this.#countFailure(error);
      }
      this.#dropIfOver();
      this.#tellHolder();
      // The pair does not march in step.
      await clock.sleep(delayMs * (0.9 + 0.1 * random.next()), this.#closing.signal);
    }
  }

  /** Takes the lease when nobody holds it, or its holder did not renew it for a whole lease. */
  async #contend(): Promise<void> {
    const { store, clock, incarnation } = this.#options;
    this.#noteWallClock();
    const record = await store.read();
    const bytes = record && Buffer.from(record.value).toString();
    if (record && bytes !== undefined && (record.revision !== this.#seen?.revision || bytes !== this.#seen.bytes)) {
      const value = parseValue(record.value);
      this.#seen = { revision: record.revision, bytes, value, sinceMs: clock.monotonicMs() };
      this.#tokenFloor = Math.max(this.#tokenFloor, this.#seen.value.tokenBase + record.revision);
    }
    this.#lookForLoss(record?.revision ?? 0);
    if (!record) this.#seen = undefined;
    const seen = this.#seen;
    // Our own record is there when the answer to our write was lost: nobody else wrote since.
    const isFree = !seen || seen.value.holder === "" || seen.value.incarnation === incarnation;
    const nowMs = clock.monotonicMs();
    if (nowMs < this.#waitUntilMs || (!isFree && nowMs - seen.sinceMs < this.#lengthOf(seen))) return;
    this.#tokenFloor = Math.max(this.#tokenFloor, this.#knownToken(), this.#wallMs());
    this.#tokenBase = Math.max(seen?.value.tokenBase ?? 0, this.#tokenFloor - (seen?.revision ?? 0));
    const sentMs = clock.monotonicMs();
    const revision = await store.write(this.#record(this.#options.holder), seen?.revision ?? 0);
    if (revision === undefined) return; // The other one was faster: the next look shows it.
    this.#hold(revision, sentMs);
    this.#token = this.#tokenBase + revision;
    if (!this.held()) return this.#drop("the answer came too late");
    this.#options.log.info({ token: this.#token }, "Acquired the lease.");
    this.#changed();
  }

  /** True when the next renewal has time. */
  async #renew(): Promise<boolean> {
    const { store, clock, incarnation } = this.#options;
    if (!this.held()) return false;
    if (this.#knownToken() > this.#token) {
      this.#drop("a higher token was held before");
      return false;
    }
    const sentMs = clock.monotonicMs();
    const revision = await store.write(this.#record(this.#options.holder), this.#revision);
    if (revision !== undefined) {
      this.#hold(revision, sentMs);
      return true;
    }
    // Perhaps our own earlier renewal, whose answer was lost, stands in the way.
    const record = await store.read();
    if (record && parseValue(record.value).incarnation === incarnation && parseValue(record.value).holder !== "") {
      this.#revision = record.revision;
      this.#tokenBase = Math.max(this.#tokenBase, this.#tokenFloor - record.revision);
    } else {
      this.#drop("another one has it");
    }
    return false;
  }

  /** A clock that is set back later must not make a token lower than one that the store has lost. */
  #noteWallClock(): void {
    const { clock } = this.#options;
    this.#wallOffsetMs = Math.max(this.#wallOffsetMs, clock.nowMs() - clock.monotonicMs());
  }

  /** As it would be if nobody had set it back. */
  #wallMs(): number {
    return Math.floor(this.#options.clock.monotonicMs() + this.#wallOffsetMs);
  }

  #knownToken(): number {
    return this.#options.tokenFloor?.() ?? 0;
  }

  /** A store that lost the record of a holder, or took an older one for it, does not know that the holder still holds. */
  #lookForLoss(revision: number): void {
    const { clock, incarnation, lengthMs } = this.#options;
    const seen = this.#seen;
    if (revision < this.#newest.revision && this.#newest.isOthers) {
      this.#waitUntilMs = clock.monotonicMs() + lengthMs;
    }
    const isOthers = seen?.revision === revision && seen.value.holder !== "" && seen.value.incarnation !== incarnation;
    this.#newest = { revision, isOthers };
  }

  #hold(revision: number, sentMs: number): void {
    const { clock, lengthMs } = this.#options;
    this.#revision = revision;
    this.#newest = { revision, isOthers: false };
    this.#tokenFloor = Math.max(this.#tokenFloor, this.#tokenBase + revision);
    this.#untilMs = sentMs + lengthMs * (1 - marginShare);
    this.#expiry?.cancel();
    this.#expiry = clock.after(this.#untilMs - clock.monotonicMs(), () => this.#dropIfOver());
  }

  #dropIfOver(): void {
    if (this.#token !== 0 && !this.held()) this.#drop("it could not be renewed in time");
  }

  #drop(reason: string): void {
    this.#expiry?.cancel();
    this.#expiry = undefined;
    if (this.#token === 0) return;
    this.#token = 0;
    this.#untilMs = Number.NEGATIVE_INFINITY;
    this.#options.log.warn({ reason }, "Lost the lease.");
    this.#changed();
  }

  #tellHolder(): void {
    if (this.holder !== this.#toldHolder) this.#changed();
  }

  #changed(): void {
    const { metrics } = this.#options;
    this.#toldHolder = this.holder;
    metrics.set("heliograph_lease_held", this.held() ? 1 : 0);
    metrics.set("heliograph_lease_token", this.token);
    for (const callback of this.#callbacks) callback();
  }

  #countFailure(error: unknown): void {
    this.#options.metrics.add("heliograph_lease_errors_total");
    const reason = error instanceof Error ? error.message : String(error);
    if (!this.#storeAway) this.#options.log.warn({ reason }, "The lease store is away.");
    this.#storeAway = true;
  }

  #lengthOf(seen: Seen): number {
    return Math.max(this.#options.lengthMs, seen.value.lengthMs);
  }

  #record(holder: string): Uint8Array {
    const { incarnation, lengthMs } = this.#options;
    const write = ++this.#writes;
    const fields = { version: 1, holder, incarnation, write, length_ms: lengthMs, token_base: this.#tokenBase };
    return Buffer.from(JSON.stringify(fields));
  }
}

/** A record that cannot be read is somebody's nevertheless: it is waited out like any other. */
function parseValue(bytes: Uint8Array): LeaseValue {
  const unreadable: LeaseValue = { version: 1, holder: "?", incarnation: "", lengthMs: 0, tokenBase: 0 };
  try {
    const fields = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
    const { holder, incarnation, length_ms, token_base } = fields;
    if (typeof holder !== "string" || typeof incarnation !== "string") return unreadable;
    const lengthMs = Number.isFinite(length_ms) ? Math.min(Math.max(0, length_ms), lengthMsMax) : 0;
    return { version: 1, holder, incarnation, lengthMs, tokenBase: Number.isSafeInteger(token_base) ? token_base : 0 };
  } catch {
    return unreadable;
  }
}
