// A twin of the log servers for simulations: a NATS server with JetStream, as far as Heliograph uses it, in memory and on a
// simulated clock. It takes the place of the network below `NatsLink`, so that all of the real code above runs on it as it
// is: openDatacenterLog, openHubLog, openBackChannel and openLeaseStore with a link of `connectTwin`.
//
// It is no kinder than the real one; test/support/commitlog-conformance.ts holds the two against each other.

import type { Clock } from "#/lib/clock/clock.ts";
import type { TwinLine } from "#/lib/commitlog/twin-line.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Random } from "#/lib/random/random.ts";
import type { NatsLink } from "#/lib/wire/jetstream.ts";

export interface TwinServerOptions {
  /** Its JetStream domain: the data centre's name, or `hub`. */
  readonly domain: string;
  /** The server's own: entries get its wall time. */
  readonly clock: Clock;
  readonly random: Random;
  /** How often the disk is synced; 0: before each acknowledgement. 2.9.10 does it each 60 s. */
  readonly syncEveryMs?: number;
}

/** What a power cut leaves of one stream. */
export interface UnsyncedTail {
  readonly account: string;
  readonly stream: string;
  /** Acknowledged entries that were never synced. */
  readonly entries: number;
  /** The stream was made since the last sync. */
  readonly isNew: boolean;
}

export interface TwinStreamState {
  readonly account: string;
  readonly stream: string;
  readonly created: string;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly unsynced: number;
  readonly bytes: number;
  readonly isMirror: boolean;
}

/** One log server: a data centre's or the hub's. It runs from its making. */
export class TwinServer {
  readonly domain: string;
  /** The disk takes nothing more: appends are refused, what is there can be read. */
  diskFull = false;

  constructor({ domain }: TwinServerOptions) {
    this.domain = domain;
  }

  get isRunning(): boolean {
    throw new Error("not yet");
  }

  /** kill -9: connections break, the disk keeps all that was written. */
  kill(): void {
    throw new Error("not yet");
  }

  /** After a kill or a power cut. It takes connections after a moment of the server's clock, and JetStream after another. */
  start(): void {
    throw new Error("not yet");
  }

  /**
   * kill, and of each stream only the synced entries and as many more as `keep` says are left, from 0 to `entries`; -1 loses
   * a stream that `isNew`. Everything unsynced is lost unless told otherwise.
   */
  powerCut(_keep: (tail: UnsyncedTail) => number = () => 0): void {
    throw new Error("not yet");
  }

  /** The disk is replaced by an empty one; the server must be down. */
  wipe(): void {
    throw new Error("not yet");
  }

  /** SIGSTOP: it hears and says nothing until `resume`; what was sent to it meanwhile is carried out then, wanted or not. */
  pause(): void {
    throw new Error("not yet");
  }

  resume(): void {
    throw new Error("not yet");
  }

  /** pause, and resume after that time. */
  standStill(_forMs: number): void {
    throw new Error("not yet");
  }

  /** For invariants: what lies on its disk now. */
  streams(): readonly TwinStreamState[] {
    throw new Error("not yet");
  }

  /** An operator's `nats stream rm`. */
  deleteStream(_account: string, _stream: string): void {
    throw new Error("not yet");
  }
}

export interface TwinLinkOptions {
  readonly server: TwinServer;
  /** At the hub: `DC_<NAME>` or `GLOBAL` (topology/nats.ts). A data centre's own server has only one, "". */
  readonly account?: string;
  readonly line: TwinLine;
  /** The client's own: a client whose clock stands hears nothing. */
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** As connectNats: returns at once, and keeps trying. `close` also stands for the death of the client's process. */
export function connectTwin(_options: TwinLinkOptions): NatsLink {
  throw new Error("not yet");
}

export interface TwinLeafOptions {
  readonly datacenter: TwinServer;
  readonly hub: TwinServer;
  /** The data centre's account at the hub. */
  readonly account: string;
  /** `up` leads to the hub. */
  readonly line: TwinLine;
}

/** The data centre's server joins the hub, now and again after each break. */
export function joinTwins(_options: TwinLeafOptions): { close(): void } {
  throw new Error("not yet");
}
