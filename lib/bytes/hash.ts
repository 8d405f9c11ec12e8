// Hashes that are part of our formats, each chosen once: SHA-256 for identities, CRC-32 for accidents.

import { createHash } from "node:crypto";
import { crc32 as zlibCrc32 } from "node:zlib";

/** CRC-32 (ISO 3309, as in zip and Ethernet). Pass the result of one part as `seed` of the next. */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return zlibCrc32(bytes, seed);
}

/** The first 16 bytes of SHA-256, as 32 lower-case hex digits: an identity without a registry (2^-64 at 4 billion). */
export function contentId(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, 32);
}

/** The 16 bytes behind a `contentId`. */
export function contentIdBytes(id: string): Uint8Array {
  return Uint8Array.fromHex(id);
}

export function contentIdFromBytes(bytes: Uint8Array): string {
  return bytes.toHex();
}
