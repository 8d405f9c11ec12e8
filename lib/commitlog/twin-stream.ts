// A stream of the twin: entries on a simulated disk, with JetStream's limits, its window of ids, and a tail that was
// acknowledged and never synced.

import type { StreamConfig, StreamInfo } from "#/lib/wire/streams.ts";

export interface StoredMessage {
  readonly sequence: number;
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly id: string | undefined;
  /** When the origin stored it, by its wall clock. */
  readonly storedMs: number;
  readonly bytes: number;
}

/** What the file store adds to a message: lengths, sequence, time, checksum (nats-server, server/filestore.go). */
const recordBytes = 30;
const idHeaderBytes = 28;

const pageBytes = 4096;

/** From a stream's making to that of its store. */
const openingMs = 15;

export class TwinStream {
  config: StreamConfig;
  created: string;
  lastSequence = 0;
  bytes = 0;
  /** A write failed for want of room, and whoever asks for this stream waits for good: in memory, until a restart. */
  hangs = false;
  /** Its last entry was torn in a power cut: what is added behind is acknowledged, and nobody gets to read it. */
  #isTorn = false;
  /** False: the file of its settings is empty, and the next start does not find it. */
  isRecoverable = true;
  /** To the end of its file. */
  #written = 0;
  /** In order of their sequences; the first `#head` are gone. */
  #messages: StoredMessage[] = [];
  #head = 0;
  /** In the order of their arrival. Ids live in memory: they outlast their messages until a restart. */
  #ids = new Map<string, { readonly sequence: number; readonly storedMs: number }>();
  #synced = { sequence: 0, config: undefined as StreamConfig | undefined, created: "" };
  /** What the settings' file says of `created`, and what it will say after the next change: when the store was opened. */
  #writtenCreated: string;
  #openedAt: string;

  constructor(config: StreamConfig, created: string) {
    this.config = config;
    this.created = created;
    this.#writtenCreated = created;
    this.#openedAt = new Date(Date.parse(created) + openingMs).toISOString();
  }

  reconfigure(config: StreamConfig): void {
    this.config = config;
    this.#writtenCreated = this.#openedAt;
  }

  get unsynced(): number {
    return this.lastSequence - this.#synced.sequence;
  }

  /** Made since the last sync. */
  get isNew(): boolean {
    return this.#synced.config === undefined;
  }

  get isReconfigured(): boolean {
    return !this.isNew && this.#synced.config !== this.config;
  }

  get messages(): number {
    return this.#messages.length - this.#head;
  }

  get firstSequence(): number {
    return this.#messages[this.#head]?.sequence ?? this.lastSequence + 1;
  }

  info(nowMs: number): StreamInfo {
    this.expire(nowMs);
    const { config, created, messages, bytes, firstSequence, lastSequence } = this;
    const first_seq = lastSequence === 0 ? 0 : firstSequence;
    const deleted = this.#isTorn ? { num_deleted: 1 } : {};
    const last_ts = new Date(this.#messages.at(-1)?.storedMs ?? 0).toISOString();
    return { config, created, state: { messages, bytes, first_seq, last_seq: lastSequence, ...deleted, last_ts } };
  }

  /** The sequence under which an id is known. */
  known(id: string, nowMs: number): number | undefined {
    const windowMs = (this.config.duplicate_window ?? 0) / 1e6;
    for (const [old, { storedMs }] of this.#ids) {
      if (nowMs - storedMs < windowMs) break;
      this.#ids.delete(old);
    }
    return this.#ids.get(id)?.sequence;
  }

  /** Whether a full disk still takes it: the last page of the file does, to its end. */
  fits(message: Pick<StoredMessage, "subject" | "payload" | "id">): boolean {
    const used = this.#written % pageBytes;
    return used > 0 && used + sizeOf(message) <= pageBytes;
  }

  append(message: Pick<StoredMessage, "subject" | "payload" | "id">, nowMs: number): StoredMessage {
    const { subject, payload, id } = message;
    const bytes = sizeOf(message);
    const stored = { subject, payload, id, bytes, sequence: this.lastSequence + 1, storedMs: nowMs };
    if (this.config.max_msgs_per_subject === 1) this.#drop((old) => old.subject === subject);
    this.#store(stored);
    if (id !== undefined) this.#ids.set(id, { sequence: stored.sequence, storedMs: nowMs });
    this.expire(nowMs);
    return stored;
  }

  /** As a mirror does: with the origin's sequence and time. What it has, or believes to have, it passes over silently. */
  copy(message: StoredMessage, nowMs: number): void {
    if (message.sequence <= this.lastSequence) return;
    this.#store(message);
    this.expire(nowMs);
  }

  /** A mirror whose origin begins later, or holds nothing any more, goes on from there. */
  skipTo(sequence: number): void {
    this.lastSequence = Math.max(this.lastSequence, sequence);
  }

  /** The first message from that sequence on. */
  at(sequence: number, nowMs: number): StoredMessage | undefined {
    this.expire(nowMs);
    let low = this.#head;
    let high = this.#messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#messages[middle]!.sequence < sequence) low = middle + 1;
      else high = middle;
    }
    return this.#messages[low];
  }

  lastOf(subject: string): StoredMessage | undefined {
    for (let i = this.#messages.length - 1; i >= this.#head; i--) {
      if (this.#messages[i]!.subject === subject) return this.#messages[i];
    }
    return undefined;
  }

  /** The limits drop the oldest. */
  expire(nowMs: number): void {
    const { max_age, max_bytes } = this.config;
    for (;;) {
      const oldest = this.#messages[this.#head];
      if (!oldest) return;
      const isOld = max_age > 0 && nowMs - oldest.storedMs >= max_age / 1e6;
      if (!isOld && (max_bytes <= 0 || this.bytes <= max_bytes)) return;
      this.bytes -= oldest.bytes;
      this.#head++;
      if (this.#head > 1000 && this.#head * 2 > this.#messages.length) {
        this.#messages = this.#messages.slice(this.#head);
        this.#head = 0;
      }
    }
  }

  /** What stands before that sequence goes, and a torn entry with it. */
  purge(before: number): void {
    this.#drop(({ sequence }) => sequence < before);
    this.#isTorn &&= this.lastSequence >= before;
  }

  sync(): void {
    this.#synced = { sequence: this.lastSequence, config: this.config, created: this.#writtenCreated };
  }

  /** After a power cut: `entries` of the unsynced are there, and the last change of its settings or not. */
  loseTail(entries: number, keepsConfig: boolean, tearsLast: boolean): void {
    const last = Math.min(this.lastSequence, this.#synced.sequence + Math.max(0, entries));
    this.#drop(({ sequence }) => sequence > last || (tearsLast && sequence === last));
    this.#isTorn ||= tearsLast;
    this.lastSequence = last;
    if (!keepsConfig && this.#synced.config) {
      this.config = this.#synced.config;
      this.#writtenCreated = this.#synced.created;
    }
    this.sync();
  }

  /** The ids are read from what is still there. */
  restart(nowMs: number): void {
    this.hangs = false;
    // nats-server 2.9: a stream whose settings were changed seems to be made when its server was started the time before.
    this.created = this.#writtenCreated;
    this.#openedAt = new Date(nowMs).toISOString();
    this.expire(nowMs);
    this.#ids = new Map();
    for (let i = this.#head; i < this.#messages.length; i++) {
      const { id, sequence, storedMs } = this.#messages[i]!;
      if (id !== undefined) this.#ids.set(id, { sequence, storedMs });
    }
  }

  #store(message: StoredMessage): void {
    if (!this.#isTorn) this.#messages.push(message);
    this.lastSequence = message.sequence;
    this.bytes += message.bytes;
    this.#written += message.bytes;
  }

  #drop(isDropped: (message: StoredMessage) => boolean): void {
    const kept = this.#messages.slice(this.#head).filter((message) => !isDropped(message));
    this.#messages = kept;
    this.#head = 0;
    this.bytes = kept.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

function sizeOf({ subject, payload, id }: Pick<StoredMessage, "subject" | "payload" | "id">): number {
  return recordBytes + subject.length + payload.length + (id === undefined ? 0 : idHeaderBytes + id.length);
}

/** NATS' own wildcards: `*` for one token, `>` for the rest. */
export function subjectMatches(pattern: string, subject: string): boolean {
  if (pattern === subject) return true;
  let at = 0;
  for (let from = 0; from < pattern.length; from++) {
    const code = pattern.charCodeAt(from);
    const isToken = from === 0 || pattern.charCodeAt(from - 1) === dot;
    if (isToken && code === greaterThan) return at < subject.length;
    if (isToken && code === asterisk) {
      if (at >= subject.length) return false;
      const end = subject.indexOf(".", at);
      at = end < 0 ? subject.length : end;
    } else if (subject.charCodeAt(at++) !== code) return false;
  }
  return at === subject.length;
}

const dot = 0x2e;
const asterisk = 0x2a;
const greaterThan = 0x3e;
