// A chunked body (RFC 9112, section 7.1), in whatever pieces it comes. Extensions and trailers are read past.

import { KiB } from "#/lib/bytes/units.ts";
import type { Body } from "#/secondary/scrape/http/body.ts";
import { FetchError, notHttp } from "#/secondary/scrape/http/error.ts";

/** Nobody sends less than a line at a time. */
const chunksMax = 262_144;
/** 16^13 is the last power that a number holds exactly. */
const sizeDigitsMax = 13;
/** What is not data may run ahead of what is reasonable beside the data by so much. Go's client, too, takes 16 KiB. */
const excessBytesMax = 16 * KiB;
const reasonableBytesPerChunk = 16;
const trailerBytesMax = 16 * KiB;

type State = "size" | "extension" | "size_end" | "data" | "data_cr" | "data_lf" | "trailer" | "done";

export class Chunks {
  #state: State = "size";
  #size = 0;
  #digits = 0;
  #chunks = 0;
  #excessBytes = 0;
  #trailerBytes = 0;
  #lineBytes = 0;
  #afterCr = false;

  get done(): boolean {
    return this.#state === "done";
  }

  /** Returns where it stopped: at `end`, or behind the body. Throws FetchError. */
  push(bytes: Uint8Array, start: number, end: number, body: Body): number {
    let at = start;
    while (at < end && this.#state !== "done") {
      if (this.#state === "data") {
        const until = Math.min(end, at + this.#size);
        body.append(bytes, at, until);
        this.#size -= until - at;
        at = until;
        if (this.#size === 0) this.#chunkEnded(body);
      } else {
        this.#control(bytes[at++]!, body);
      }
    }
    return at;
  }

  #control(byte: number, body: Body): void {
    switch (this.#state) {
      case "size":
        this.#sizeByte(byte);
        break;
      case "extension":
        if (byte === lineFeed) throw expected("a chunk's line that ends in CR LF", byte);
        if (byte === carriageReturn) this.#state = "size_end";
        else this.#exceed(1);
        break;
      case "size_end":
        if (byte !== lineFeed) throw expected("LF behind a chunk's size", byte);
        this.#begin(body);
        break;
      case "data_cr":
        if (byte !== carriageReturn) throw expected("CR LF behind a chunk's data", byte);
        this.#state = "data_lf";
        break;
      case "data_lf":
        if (byte !== lineFeed) throw expected("CR LF behind a chunk's data", byte);
        this.#state = "size";
        break;
      case "trailer":
        this.#trailerByte(byte);
        break;
      case "data":
      case "done":
        break;
      default:
        this.#state satisfies never;
    }
  }

  #sizeByte(byte: number): void {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      if (++this.#digits > sizeDigitsMax) {
        throw notHttp(`a chunk size of at most ${sizeDigitsMax} hexadecimal digits`, "more");
      }
      this.#size = this.#size * 16 + digit;
      this.#exceed(1);
    } else if (this.#digits === 0) throw expected("a chunk size in hexadecimal digits", byte);
    else if (byte === carriageReturn) this.#state = "size_end";
    else if (byte === semicolon || byte === space || byte === tab) this.#state = "extension";
    else throw expected("CR LF or an extension behind a chunk's size", byte);
  }

  #begin(body: Body): void {
    this.#digits = 0;
    if (this.#size === 0) {
      this.#state = "trailer";
      return;
    }
    if (body.length + this.#size > body.bytesMax) throw body.tooLarge("more");
    this.#excessBytes = Math.max(0, this.#excessBytes - reasonableBytesPerChunk - 2 * this.#size);
    this.#state = "data";
  }

  #chunkEnded(body: Body): void {
    this.#state = "data_cr";
    if (++this.#chunks <= chunksMax) return;
    throw new FetchError(
      "failed_body_size",
      `given up at ${body.length} bytes: they came in more than ${chunksMax} pieces`,
    );
  }

  #exceed(bytes: number): void {
    this.#excessBytes += bytes;
    if (this.#excessBytes > excessBytesMax) {
      throw notHttp(`chunks with at most ${excessBytesMax} bytes that are not data`, "more");
    }
  }

  #trailerByte(byte: number): void {
    if (++this.#trailerBytes > trailerBytesMax) throw notHttp(`trailers of at most ${trailerBytesMax} bytes`, "more");
    if (this.#afterCr !== (byte === lineFeed)) throw expected("a trailer's line that ends in CR LF", byte);
    this.#afterCr = byte === carriageReturn;
    if (byte === lineFeed) {
      if (this.#lineBytes === 0) this.#state = "done";
      this.#lineBytes = 0;
    } else if (byte !== carriageReturn) this.#lineBytes++;
  }
}

function expected(what: string, byte: number): FetchError {
  return notHttp(what, byte > space && byte < 127 ? JSON.stringify(String.fromCharCode(byte)) : `byte ${byte}`);
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

const tab = 9;
const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const semicolon = 59;
