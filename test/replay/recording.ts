// Bodies of real exporters, as test/replay/record.ts wrote them down: what the replay serves and what the fuzzers begin with.
//
// A file is one exporter's bodies, the first to the last, as JSON that zstd compressed: they differ in little, so twenty take
// little more room than one.

import { Buffer } from "node:buffer";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";

export interface Recording {
  /** Of the file, without its ending. */
  readonly name: string;
  /** The program and its version, as it says it. */
  readonly exporter: string;
  readonly contentType: string;
  /** What it answered, in the order in which it was asked. */
  readonly bodies: readonly string[];
}

export const recordingsDir = join(import.meta.dirname, "..", "golden", "expositions");
const ending = ".json.zst";

/** All that there are, sorted by name. */
export function readRecordings(): readonly Recording[] {
  const files = readdirSync(recordingsDir).filter((file) => file.endsWith(ending));
  return files.sort().map((file) => {
    const text = zstdDecompressSync(readFileSync(join(recordingsDir, file))).toString();
    return { name: file.slice(0, -ending.length), ...(JSON.parse(text) as Omit<Recording, "name">) };
  });
}

/** The path of the file, and what belongs into it. */
export function packRecording({ name, ...recording }: Recording): { readonly file: string; readonly bytes: Buffer } {
  const bytes = zstdCompressSync(Buffer.from(JSON.stringify(recording)), {
    params: {
      [constants.ZSTD_c_compressionLevel]: 19,
      // The bodies before this one are within reach.
      [constants.ZSTD_c_windowLog]: 23,
      [constants.ZSTD_c_checksumFlag]: 1,
    },
  });
  return { file: join(recordingsDir, `${name}${ending}`), bytes };
}
