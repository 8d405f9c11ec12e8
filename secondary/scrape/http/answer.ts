// One answer as its bytes come, in whatever pieces: interim answers are read past, the head is understood, the body gathered.
//
// Whatever the pieces, the result is the same. It holds at most one head and one body; what is too long, or is not HTTP,
// ends it as soon as that is seen.

import type { Buffer } from "node:buffer";

import { KiB } from "#/lib/bytes/units.ts";
import type { Body } from "#/secondary/scrape/http/body.ts";
import { Chunks } from "#/secondary/scrape/http/chunk.ts";
import { FetchError, notHttp } from "#/secondary/scrape/http/error.ts";
import { type AnswerHead, excerpt, parseHead } from "#/secondary/scrape/http/head.ts";

/** Status line and fields together; real ones have a few hundred bytes. */
export const headBytesMax = 64 * KiB;
/** Interim answers (1xx) before the answer. Go's client too takes five. */
const interimAnswersMax = 5;

const beginning = [..."HTTP/1."].map((character) => character.charCodeAt(0));

export class AnswerReader {
  readonly #body: Body;
  #state: "head" | "length" | "chunks" | "until_close" | "discard" | "done" = "head";
  #head: AnswerHead | undefined;
  #interimAnswers = 0;
  /** Of the head, what came in earlier pieces. */
  #headBefore = "";
  #headBytes = 0;
  #lineBytes = 0;
  #afterCr = false;
  #remaining = 0;
  #chunks: Chunks | undefined;
  #received = 0;
  #extra = false;

  /** The body of an answer 200 goes to `body`; that of any other is not kept. */
  constructor(body: Body) {
    this.#body = body;
  }

  get head(): AnswerHead | undefined {
    return this.#head;
  }

  get done(): boolean {
    return this.#state === "done";
  }

  get begun(): boolean {
    return this.#received > 0;
  }

  /** Whether another request may be sent behind this answer. */
  get reusable(): boolean {
    return this.done && this.#head!.keepAlive && !this.#extra && this.#head!.framing !== "until_close";
  }

  /** `bytes` are copied. Throws FetchError. */
  push(bytes: Buffer, length: number): void {
    this.#received += length;
    let at = 0;
    while (at < length) {
      switch (this.#state) {
        case "head":
          at = this.#readHead(bytes, at, length);
          break;
        case "length": {
          const until = Math.min(length, at + this.#remaining);
          this.#body.append(bytes, at, until);
          this.#remaining -= until - at;
          if (this.#remaining === 0) this.#state = "done";
          at = until;
          break;
        }
        case "chunks":
          at = this.#chunks!.push(bytes, at, length, this.#body);
          if (this.#chunks!.done) this.#state = "done";
          break;
        case "until_close":
          this.#body.append(bytes, at, length);
          at = length;
          break;
        case "discard":
          this.#remaining -= length - at;
          if (this.#remaining <= 0) this.#state = "done";
          if (this.#remaining < 0) this.#extra = true;
          at = length;
          break;
        case "done":
          this.#extra = true;
          return;
        default:
          this.#state satisfies never;
      }
    }
  }

  /** The connection ended in an orderly way. Throws FetchError (failed_closed) unless that completes the answer. */
  finish(): void {
    if (this.#state === "until_close") this.#state = "done";
    if (this.#state !== "done") throw this.unfinished();
  }

  unfinished(cause?: unknown): FetchError {
    const done = this.#head
      ? `after ${this.#body.length} bytes of an unfinished body`
      : this.#received > 0
        ? `after ${this.#received} bytes of an unfinished head`
        : "without an answer";
    const because = cause instanceof Error && !this.#head ? `: ${cause.message}` : "";
    return new FetchError("failed_closed", `the target closed the connection ${done}${because}`, { cause });
  }

  /** Returns where the head ended, or `end`. */
  #readHead(bytes: Buffer, start: number, end: number): number {
    for (let at = start; at < end; at++) {
      const byte = bytes[at]!;
      const offset = this.#headBytes++;
      if (offset < beginning.length && byte !== beginning[offset]) {
        const line = this.#headBefore + bytes.toString("latin1", start, Math.min(end, start + 64));
        throw notHttp("HTTP/1.1", excerpt(line.split(/[\r\n]/)[0]!));
      }
      if (byte > 31 && !this.#afterCr) {
        this.#lineBytes++;
        if (byte === 127) throw notHttp("headers without control characters", "byte 127");
      } else this.#headControl(byte);
      if (byte === lineFeed && this.#lineBytes === 0) {
        const text = this.#headBefore + bytes.toString("latin1", start, at + 1);
        this.#understand(parseHead(text.slice(0, -4)));
        return at + 1;
      }
      if (byte === lineFeed) this.#lineBytes = 0;
      if (this.#headBytes >= headBytesMax) throw notHttp(`headers of at most ${headBytesMax} bytes`, "more");
    }
    this.#headBefore += bytes.toString("latin1", start, end);
    return end;
  }

  #headControl(byte: number): void {
    if (this.#afterCr !== (byte === lineFeed)) throw notHttp("lines that end in CR LF", this.#afterCr ? "CR" : "LF");
    this.#afterCr = byte === carriageReturn;
    if (byte === tab) this.#lineBytes++;
    else if (byte !== lineFeed && byte !== carriageReturn) {
      throw notHttp("headers without control characters", `byte ${byte}`);
    }
  }

  #understand(head: AnswerHead): void {
    this.#headBefore = "";
    this.#headBytes = 0;
    if (head.status === 101) {
      throw new FetchError("failed_status", "expected an answer, got 101: the target switched protocols");
    }
    if (head.status < 200) {
      if (++this.#interimAnswers <= interimAnswersMax) return;
      throw new FetchError("failed_status", `expected an answer, got more than ${interimAnswersMax} interim ones`);
    }
    this.#head = head;
    const { framing } = head;
    if (framing === 0) this.#state = "done";
    else if (head.status !== 200) {
      this.#state = "discard";
      this.#remaining = typeof framing === "number" ? framing : Number.POSITIVE_INFINITY;
    } else if (framing === "chunked") {
      this.#state = "chunks";
      this.#chunks = new Chunks();
    } else if (framing === "until_close") this.#state = "until_close";
    else {
      if (framing > this.#body.bytesMax) throw this.#body.tooLarge(`${framing} announced`);
      this.#body.expect(framing);
      this.#state = "length";
      this.#remaining = framing;
    }
  }
}

const tab = 9;
const lineFeed = 10;
const carriageReturn = 13;
