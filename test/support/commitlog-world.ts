// What the tests of the log have in common: a world with servers, on real ones or on their twin, and what is done in it.

import type { BackChannel, LogReader, SegmentedLog } from "#/lib/commitlog/commitlog.ts";
import { type AppendResult, LogError } from "#/lib/commitlog/commitlog.ts";
import type { LogEntry, LogPosition } from "#/lib/model/log.ts";
import type { NatsLink } from "#/lib/wire/jetstream.ts";

/** One data centre `ams` with its log, joined to a hub. Everything it opens, it closes itself. */
export interface LogWorld {
  /** A primary's log, over a connection of its own. `bytesMax`: of the stream. It trusts its server unless told otherwise. */
  openPrimary(options?: { readonly bytesMax?: number; readonly outlastsPowerCuts?: boolean }): Promise<SegmentedLog>;
  openGlobal(): Promise<LogReader>;
  /** To the data centre's server, to look at what lies there. */
  datacenterLink(): Promise<NatsLink>;
  primaryChannel(): Promise<BackChannel>;
  globalChannel(): Promise<BackChannel>;
  /** kill -9, and the same server again. */
  killDatacenter(): Promise<void>;
  startDatacenter(): Promise<void>;
  killHub(): Promise<void>;
  startHub(): Promise<void>;
  /** Between data centre and hub, silently. */
  cut(): void;
  heal(): void;
  /** The data centre's disk as it is now; undefined stands for an empty one. The server must be down. */
  copyDisk(): Promise<string>;
  replaceDisk(copy: string | undefined): Promise<void>;
  /** The data centre's server, which is down, lost of what came to its disk after the copy what is named here, and kept the rest. */
  loseSince(copy: string, lost: Losses): Promise<void>;
  /** Gives both servers disks that can be filled, before anything lies there. What comes back is why there are none. */
  useSmallDisks(): Promise<string | undefined>;
  /** Something else takes all the room that is left, and gives it back. */
  fillDisk(of: "datacenter" | "hub"): Promise<void>;
  makeRoom(of: "datacenter" | "hub"): Promise<void>;
  /** SIGSTOP and SIGCONT of the data centre's server. */
  pauseDatacenter(): void;
  resumeDatacenter(): void;
  /** How long a standstill is: seconds of a real one are dear, a simulated one costs nothing. */
  readonly standstillMs: number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** By stream. */
export interface Losses {
  /** Streams made since then that are gone. */
  readonly streams?: readonly string[];
  /** Streams whose last entry is torn. */
  readonly torn?: readonly string[];
  /** Streams changed since then whose settings no longer match their checksum. */
  readonly unreadable?: readonly string[];
  /** Streams whose settings are again those of then. */
  readonly settings?: readonly string[];
}

/** With a world, it tries until the log is there. */
export async function append(
  log: SegmentedLog,
  id: string,
  payload: string | Uint8Array = id,
  world?: LogWorld,
): Promise<AppendResult> {
  const request = { kind: "heartbeat", origin: "ams-p1", id, payload: Buffer.from(payload) } as const;
  for (let attempt = 0; ; attempt++) {
    try {
      return await log.append(request, new AbortController().signal);
    } catch (error) {
      if (!world || attempt > 100 || (error as LogError).code !== "unavailable") throw error;
      await world.sleep(50);
    }
  }
}

export interface Reading {
  readonly entries: LogEntry[];
  readonly failure: unknown;
  end(): Promise<void>;
}

export function readAll(reader: LogReader, after: LogPosition | undefined, pause?: () => Promise<void>): Reading {
  const aborter = new AbortController();
  const reading = { entries: [] as LogEntry[], failure: undefined as unknown, end };
  const finished = run();
  async function run() {
    try {
      for await (const entry of reader.read(after, aborter.signal)) {
        reading.entries.push(entry);
        await pause?.();
      }
    } catch (error) {
      reading.failure = error;
    }
  }
  async function end() {
    aborter.abort();
    await finished;
  }
  return reading;
}

export async function take(reader: LogReader, after: LogPosition | undefined, count: number): Promise<LogEntry[]> {
  const aborter = new AbortController();
  const entries: LogEntry[] = [];
  for await (const entry of reader.read(after, aborter.signal)) {
    entries.push(entry);
    if (entries.length === count) aborter.abort();
    if (entries.length >= count) break;
  }
  return entries;
}

export async function failureOf(
  world: LogWorld,
  reader: LogReader,
  after: LogPosition,
  timeoutMs = 5000,
): Promise<LogError> {
  const aborter = new AbortController();
  const waiting = new AbortController();
  void world.sleep(timeoutMs, waiting.signal).then(() => aborter.abort());
  try {
    for await (const entry of reader.read(after, aborter.signal)) {
      throw new Error(`expected a LogError, got entry ${JSON.stringify(entry.position)}`);
    }
  } catch (error) {
    if (error instanceof LogError) return error;
    throw error;
  } finally {
    waiting.abort();
  }
  throw new Error(`expected a LogError within ${timeoutMs} ms, got nothing`);
}

/** Appends `0`, `1`, `2` … each until the log has it. `end` gives those that it acknowledged. */
export function writeSteadily(world: LogWorld, log: SegmentedLog): { end(): Promise<string[]> } {
  const acknowledged: string[] = [];
  let isEnding = false;
  const finished = (async () => {
    for (let i = 0; !isEnding; i++) {
      await append(log, String(i), undefined, world);
      acknowledged.push(String(i));
      await world.sleep(10);
    }
  })();
  return {
    async end() {
      isEnding = true;
      await finished;
      return acknowledged;
    },
  };
}

export async function here(log: LogReader): Promise<LogPosition> {
  const { stream, created, lastSequence } = await log.info();
  return { stream, created, sequence: lastSequence };
}

export async function until(
  world: LogWorld,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 8000,
): Promise<void> {
  for (let waitedMs = 0; !(await condition()); waitedMs += 20) {
    if (waitedMs > timeoutMs) throw new Error(`it did not come true within ${timeoutMs} ms: ${condition}`);
    await world.sleep(20);
  }
}

export const sequences = (entries: readonly LogEntry[]) => entries.map(({ position }) => position.sequence);
export const text = (entry: LogEntry) => Buffer.from(entry.payload).toString();
export const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
export const epochOf = (stream: string) => Number(stream.split("-")[2]);
