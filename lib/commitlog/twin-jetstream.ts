// JetStream of one account of the twin: the calls of streams.ts, answered as nats-server 2.9 does (server/jetstream_api.go,
// server/stream.go, server/consumer.go).

import { Buffer } from "node:buffer";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import { type StoredMessage, subjectMatches, TwinStream } from "#/lib/commitlog/twin-stream.ts";
import type { Random } from "#/lib/random/random.ts";
import type { StreamConfig, StreamInfo } from "#/lib/wire/streams.ts";

/** A message on its way between servers and clients. */
export interface TwinMessage {
  readonly subject: string;
  readonly reply: string;
  /** Of a status message, else 0. */
  readonly status: number;
  readonly statusText: string;
  readonly payload: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

export type PublishAnswer =
  | { readonly stream: string; readonly seq: number; readonly duplicate?: true }
  | { readonly error: { readonly code: number; readonly err_code: number; readonly description: string } };

export interface JetStreamHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly diskFull: boolean;
  /** To whoever listens on that subject. */
  send(message: TwinMessage): void;
  /** Calls back every so often, but not while the server stands still or is dead. */
  every(periodMs: number, callback: () => void): Timer;
}

export const emptyPayload = new Uint8Array(0);

const streamNotFound = { code: 404, err_code: 10059, description: "stream not found" };
const consumerNotFound = { code: 404, err_code: 10014, description: "consumer not found" };
const messageNotFound = { code: 404, err_code: 10037, description: "no message found" };
const nameInUse = { code: 400, err_code: 10058, description: "stream name already in use" };
const subjectsOverlap = { code: 400, err_code: 10065, description: "subjects overlap with an existing stream" };
const messageTooLarge = { code: 400, err_code: 10054, description: "message size exceeds maximum allowed" };
const wrongLastSequence = { code: 400, err_code: 10071, description: "wrong last sequence" };
const noStore = { code: 503, err_code: 10049, description: "error creating store for stream" };
const unknownCall = { code: 400, err_code: 10025, description: "bad request" };

/** Who called waits for an answer that never comes. */
export const hanging = Symbol("hanging");

class Refusal extends Error {
  readonly answer: object;

  constructor(error: { readonly code: number; readonly description: string }) {
    super(error.description);
    this.answer = { error };
  }
}

interface Pull {
  readonly inbox: string;
  left: number;
  isIdle: boolean;
  readonly untilMs: number;
  readonly ticks: Timer;
}

/** In the server's memory only: a restart forgets it. */
interface PullConsumer {
  readonly name: string;
  readonly stream: TwinStream;
  nextSequence: number;
  delivered: number;
  readonly inactiveMs: number;
  askedMs: number;
  pulls: Pull[];
}

/** The origin's side of a mirror: told of each new message. */
export interface Follower {
  readonly stream: TwinStream;
  pump(): void;
}

export class TwinJetStream {
  /** The disk. */
  readonly streams = new Map<string, TwinStream>();
  readonly followers = new Set<Follower>();
  readonly #consumers = new Map<string, PullConsumer>();
  /** Streams whose making failed for want of room: an empty file of settings is left, which is not written again. */
  readonly #torn = new Set<string>();
  readonly #host: JetStreamHost;
  #consumersMade = 0;

  constructor(host: JetStreamHost) {
    this.#host = host;
  }

  /** The part of the subject behind `$JS.API.`. Undefined: it has no answer of its own. */
  call(call: string, payload: Uint8Array, reply: string): object | string | typeof hanging | undefined {
    try {
      return this.#call(call, payload, reply);
    } catch (error) {
      if (error === hanging) return hanging;
      if (error instanceof Refusal) return error.answer;
      throw error;
    }
  }

  streamFor(subject: string): TwinStream | undefined {
    for (const stream of this.streams.values()) {
      if (stream.config.subjects?.some((pattern) => subjectMatches(pattern, subject))) return stream;
    }
    return undefined;
  }

  /** What a publisher is answered. The order of the checks is the server's: a known id comes before the size. */
  publish(stream: TwinStream, { subject, payload, headers }: TwinMessage): PublishAnswer | typeof hanging {
    const nowMs = this.#host.clock.nowMs();
    const { name, max_msg_size } = stream.config;
    if (stream.hangs) return hanging;
    const id = headers["Nats-Msg-Id"];
    const known = id === undefined ? undefined : stream.known(id, nowMs);
    if (known !== undefined) return { stream: name, seq: known, duplicate: true };
    const expected = headers["Nats-Expected-Last-Subject-Sequence"];
    if (expected !== undefined && Number(expected) !== (stream.lastOf(subject)?.sequence ?? 0)) {
      return { error: wrongLastSequence };
    }
    let headerBytes = 12;
    for (const key in headers) headerBytes += key.length + headers[key]!.length + 4;
    if (max_msg_size >= 0 && payload.length + headerBytes > max_msg_size) return { error: messageTooLarge };
    if (!this.#hasRoom(stream, { subject, payload, id })) return hanging;
    const { sequence } = stream.append({ subject, payload, id }, nowMs);
    this.announce(stream);
    return { stream: name, seq: sequence };
  }

  /** What came from a mirror's origin. False when it could not be stored: the mirror hangs. */
  copy(mirror: TwinStream, message: StoredMessage): boolean {
    if (mirror.hangs || !this.#hasRoom(mirror, message)) return false;
    mirror.copy(message, this.#host.clock.nowMs());
    this.announce(mirror);
    return true;
  }

  /** nats-server 2.9.10 never lets go of the lock of a stream whose write failed (filestore.go, rebuildStateLocked). */
  #hasRoom(stream: TwinStream, message: Pick<StoredMessage, "subject" | "payload" | "id">): boolean {
    stream.hangs = this.#host.diskFull && !stream.fits(message);
    return !stream.hangs;
  }

  /** After messages were added. */
  announce(stream: TwinStream): void {
    for (const consumer of this.#consumers.values()) if (consumer.stream === stream) this.#pump(consumer);
    for (const follower of this.followers) if (follower.stream === stream) follower.pump();
  }

  removeStream(name: string): void {
    const stream = this.streams.get(name);
    this.streams.delete(name);
    for (const consumer of [...this.#consumers.values()]) if (consumer.stream === stream) this.#remove(consumer);
  }

  /** The disk is replaced by an empty one. */
  wipe(): void {
    this.streams.clear();
    this.#torn.clear();
  }

  /** What lives in memory is gone. */
  restart(): void {
    for (const consumer of this.#consumers.values()) for (const { ticks } of consumer.pulls) ticks.cancel();
    this.#consumers.clear();
    this.followers.clear();
    for (const [name, { isRecoverable }] of [...this.streams]) if (!isRecoverable) this.streams.delete(name);
    for (const stream of this.streams.values()) stream.restart(this.#host.clock.nowMs());
  }

  #call(call: string, payload: Uint8Array, reply: string): object | string | undefined {
    const [area, verb, name = "", consumer = ""] = call.startsWith("CONSUMER.MSG.NEXT.")
      ? ["CONSUMER", "NEXT", ...call.split(".").slice(3)]
      : call.startsWith("STREAM.MSG.GET.")
        ? ["STREAM", "GET", ...call.split(".").slice(3)]
        : call.split(".");
    const nowMs = this.#host.clock.nowMs();
    switch (`${area}.${verb}`) {
      case "STREAM.NAMES": {
        const names = [...this.streams.keys()].sort();
        return { total: names.length, offset: 0, limit: 1024, streams: names.slice(parse<Paged>(payload).offset) };
      }
      case "STREAM.INFO":
        return infoAnswerOf(this.#stream(name).info(nowMs));
      case "STREAM.CREATE":
        return this.#createStream(parse<StreamConfig>(payload)).info(nowMs);
      case "STREAM.UPDATE":
        return this.#updateStream(parse<StreamConfig>(payload)).info(nowMs);
      case "STREAM.PURGE":
        this.#stream(name).purge(parse<{ seq: number }>(payload).seq);
        return { success: true };
      case "STREAM.GET": {
        const { seq, last_by_subj } = parse<{ seq?: number; last_by_subj: string }>(payload);
        const stream = this.#stream(name);
        const found = seq === undefined ? stream.lastOf(last_by_subj) : stream.at(seq, nowMs);
        if (!found || (seq !== undefined && found.sequence !== seq)) throw new Refusal(messageNotFound);
        return storedAnswerOf(found);
      }
      case "CONSUMER.CREATE":
        return { name: this.#createConsumer(this.#stream(name), parse<ConsumerRequest>(payload)).name };
      case "CONSUMER.DELETE": {
        const found = this.#consumer(this.#stream(name).config.name, consumer);
        if (!found) throw new Refusal(consumerNotFound);
        this.#remove(found);
        return { success: true };
      }
      case "CONSUMER.NEXT":
        this.#next(this.#consumer(name, consumer), parse<PullRequest>(payload), reply);
        return undefined;
      default:
        throw new Refusal(unknownCall);
    }
  }

  #stream(name: string): TwinStream {
    const stream = this.streams.get(name);
    if (!stream) throw new Refusal(streamNotFound);
    if (stream.hangs) throw hanging;
    return stream;
  }

  #createStream(config: StreamConfig): TwinStream {
    const present = this.streams.get(config.name);
    if (present?.hangs) throw hanging;
    if (present && JSON.stringify(present.config) !== JSON.stringify(config)) throw new Refusal(nameInUse);
    if (present) return present;
    this.#refuseOverlap(config);
    if (this.#host.diskFull && !this.#torn.has(config.name)) {
      this.#torn.add(config.name);
      throw new Refusal(noStore);
    }
    const { clock, random } = this.#host;
    const created = new Date(clock.nowMs())
      .toISOString()
      .replace("Z", `${String(random.below(1e6)).padStart(6, "0")}Z`);
    const stream = new TwinStream(config, created);
    stream.isRecoverable = !this.#torn.has(config.name);
    this.streams.set(config.name, stream);
    return stream;
  }

  #updateStream(config: StreamConfig): TwinStream {
    const stream = this.#stream(config.name);
    this.#refuseOverlap(config);
    // On a full disk too: the file of the settings has its page. One that has none is not written, and the answer is the same.
    if (!this.#host.diskFull) {
      this.#torn.delete(config.name);
      stream.isRecoverable = true;
    }
    stream.reconfigure(config);
    return stream;
  }

  #refuseOverlap({ name, subjects = [] }: StreamConfig): void {
    for (const other of this.streams.values()) {
      if (other.config.name === name) continue;
      for (const subject of subjects) {
        // The log's patterns overlap only when they are the same.
        if (other.config.subjects?.includes(subject)) throw new Refusal(subjectsOverlap);
      }
    }
  }

  #createConsumer(stream: TwinStream, { config }: ConsumerRequest): PullConsumer {
    const { last_seq } = stream.info(this.#host.clock.nowMs()).state;
    const name = `twin${++this.#consumersMade}`;
    const consumer: PullConsumer = {
      name,
      stream,
      // Past the end it begins at the end, whatever was asked (selectStartingSeqNo).
      nextSequence: Math.min(config.opt_start_seq, last_seq + 1),
      delivered: 0,
      inactiveMs: config.inactive_threshold / 1e6,
      askedMs: this.#host.clock.monotonicMs(),
      pulls: [],
    };
    for (const other of [...this.#consumers.values()]) this.#consumer(other.stream.config.name, other.name);
    this.#consumers.set(name, consumer);
    return consumer;
  }

  /** One that nobody asked for long enough is no longer there. */
  #consumer(stream: string, name: string): PullConsumer | undefined {
    const consumer = this.#consumers.get(name);
    if (!consumer || consumer.stream.config.name !== stream) return undefined;
    const idleMs = this.#host.clock.monotonicMs() - consumer.askedMs;
    if (consumer.pulls.length > 0 || idleMs < consumer.inactiveMs) return consumer;
    this.#remove(consumer);
    return undefined;
  }

  #remove(consumer: PullConsumer): void {
    this.#consumers.delete(consumer.name);
    for (const { ticks, inbox } of consumer.pulls) {
      ticks.cancel();
      this.#status(inbox, 409, "Consumer Deleted");
    }
    consumer.pulls = [];
  }

  #next(consumer: PullConsumer | undefined, ask: PullRequest, inbox: string): void {
    if (!consumer) {
      this.#status(inbox, 503, "No Responders");
      return;
    }
    if (consumer.stream.hangs) return;
    const { clock } = this.#host;
    consumer.askedMs = clock.monotonicMs();
    const pull: Pull = {
      inbox,
      left: ask.batch,
      isIdle: true,
      untilMs: clock.monotonicMs() + ask.expires / 1e6,
      ticks: this.#host.every(ask.idle_heartbeat / 1e6, () => this.#tick(consumer, pull)),
    };
    consumer.pulls.push(pull);
    this.#pump(consumer);
  }

  #tick(consumer: PullConsumer, pull: Pull): void {
    const { clock } = this.#host;
    if (consumer.stream.hangs) return;
    if (clock.monotonicMs() >= pull.untilMs) {
      this.#end(consumer, pull);
      this.#status(pull.inbox, 408, "Request Timeout");
      return;
    }
    if (pull.isIdle) {
      const headers = { "Nats-Last-Consumer": String(consumer.delivered) };
      this.#status(pull.inbox, 100, "Idle Heartbeat", headers);
    }
    pull.isIdle = true;
  }

  #end(consumer: PullConsumer, pull: Pull): void {
    pull.ticks.cancel();
    consumer.pulls = consumer.pulls.filter((other) => other !== pull);
    consumer.askedMs = this.#host.clock.monotonicMs();
  }

  #pump(consumer: PullConsumer): void {
    for (let pull = consumer.pulls[0]; pull; pull = consumer.pulls[0]) {
      const message = consumer.stream.at(consumer.nextSequence, this.#host.clock.nowMs());
      if (!message) return;
      consumer.nextSequence = message.sequence + 1;
      consumer.delivered++;
      pull.isIdle = false;
      pull.left--;
      this.#host.send(deliveryOf(consumer, message, pull.inbox));
      if (pull.left === 0) this.#end(consumer, pull);
    }
  }

  #status(subject: string, status: number, statusText: string, headers: TwinMessage["headers"] = {}): void {
    this.#host.send({ subject, reply: "", status, statusText, payload: emptyPayload, headers });
  }
}

/** A pulled message keeps its subject, and comes on the inbox: so it is wrapped for the way. */
export interface Delivery extends TwinMessage {
  readonly inbox: string;
}

function deliveryOf({ name, stream, delivered }: PullConsumer, message: StoredMessage, inbox: string): Delivery {
  const { subject, payload, sequence, storedMs } = message;
  const pending = stream.lastSequence - sequence;
  const storedNs = Math.round(storedMs * 1e6);
  const reply = `$JS.ACK.${stream.config.name}.${name}.1.${sequence}.${delivered}.${storedNs}.${pending}`;
  return { subject, reply, status: 0, statusText: "", payload, headers: {}, inbox };
}

/** As JSON. A lease's record is looked at many times before it is written again. */
function storedAnswerOf(message: StoredMessage): string {
  let answer = storedAnswers.get(message);
  if (answer === undefined) {
    const data = Buffer.from(message.payload).toString("base64");
    answer = JSON.stringify({ message: { seq: message.sequence, data } });
    storedAnswers.set(message, answer);
  }
  return answer;
}

const storedAnswers = new WeakMap<StoredMessage, string>();

/** As JSON. The settings are most of it, and the same for hours. */
function infoAnswerOf({ config, created, state }: StreamInfo): string {
  let text = configTexts.get(config);
  if (text === undefined) configTexts.set(config, (text = JSON.stringify(config)));
  return `{"config":${text},"created":${JSON.stringify(created)},"state":${JSON.stringify(state)}}`;
}

const configTexts = new WeakMap<StreamConfig, string>();

interface Paged {
  readonly offset: number;
}

interface ConsumerRequest {
  readonly config: { readonly opt_start_seq: number; readonly inactive_threshold: number };
}

interface PullRequest {
  readonly batch: number;
  readonly expires: number;
  readonly idle_heartbeat: number;
}

function parse<T>(payload: Uint8Array): T {
  return JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString()) as T;
}
