// A twin of the log servers for simulations: a NATS server with JetStream, as far as Heliograph uses it, in memory and on a
// simulated clock. It takes the place of the network below `NatsLink`, so that all of the real code above runs on it as it
// is: openDatacenterLog, openHubLog, openBackChannel and openLeaseStore with a link of `connectTwin`.
//
// It is no kinder than the real one; test/support/commitlog-conformance.ts holds the two against each other.

import { Buffer } from "node:buffer";
import { assert } from "#/lib/assert/assert.ts";
import { minuteMs } from "#/lib/bytes/units.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import {
  type Delivery,
  emptyPayload,
  hanging,
  type PublishAnswer,
  TwinJetStream,
  type TwinMessage,
} from "#/lib/commitlog/twin-jetstream.ts";
import { type LeafEnd, TwinLeaf } from "#/lib/commitlog/twin-leaf.ts";
import type { TwinLine } from "#/lib/commitlog/twin-line.ts";
import { type ServerPort, type Session, TwinLink } from "#/lib/commitlog/twin-link.ts";
import { subjectMatches } from "#/lib/commitlog/twin-stream.ts";
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
  /**
   * Whether a server that hangs since its disk was full is killed and started when there is room again, as its operator has
   * to do; true unless given.
   */
  readonly restartsWhenRoom?: boolean;
  /** Sees what is published to a stream, and what the publisher is answered; a 503 stands for an answer that never comes. */
  readonly onPublished?: (message: TwinMessage, answer: PublishAnswer) => void;
}

/** What a power cut finds of one stream. */
export interface UnsyncedTail {
  readonly account: string;
  readonly stream: string;
  /** Acknowledged entries that were never synced. */
  readonly entries: number;
  /** The stream was made since the last sync. */
  readonly isNew: boolean;
  /** Its settings were changed since: a segment that was closed may be open again. */
  readonly isReconfigured: boolean;
}

/**
 * What it leaves: that many of the unsynced entries, and the changed settings unless told otherwise. -1 loses a stream that
 * `isNew` or `isReconfigured`, with all that it held: its settings no longer match their checksum. `tearsLast`: the last of
 * the entries that are left has its number and nothing more, and what is added behind it nobody gets to read.
 */
export type Remains =
  | number
  | { readonly entries: number; readonly keepsSettings: boolean; readonly tearsLast?: boolean };

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

/** From a start to the first connection that is taken, and from there to JetStream's first answer. */
const startupMsMax = 500;
const jetStreamStartupMsMax = 300;

/** One log server: a data centre's or the hub's. It runs from its making. */
export class TwinServer {
  readonly domain: string;
  readonly #options: TwinServerOptions;
  readonly #accounts = new Map<string, TwinAccount>();
  readonly #leaves = new Set<TwinLeaf>();
  #run = 1;
  #runs = 1;
  #isReady = true;
  #isPaused = false;
  #isFull = false;
  #backlog: (() => void)[] = [];
  #starting: Timer | undefined;

  constructor(options: TwinServerOptions) {
    this.domain = options.domain;
    this.#options = options;
    const { syncEveryMs = minuteMs, clock } = options;
    if (syncEveryMs > 0) {
      clock.every(syncEveryMs, () => {
        if (this.#run !== 0 && !this.#isPaused) this.sync();
      });
    }
  }

  /**
   * The disk takes nothing more than the last page of a file has room for. What is there can be read, until a write fails:
   * then its stream hangs, whoever asks for it waits and has its connection frozen, and only a restart helps, whether or not
   * there is room again. What was acknowledged is kept. New streams are refused.
   */
  get diskFull(): boolean {
    return this.#isFull;
  }

  set diskFull(isFull: boolean) {
    this.#isFull = isFull;
    if (isFull || !this.hangs || this.#options.restartsWhenRoom === false) return;
    this.kill();
    this.start();
  }

  /** A write failed for want of room since the last start. */
  get hangs(): boolean {
    return [...this.#accounts.values()].some(({ jetStream }) =>
      [...jetStream.streams.values()].some((stream) => stream.hangs),
    );
  }

  /** Takes connections; a server that stands still does so too, and never answers. */
  get isRunning(): boolean {
    return this.#run !== 0;
  }

  /** kill -9: connections break, the disk keeps all that was written. */
  kill(): void {
    this.#starting?.cancel();
    this.#run = 0;
    this.#isReady = false;
    this.#isPaused = false;
    this.#backlog = [];
    for (const account of this.#accounts.values()) {
      for (const session of [...account.sessions]) session.hangUp(this.#options.random.next() < 0.5);
      account.sessions.clear();
      account.thaw();
      account.jetStream.restart();
    }
    for (const leaf of this.#leaves) leaf.broken();
  }

  /** After a kill or a power cut. It takes connections after a moment of the server's clock, and JetStream after another. */
  start(): void {
    assert(this.#run === 0, "only a server that is down is started");
    const { clock, random } = this.#options;
    this.#starting?.cancel();
    this.#starting = clock.after(random.next() * startupMsMax, () => {
      this.#run = ++this.#runs;
      for (const account of this.#accounts.values()) account.jetStream.restart();
      this.#starting = clock.after(random.next() * jetStreamStartupMsMax, () => {
        this.#isReady = true;
      });
    });
  }

  /** kill, and of what was never synced only as much is left as `keep` says: nothing unless told otherwise. */
  powerCut(keep: (tail: UnsyncedTail) => Remains = () => 0): void {
    if (this.#options.syncEveryMs === 0) this.sync();
    this.kill();
    for (const [account, { jetStream }] of this.#accounts) {
      for (const [name, stream] of [...jetStream.streams]) {
        const { isNew, isReconfigured, unsynced: entries } = stream;
        const remains = keep({ account, stream: name, entries, isNew, isReconfigured });
        const {
          entries: kept,
          keepsSettings,
          tearsLast = false,
        } = typeof remains === "number" ? { entries: remains, keepsSettings: true } : remains;
        if (kept < 0 && (isNew || isReconfigured)) jetStream.removeStream(name);
        else stream.loseTail(Math.min(kept, entries), keepsSettings, tearsLast && kept > 0);
      }
    }
  }

  /** What was written until now outlasts a power cut. */
  sync(): void {
    for (const { jetStream } of this.#accounts.values()) for (const stream of jetStream.streams.values()) stream.sync();
  }

  /** The disk is replaced by an empty one; the server must be down. */
  wipe(): void {
    assert(this.#run === 0, "only a server that is down loses its disk");
    for (const { jetStream } of this.#accounts.values()) jetStream.wipe();
    this.diskFull = false;
  }

  /** What waits for a server that is paused. */
  get heldBack(): number {
    return this.#backlog.length;
  }

  /** SIGSTOP: it hears and says nothing until `resume`; what was sent to it meanwhile is carried out then, wanted or not. */
  pause(): void {
    if (this.#run !== 0) this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const run of backlog) this.#enter(run);
  }

  /** pause, and resume after that time. */
  standStill(forMs: number): void {
    this.pause();
    const run = this.#run;
    this.#options.clock.after(forMs, () => {
      if (this.#run === run) this.resume();
    });
  }

  /** For invariants: what lies on its disk now. */
  streams(): readonly TwinStreamState[] {
    return [...this.#accounts].flatMap(([account, { jetStream }]) =>
      [...jetStream.streams].map(([stream, { created, firstSequence, lastSequence, unsynced, bytes, config }]) => {
        const isMirror = config.mirror !== undefined;
        return { account, stream, created, firstSequence, lastSequence, unsynced, bytes, isMirror };
      }),
    );
  }

  /** An operator's `nats stream rm`. */
  deleteStream(account: string, stream: string): void {
    this.#account(account).jetStream.removeStream(stream);
  }

  /** For connectTwin. */
  port(): ServerPort {
    const run = () => `${this.domain}/${this.#run}`;
    return {
      get run() {
        return run();
      },
      hears: (session) => this.#run !== 0 && !this.#isPaused && this.#account(session.account).hears(session),
      dial: (session) => {
        if (this.#run === 0) return session.hangUp(false);
        this.#enter(() => {
          this.#account(session.account).sessions.add(session);
          session.accepted();
        });
      },
      receive: (session, message) => {
        const account = this.#account(session.account);
        // What a stopped server's socket holds is carried out later, even for a client that has left by then.
        if (account.sessions.has(session)) this.#enter(() => account.take(session, message));
      },
      leave: (session) => this.#enter(() => this.#account(session.account).sessions.delete(session)),
    };
  }

  /** For joinTwins. */
  join(name: string, leaf: () => TwinLeaf, direction: "up" | "down", other: string): LeafEnd {
    const account = this.#account(name);
    account.leaf = { send: (message) => leaf().send(direction, message), datacenter: other };
    const { clock, random } = this.#options;
    const run = () => this.#run;
    const isPaused = () => this.#isPaused;
    const isReady = () => this.#isReady;
    return {
      clock,
      random,
      jetStream: account.jetStream,
      get run() {
        return run();
      },
      get isPaused() {
        return isPaused();
      },
      get isReady() {
        return isReady();
      },
      get apiHangs() {
        return account.leafHangs;
      },
      enter: (act) => this.#enter(act),
      deliver: (message) => account.routeHere(message),
    };
  }

  addLeaf(leaf: TwinLeaf): void {
    this.#leaves.add(leaf);
  }

  #account(name: string): TwinAccount {
    let account = this.#accounts.get(name);
    if (!account) {
      const { clock, random } = this.#options;
      const isFull = () => this.diskFull;
      account = new TwinAccount(this.domain, () => this.#isReady, this.#options.onPublished, {
        clock,
        random,
        get diskFull() {
          return isFull();
        },
        every: (periodMs, callback) =>
          clock.every(periodMs, () => {
            if (this.#run !== 0 && !this.#isPaused) callback();
          }),
      });
      this.#accounts.set(name, account);
    }
    return account;
  }

  #enter(run: () => void): void {
    if (this.#isPaused) this.#backlog.push(run);
    else if (this.#run !== 0) run();
  }
}

export interface TwinLinkOptions {
  readonly server: TwinServer;
  /** At the hub: `DC_<NAME>` or `GLOBAL` (topology/nats.ts). A data centre's own server has only one, "". */
  readonly account?: string;
  readonly line: TwinLine;
  /** The client's own. */
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** How what arrives gets into the client's process, which may be paused or dead; at once unless given. */
  readonly enter?: (run: () => void) => void;
}

/** As connectNats: returns at once, and keeps trying. `close` also stands for the death of the client's process. */
export function connectTwin(options: TwinLinkOptions): NatsLink {
  const { server, account = "", enter = (run: () => void) => run(), ...rest } = options;
  return new TwinLink({ ...rest, account, enter, port: server.port() });
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
export function joinTwins({ datacenter, hub, account, line }: TwinLeafOptions): { close(): void } {
  const there = datacenter.join("", () => leaf, "up", datacenter.domain);
  const here = hub.join(account, () => leaf, "down", datacenter.domain);
  const leaf: TwinLeaf = new TwinLeaf(there, here, line);
  datacenter.addLeaf(leaf);
  hub.addLeaf(leaf);
  return leaf;
}

const noRoom = { code: 503, err_code: 0, description: "no space left on device" };

/** Who hears what within one account of a server. */
class TwinAccount {
  readonly sessions = new Set<Session>();
  readonly jetStream: TwinJetStream;
  leaf: { send(message: TwinMessage): boolean; readonly datacenter: string } | undefined;
  readonly #domain: string;
  readonly #apiPrefixes: readonly string[];
  readonly #isReady: () => boolean;
  readonly #onPublished: TwinServerOptions["onPublished"];
  /** Connections of which a call hangs: nothing that they send is heard any more. */
  readonly #frozen = new Set<Session>();
  /** The leaf's calls share one thread, so that one that hangs holds up all. */
  leafHangs = false;
  #isHanging = false;
  #exports: readonly string[] | undefined;

  constructor(
    domain: string,
    isReady: () => boolean,
    onPublished: TwinServerOptions["onPublished"],
    host: Omit<ConstructorParameters<typeof TwinJetStream>[0], "send">,
  ) {
    this.#domain = domain;
    this.#apiPrefixes = ["$JS.API.", `$JS.${domain}.API.`];
    this.#isReady = isReady;
    this.#onPublished = onPublished;
    const send = (message: TwinMessage) => this.route(message);
    this.jetStream = new TwinJetStream(
      Object.defineProperties({ send }, Object.getOwnPropertyDescriptors(host)) as never,
    );
  }

  hears(session: Session): boolean {
    return this.sessions.has(session) && !this.#frozen.has(session);
  }

  /** What came from a client. */
  take(session: Session, message: TwinMessage): void {
    if (this.#frozen.has(session)) return;
    this.#isHanging = false;
    this.route(message);
    if (this.#isHanging) this.#frozen.add(session);
  }

  thaw(): void {
    this.#frozen.clear();
    this.leafHangs = false;
  }

  route(message: TwinMessage): void {
    const isHeardHere = this.#route(message);
    // Reports are for whoever listens; all else has one place.
    const isTaken = isHeardHere && !message.subject.startsWith("wm.") ? true : this.#passOn(message) || isHeardHere;
    if (!isTaken && message.reply !== "" && !("inbox" in message)) {
      this.#answer(message.reply, emptyPayload, 503, "No Responders");
    }
  }

  /** What came over the leaf does not go back. */
  routeHere(message: TwinMessage): void {
    const isCall = message.subject.startsWith("$JS.");
    if (isCall && this.leafHangs) return;
    this.#isHanging = false;
    const isTaken = this.#route(message);
    if (isCall && this.#isHanging) this.leafHangs = true;
    if (!isTaken && message.reply !== "") this.#answer(message.reply, emptyPayload, 503, "No Responders");
  }

  #route(message: TwinMessage | Delivery): boolean {
    const to = "inbox" in message ? message.inbox : message.subject;
    if (to.startsWith("_INBOX.")) {
      const inbox = to.slice(0, to.indexOf(".", 7));
      for (const session of this.sessions) {
        if (session.inbox !== inbox) continue;
        session.send(message);
        return true;
      }
      return false;
    }
    for (const prefix of to.startsWith("$JS.") ? this.#apiPrefixes : []) {
      if (to.startsWith(prefix)) return this.#isReady() && this.#call(to.slice(prefix.length), message);
    }
    let isTaken = false;
    const stream = this.#isReady() ? this.jetStream.streamFor(to) : undefined;
    if (stream) {
      const answer = this.jetStream.publish(stream, message);
      this.#onPublished?.(message, answer === hanging ? { error: noRoom } : answer);
      if (answer === hanging) this.#isHanging = true;
      else if (message.reply !== "") this.#answerJson(message.reply, answer);
      isTaken = true;
    }
    for (const session of this.sessions) {
      for (const pattern of session.patterns) {
        if (!subjectMatches(pattern, to)) continue;
        session.send(message);
        isTaken = true;
        break;
      }
    }
    return isTaken;
  }

  #call(call: string, { payload, reply }: TwinMessage): boolean {
    const answer = this.jetStream.call(call, payload, reply);
    if (answer === hanging) this.#isHanging = true;
    else if (answer && reply !== "") this.#answerJson(reply, answer);
    return true;
  }

  /** Over the leaf, as far as its user's permissions go (topology/nats.ts). */
  #passOn(message: TwinMessage): boolean {
    const { leaf } = this;
    if (!leaf) return false;
    this.#exports ??= this.#exportsTo(leaf.datacenter);
    return this.#exports.some((pattern) => subjectMatches(pattern, message.subject)) && leaf.send(message);
  }

  #exportsTo(datacenter: string): readonly string[] {
    const isToHub = datacenter === this.#domain;
    if (isToHub) return ["_INBOX.>"];
    return [
      `$JS.${datacenter}.API.CONSUMER.>`,
      `$JS.${datacenter}.API.STREAM.INFO.>`,
      `$JS.${datacenter}.API.STREAM.NAMES`,
      `wm.${datacenter}.>`,
    ];
  }

  #answerJson(reply: string, answer: object | string): void {
    this.#answer(reply, Buffer.from(typeof answer === "string" ? answer : JSON.stringify(answer)), 0, "");
  }

  #answer(subject: string, payload: Uint8Array, status: number, statusText: string): void {
    this.route({ subject, reply: "", status, statusText, payload, headers: {} });
  }
}
