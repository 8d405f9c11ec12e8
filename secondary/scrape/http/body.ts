// The bytes of one body as they gather, held against what one body, and all bodies together, may have.

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

export interface BodyBudget {
  /** Of all bodies that are arriving now. */
  bytes: number;
}

export class Body {
  readonly bytesMax: number;
  readonly #budget: BodyBudget;
  #room: Buffer = none;
  #length = 0;
  #lengthExpected = 0;

  /** `bytesMax` 0 means no limit of the target's own. */
  constructor(bytesMax: number, budget: BodyBudget) {
    this.bytesMax = bytesMax === 0 ? bodyBytesCeiling : Math.min(bytesMax, bodyBytesCeiling);
    this.#budget = budget;
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
    this.#length = whole.length;
    this.#budget.bytes += whole.length;
  }

  bytes(): Buffer {
    return this.#length === this.#room.length ? this.#room : this.#room.subarray(0, this.#length);
  }

  /** Gives back what the body held of the budget. */
  release(): void {
    this.#budget.bytes -= this.#room.length;
    this.#room = none;
    this.#length = 0;
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
    const heldBytes = this.#budget.bytes + roomBytes - this.#room.length;
    if (heldBytes > bodiesBytesMax && length > largeBodyBytes) {
      throw new FetchError(
        "failed_body_size",
        `given up at ${length} bytes: the bodies arriving now have ${heldBytes} together, expected at most ${bodiesBytesMax}`,
      );
    }
    const room = Buffer.allocUnsafeSlow(roomBytes);
    room.set(this.#room.subarray(0, this.#length));
    this.#budget.bytes = heldBytes;
    this.#room = room;
  }
}

const none = Buffer.alloc(0);
