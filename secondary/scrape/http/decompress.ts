// Decompresses a body, within the bounds of a body: a few bytes may say that they are gigabytes.
//
// A small one is done at once, which is much cheaper than another thread's doing it; a large one, or one that turns out to be
// large, would keep the other targets waiting, and goes to the threads.

import type { Buffer } from "node:buffer";
import zlib from "node:zlib";

import { KiB, MiB } from "#/lib/bytes/units.ts";
import type { Body } from "#/secondary/scrape/http/body.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";
import { excerpt } from "#/secondary/scrape/http/head.ts";

/** 2 ms of the event loop at most. */
const compressedAtOnceMax = 64 * KiB;
const plainAtOnceMax = MiB;
const pieceBytes = 64 * KiB;
/** As HTTP has it (RFC 9659): 8 MiB. A frame could ask for 128. */
const zstd = { params: { [zlib.constants.ZSTD_d_windowLogMax]: 23 } };

export const encodingsOffered = "gzip, zstd, br";

type Encoding = "gzip" | "zstd" | "br";

const aliases: Readonly<Record<string, Encoding | "none">> = {
  "": "none",
  identity: "none",
  gzip: "gzip",
  "x-gzip": "gzip",
  zstd: "zstd",
  br: "br",
};

/** Of a Content-Encoding in lower case. Throws FetchError (failed_status). */
export function encodingOf(text: string): Encoding | "none" {
  if (Object.hasOwn(aliases, text)) return aliases[text]!;
  throw new FetchError(
    "failed_status",
    `expected the Content-Encoding ${encodingsOffered} or none, got ${excerpt(text)}`,
  );
}

/** Calls back once `into` has it all, or with what went wrong; not any more after the returned function was called. */
export function decompress(
  encoding: Encoding,
  compressed: Buffer,
  into: Body,
  done: (error?: FetchError) => void,
): () => void {
  if (compressed.length <= compressedAtOnceMax) {
    try {
      into.adopt(atOnce(encoding, compressed, Math.min(plainAtOnceMax, into.bytesMax)));
      done();
      return () => {};
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ERR_BUFFER_TOO_LARGE") {
        done(broken(encoding, error as Error));
        return () => {};
      }
    }
  }
  return threaded(encoding, compressed, into, done);
}

function atOnce(encoding: Encoding, compressed: Buffer, maxOutputLength: number): Buffer {
  // Twice the usual ratio: one piece, where room is left, is not copied again.
  const chunkSize = Math.max(16 * KiB, Math.min(compressed.length * 12, maxOutputLength));
  switch (encoding) {
    case "gzip":
      return zlib.gunzipSync(compressed, { maxOutputLength, chunkSize });
    case "zstd":
      return zlib.zstdDecompressSync(compressed, { ...zstd, maxOutputLength, chunkSize });
    case "br":
      return zlib.brotliDecompressSync(compressed, { maxOutputLength, chunkSize });
  }
}

function threaded(encoding: Encoding, compressed: Buffer, into: Body, done: (error?: FetchError) => void): () => void {
  const stream = streamOf(encoding);
  let over = false;
  const end = (error?: FetchError) => {
    if (over) return;
    over = true;
    stream.destroy();
    done(error);
  };
  stream.on("data", (piece: Buffer) => {
    if (over) return;
    try {
      into.append(piece, 0, piece.length, `more after decompressing ${encoding}`);
    } catch (error) {
      end(error as FetchError);
    }
  });
  stream.on("error", (error) => end(broken(encoding, error)));
  stream.on("end", () => end());
  stream.end(compressed);
  return () => {
    over = true;
    stream.destroy();
  };
}

function streamOf(encoding: Encoding) {
  switch (encoding) {
    case "gzip":
      return zlib.createGunzip({ chunkSize: pieceBytes });
    case "zstd":
      return zlib.createZstdDecompress({ ...zstd, chunkSize: pieceBytes });
    case "br":
      return zlib.createBrotliDecompress({ chunkSize: pieceBytes });
  }
}

function broken(encoding: Encoding, error: Error): FetchError {
  return new FetchError("failed_closed", `expected a whole ${encoding} body, got: ${error.message}`, { cause: error });
}
