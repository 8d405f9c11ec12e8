// Bodies of a real node_exporter, one after the other, as test/bench/record.ts wrote them down.
//
// A file is the bodies with a zero byte behind each, compressed with zstd: they differ in little, so forty take little more room
// than one.

import { Buffer } from "node:buffer";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { constants, zstdCompress, zstdDecompress } from "node:zlib";

export interface RecordingPlan {
  readonly intervalMs: number;
  readonly rounds: number;
  /** Series of a body: the largest families are shortened until there are no more. */
  readonly series: number;
  /** Collectors of node_exporter. */
  readonly collectors: readonly string[];
  /** Series that are left out. */
  readonly without?: RegExp;
}

const few = ["cpu", "diskstats", "filefd", "loadavg", "meminfo", "netdev", "pressure", "stat", "uname", "vmstat"];
/** A small server's hundred series are about what works there, rather than about idle devices and node_exporter itself. */
const beyondFew = /^(go_|process_|promhttp_|node_memory_(?!Mem|Buffers|Cached|Swap))|device="(zram|ifb|lo|ram|loop)/;
const many =
  "arp buddyinfo conntrack entropy filesystem interrupts ksmd meminfo_numa netclass netstat os processes qdisc schedstat " +
  "slabinfo sockstat softnet tcpstat time timex udp_queues zoneinfo";

/** 100 and 961 series are what the figures of the peers were measured with. Values move otherwise in a second than in 15. */
export const recordingPlans = {
  "100@15s": { intervalMs: 15_000, rounds: 40, series: 100, collectors: few, without: beyondFew },
  "961@15s": { intervalMs: 15_000, rounds: 40, series: 961, collectors: [...few, ...many.split(" ")] },
  "100@1s": { intervalMs: 1000, rounds: 90, series: 100, collectors: few, without: beyondFew },
} as const satisfies Readonly<Record<string, RecordingPlan>>;

export type RecordingName = keyof typeof recordingPlans;

function fileOf(name: RecordingName): string {
  return join(import.meta.dirname, "recordings", `${name}.zst`);
}

/** The bodies, in the order in which they were scraped. */
export async function readRecording(name: RecordingName): Promise<readonly Buffer[]> {
  const bytes = await promisify(zstdDecompress)(await readFile(fileOf(name)));
  const bodies: Buffer[] = [];
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(0, from);
    bodies.push(bytes.subarray(from, end));
    from = end + 1;
  }
  return bodies;
}

/** Returns the bytes of the file. */
export async function writeRecording(name: RecordingName, bodies: readonly string[]): Promise<number> {
  const text = Buffer.from(bodies.map((body) => `${body}\0`).join(""));
  const packed = await promisify(zstdCompress)(text, {
    params: {
      [constants.ZSTD_c_compressionLevel]: 19,
      [constants.ZSTD_c_windowLog]: 23,
      [constants.ZSTD_c_checksumFlag]: 1,
    },
  });
  await writeFile(fileOf(name), packed);
  return packed.length;
}
