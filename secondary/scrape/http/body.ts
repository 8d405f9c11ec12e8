// The bytes of one body as they gather, held against what one body, and all bodies together, may have.
//
// Their memory goes from body to body. A fresh buffer a scrape would not cost much by itself, but V8 collects garbage by how many
// bytes such buffers have, and did so for a third of all that a scrape took.

import { Buffer } from "node:buffer";

import { assert } from "#/lib/assert/assert.ts";
import { KiB, MiB } from "#/lib/bytes/units.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";

/** What a target may send when its own limit is off: one body must not take the process' memory. */
export const bodyBytesCeiling = 256 * MiB;
/** Of all bodies on their way together. Beyond it, large ones are given up, so that small ones still get through. */
const bodiesBytesMax = 384 * MiB;
/** A body is large from here on: an exposition of 50,000 series. Even 1,000 targets that send just less stay bearable. */
const largeBodyBytes = 4 * MiB;
assert(bodyBytesCeiling + 16 * largeBodyBytes <= bodiesBytesMax, "the largest body leaves room for others");

/** Room that is made before anything has come, however much was announced: promises cost a target nothing. */
const roomBytesFirst = 256 * KiB;
/** Room for a body of unknown length: most are smaller. */
const roomBytesUsual = 16 * KiB;

/** Rooms that are kept for the next bodies: those of a full secondary's scrapes that begin together, 50 × 128 KiB. */
const keptBytesMax = 16 * MiB;
/** Rooms are powers of two from the smallest on, so that one fits many; larger ones than these are rare, and not kept. */
const roomBytesLeast = 4 * KiB;
const roomBytesKeptMax = MiB;

/** What all bodies live in, one after the other. */
export class BodyMemory {
  /** Of all bodies that are arriving now. */
  bytes = 0;
  readonly #kept = new Map<number, Buffer[]>();
  #keptBytes = 0;

  /** At least so many bytes, with anything in them. */
  take(bytes: number): Buffer {
    if (bytes > roomBytesKeptMax) return Buffer.allocUnsafeSlow(bytes);
    const size = Math.max(roomBytesLeast, 2 ** Math.ceil(Math.log2(bytes)));
    const room = this.#kept.get(size)?.pop();
    if (!room) return Buffer.allocUnsafeSlow(size);
    this.#keptBytes -= size;
    return room;
  }

  /**
   * Nobody looks at it any more: not even a thread that decompresses it. A large room goes back to the system at once, because
   * V8 may take minutes to notice, in which a target that sends 100 MB each time holds gigabytes.
   */
  give(room: Buffer): void {
    if (room.length > roomBytesKeptMax) (room.buffer as ArrayBuffer).transfer(0);
    if (room.length < roomBytesLeast || room.length > roomBytesKeptMax) return;
    if (this.#keptBytes + room.length > keptBytesMax) return;
    this.#keptBytes += room.length;
    const kept = this.#kept.get(room.length);
    if (kept) kept.push(room);
    else this.#kept.set(room.length, [room]);
  }
}

/** A body that has left its exchange. */
export interface ReadyBody {
  readonly bytes: Buffer;
  /** To be called once, when nobody will look at the bytes any more. Not calling it costs memory, and nothing else. */
  readonly release: () => void;
}

export class Body {
  readonly bytesMax: number;
  readonly #memory: BodyMemory;
  #room: Buffer = none;
  #length = 0;
  #lengthExpected = 0;
  /** The room is nobody's to give away. */
  #adopted = false;

  /** `bytesMax` 0 means no limit of the target's own. */
  constructor(bytesMax: number, memory: BodyMemory) {
    this.bytesMax = bytesMax === 0 ? bodyBytesCeiling : Math.min(bytesMax, bodyBytesCeiling);
    this.#memory = memory;
  }

  get length(): number {
    return this.#length;
  }

  /** Makes room for a body that is announced, or was as long the last time. */
  expect(bytes: number): void {
    this.#lengthExpected = Math.min(bytes, roomBytesFirst, this.bytesMax);
  }

  /** Copies the piece. Throws FetchError when it is too much; `beyond` says what there was too much of. */
  append(source: Uint8Array, start: number, end: number, beyond = "more"): void {
    const length = this.#length + end - start;
    if (length > this.bytesMax) throw this.tooLarge(beyond);
    if (length > this.#room.length) this.#grow(length);
    this.#room.set(start === 0 && end === source.length ? source : source.subarray(start, end), this.#length);
    this.#length = length;
  }

  /** Takes a whole body that was made elsewhere. */
  adopt(whole: Buffer): void {
    this.release();
    this.#room = whole;
    this.#adopted = true;
    this.#length = whole.length;
    this.#memory.bytes += whole.length;
  }

  bytes(): Buffer {
    return this.#length === this.#room.length ? this.#room : this.#room.subarray(0, this.#length);
  }

  /** Gives its memory back. `mayBeRead`: a thread may still look at it. */
  release(mayBeRead = false): void {
    const room = this.#leave();
    if (room && !mayBeRead) this.#memory.give(room);
  }

  /** It has all its bytes, and is empty afterwards. */
  handOver(): ReadyBody {
    const bytes = this.bytes();
    const room = this.#leave();
    return { bytes, release: () => room && this.#memory.give(room) };
  }

  /** The room, where it may be given to others. */
  #leave(): Buffer | undefined {
    const room = this.#adopted ? undefined : this.#room;
    this.#memory.bytes -= this.#room.length;
    this.#room = none;
    this.#adopted = false;
    this.#length = 0;
    return room;
  }

  tooLarge(got: string): FetchError {
    return new FetchError(
      "failed_body_size",
      `body_size_limit exceeded: expected at most ${this.bytesMax} bytes, got ${got}`,
    );
  }

  #grow(length: number): void {
    const roomBytes = Math.min(
      this.bytesMax,
      Math.max(length, this.#room.length * 2, this.#lengthExpected || roomBytesUsual),
    );
    const heldBytes = this.#memory.bytes + roomBytes - this.#room.length;
    if (heldBytes > bodiesBytesMax && length > largeBodyBytes) {
      throw new FetchError(
        "failed_body_size",
        `given up at ${length} bytes: the bodies arriving now have ${heldBytes} together, expected at most ${bodiesBytesMax}`,
      );
    }
    const room = this.#memory.take(roomBytes);
    room.set(this.#room.subarray(0, this.#length));
    this.#memory.bytes += room.length - this.#room.length;
    if (!this.#adopted) this.#memory.give(this.#room);
    this.#adopted = false;
    this.#room = room;
  }
}

const none = Buffer.alloc(0);
