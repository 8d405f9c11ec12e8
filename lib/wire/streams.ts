// JetStream's management and publishing, as JSON requests over a link.
//
// The protocol is NATS' own (ADR-1 "JetStream JSON API Design", and the types of nats-server's server/jetstream_api.go);
// only what Heliograph uses is here. Durations on the wire are nanoseconds.

import type { NatsLink, NatsLinkError, NatsMessage } from "#/lib/wire/jetstream.ts";

/** Answers come from memory; a replicated stream's leader election takes about this long. */
const requestTimeoutMs = 4000;

/** JetStream's own code for it. */
const wrongLastSequence = 10071;
const consumerNotFound = 10014;
const streamNotFound = 10059;
const messageNotFound = 10037;
export const subjectsOverlap = 10065;
export const streamNameInUse = 10058;

export interface StreamConfig {
  readonly name: string;
  readonly description?: string;
  readonly subjects?: readonly string[];
  readonly retention: "limits";
  readonly storage: "file";
  readonly discard: "old" | "new";
  readonly max_msgs: number;
  readonly max_msgs_per_subject: number;
  readonly max_bytes: number;
  readonly max_age: number;
  readonly max_msg_size: number;
  readonly max_consumers: number;
  readonly num_replicas: number;
  readonly duplicate_window?: number;
  readonly deny_delete?: boolean;
  readonly deny_purge?: boolean;
  readonly allow_rollup_hdrs?: boolean;
  readonly allow_direct?: boolean;
  readonly mirror?: {
    readonly name: string;
    readonly filter_subject?: string;
    readonly external?: { readonly api: string; readonly deliver: string };
  };
}

export interface StreamInfo {
  readonly config: StreamConfig;
  /** RFC 3339. */
  readonly created: string;
  readonly state: {
    readonly messages: number;
    readonly bytes: number;
    readonly first_seq: number;
    readonly last_seq: number;
    /** Sequences amid the stream that hold nothing; absent when there is none. */
    readonly num_deleted?: number;
    /** RFC 3339: when the newest was stored. */
    readonly last_ts: string;
  };
}

export interface PublishAck {
  readonly stream: string;
  readonly seq: number;
  readonly duplicate?: boolean;
}

/** `missing`: no such stream, consumer or message. `conflict`: another revision stands there. `refused`: for any other reason. */
export type JetStreamErrorCode = "missing" | "conflict" | "refused" | "unavailable";

export class JetStreamError extends Error {
  override readonly name = "JetStreamError";
  readonly code: JetStreamErrorCode;
  /** The server's own `err_code`. */
  readonly serverCode: number;

  constructor(code: JetStreamErrorCode, serverCode: number, message: string) {
    super(message);
    this.code = code;
    this.serverCode = serverCode;
  }
}

/** All methods reject with JetStreamError or, when no answer came, with NatsLinkError. */
export class JetStreamApi {
  readonly #link: NatsLink;
  readonly #prefix: string;
  readonly #timeoutMs: number;

  /** `domain`: of another JetStream behind a leaf link; the server's own unless given. */
  constructor(link: NatsLink, options: { readonly domain?: string; readonly timeoutMs?: number } = {}) {
    this.#link = link;
    this.#prefix = options.domain === undefined ? "$JS.API" : `$JS.${options.domain}.API`;
    this.#timeoutMs = options.timeoutMs ?? requestTimeoutMs;
  }

  async streamNames(): Promise<readonly string[]> {
    const names: string[] = [];
    for (;;) {
      const page = await this.#ask<{ total: number; streams: string[] | null }>("STREAM.NAMES", {
        offset: names.length,
      });
      names.push(...(page.streams ?? []));
      if (names.length >= page.total || !page.streams?.length) return names;
    }
  }

  /** Undefined when there is no such stream. */
  async streamInfo(name: string): Promise<StreamInfo | undefined> {
    try {
      return await this.#ask<StreamInfo>(`STREAM.INFO.${name}`, {});
    } catch (error) {
      if (error instanceof JetStreamError && error.code === "missing") return undefined;
      throw error;
    }
  }

  /**
   * Does nothing when the stream exists with this configuration. One that could not be made for want of room leaves an empty
   * file of settings, which nats-server 2.9 takes for a written one: under that name a stream is gone after the next restart.
   */
  async createStream(config: StreamConfig): Promise<StreamInfo> {
    return this.#ask<StreamInfo>(`STREAM.CREATE.${config.name}`, config);
  }

  async updateStream(config: StreamConfig): Promise<StreamInfo> {
    return this.#ask<StreamInfo>(`STREAM.UPDATE.${config.name}`, config);
  }

  /** Removes what stands before that sequence. */
  async purge(stream: string, beforeSequence: number): Promise<void> {
    await this.#ask(`STREAM.PURGE.${stream}`, { seq: beforeSequence });
  }

  /** A pull consumer without acknowledgements, in memory, from that sequence on. The server forgets it when it is not asked for `inactiveMs`. */
  async createReader(stream: string, startSequence: number, inactiveMs: number): Promise<string> {
    const info = await this.#ask<{ name: string }>(`CONSUMER.CREATE.${stream}`, {
      stream_name: stream,
      config: {
        ack_policy: "none",
        deliver_policy: "by_start_sequence",
        opt_start_seq: startSequence,
        replay_policy: "instant",
        inactive_threshold: inactiveMs * 1e6,
        mem_storage: true,
        num_replicas: 1,
      },
    });
    return info.name;
  }

  async deleteReader(stream: string, consumer: string): Promise<void> {
    await this.#ask(`CONSUMER.DELETE.${stream}.${consumer}`, {});
  }

  /** Asks for up to `messages` messages, sent to `inbox`. False when the server is away. */
  pull(
    stream: string,
    consumer: string,
    inbox: string,
    ask: { readonly messages: number; readonly expiresMs: number; readonly heartbeatMs: number },
  ): boolean {
    const request = { batch: ask.messages, expires: ask.expiresMs * 1e6, idle_heartbeat: ask.heartbeatMs * 1e6 };
    return this.#link.publish(`${this.#prefix}.CONSUMER.MSG.NEXT.${stream}.${consumer}`, toJson(request), {
      reply: inbox,
    });
  }

  /** The newest message on a subject, undefined when there is none. */
  async lastMessage(
    stream: string,
    subject: string,
  ): Promise<{ readonly seq: number; readonly payload: Uint8Array; readonly headers: string } | undefined> {
    type Answer = { message: { seq: number; data?: string; hdrs?: string } };
    try {
      const { message } = await this.#ask<Answer>(`STREAM.MSG.GET.${stream}`, { last_by_subj: subject });
      const headers = message.hdrs === undefined ? "" : Buffer.from(message.hdrs, "base64").toString();
      return { seq: message.seq, payload: Buffer.from(message.data ?? "", "base64"), headers };
    } catch (error) {
      if (error instanceof JetStreamError && error.serverCode === messageNotFound) return undefined;
      throw error;
    }
  }

  async hasMessage(stream: string, sequence: number): Promise<boolean> {
    try {
      await this.#ask(`STREAM.MSG.GET.${stream}`, { seq: sequence });
      return true;
    } catch (error) {
      if (error instanceof JetStreamError && error.serverCode === messageNotFound) return false;
      throw error;
    }
  }

  /** Resolves when a stream has stored it. NatsLinkError `no_responders` says that no stream takes the subject. */
  async publish(
    subject: string,
    payload: Uint8Array,
    options: {
      readonly headers: Readonly<Record<string, string>>;
      readonly timeoutMs: number;
      readonly signal?: AbortSignal;
    },
  ): Promise<PublishAck> {
    return answerOf<PublishAck>(subject, await this.#link.request(subject, payload, options));
  }

  async #ask<T>(call: string, body: unknown): Promise<T> {
    const subject = `${this.#prefix}.${call}`;
    return answerOf<T>(subject, await this.#link.request(subject, toJson(body), { timeoutMs: this.#timeoutMs }));
  }
}

/** A message that a reader pulled, with what the server says about it in its reply subject (ADR-15). */
export interface PulledMessage {
  readonly streamSequence: number;
  /** Counts from 1 within the consumer: a gap here was lost on the way, a gap in the other alone was never in the stream. */
  readonly deliverySequence: number;
  /** When the origin stream stored it. */
  readonly storedMs: number;
}

/** Undefined when it is no JetStream message. */
export function pulledMessage(message: NatsMessage): PulledMessage | undefined {
  const parts = message.reply.split(".");
  if (parts[0] !== "$JS" || parts[1] !== "ACK") return undefined;
  // `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, or with domain and account first.
  const at = parts.length >= 11 ? 4 : 2;
  const streamSequence = Number(parts[at + 3]);
  const deliverySequence = Number(parts[at + 4]);
  const storedMs = Number(parts[at + 5]) / 1e6;
  if (parts.length < at + 7 || Number.isNaN(streamSequence + deliverySequence + storedMs)) return undefined;
  return { streamSequence, deliverySequence, storedMs };
}

/** True when the call may succeed later as it is. */
export function isTransient(error: unknown): boolean {
  if (error instanceof JetStreamError) return error.code === "unavailable";
  const code = (error as Partial<NatsLinkError>).code;
  return code === "unavailable" || code === "timeout" || code === "no_responders";
}

function answerOf<T>(subject: string, message: NatsMessage): T {
  let answer: { error?: { code: number; err_code?: number; description?: string } };
  try {
    const { buffer, byteOffset, byteLength } = message.payload;
    answer = JSON.parse(Buffer.from(buffer, byteOffset, byteLength).toString());
  } catch {
    throw new JetStreamError("refused", 0, `${subject}: the answer is not JSON: is a stream listening there?`);
  }
  const { error } = answer;
  if (!error) return answer as T;
  const serverCode = error.err_code ?? 0;
  const text = `${subject}: ${error.description ?? "refused"} (${serverCode})`;
  if (serverCode === wrongLastSequence) throw new JetStreamError("conflict", serverCode, text);
  if ([streamNotFound, consumerNotFound, messageNotFound].includes(serverCode)) {
    throw new JetStreamError("missing", serverCode, text);
  }
  // 503 and its like: JetStream is starting, or its cluster has no leader.
  throw new JetStreamError(error.code >= 500 && serverCode !== 10047 ? "unavailable" : "refused", serverCode, text);
}

function toJson(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
