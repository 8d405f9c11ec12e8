// One data centre's log, as its primaries write it and as every replica reads it.
//
// The log is transport: it keeps order and repeats nothing, but its tail may be lost in a power cut, so each replica journals
// what it reads and secondaries keep what no journal holds yet. It stands on NATS JetStream (datacenter.ts, hub.ts), and below that on
// real servers or on their simulated twin (twin.ts); one conformance suite runs on both.

import type { LogEntry, LogKind, LogPosition } from "#/lib/model/log.ts";
import type { ReplicaReport } from "#/lib/model/report.ts";

export interface AppendRequest {
  readonly kind: LogKind;
  /** The secondary or primary that it is from: one token of letters, digits, `-` and `_`. */
  readonly origin: string;
  /** Entries with the same id within the log's duplicate window are kept once. */
  readonly id: string;
  readonly payload: Uint8Array;
}

export interface AppendResult {
  readonly stream: string;
  readonly sequence: number;
  /** True when the log had this id already: nothing was added. */
  readonly duplicate: boolean;
}

export interface LogWriter {
  /**
   * Resolves when the log has the entry. Entries appended one after the other stand in that order; two appends in flight
   * together may not. Throws LogError `unavailable` (try again with the same id: harmless) or `too_large`.
   */
  append(request: AppendRequest, signal: AbortSignal): Promise<AppendResult>;
}

export interface LogReader {
  /**
   * Every entry after that position, in order and without a gap, then new ones as they come; from the start when undefined.
   * It waits through outages and ends only when the signal aborts. What it cannot bridge is thrown, never skipped:
   * LogError `hole`, `recreated` (the stream is another than the position's) or `shortened` (the position is past its end).
   */
  read(after: LogPosition | undefined, signal: AbortSignal): AsyncIterable<LogEntry>;
  /** What the log holds now. Throws LogError `unavailable` or `missing`. */
  info(): Promise<LogInfo>;
}

/** A data centre's own log, as its primaries have it: a chain of segments (docs/formats/log.md). */
export interface SegmentedLog extends LogWriter, LogReader {
  /** Closes the present segment and begins the next one. The other primary may do it at the same time. */
  beginSegment(): Promise<void>;
  /**
   * Calls back when entries that were acknowledged or read here turn out to be gone from the log. Nobody knows which: what
   * is not safe elsewhere must be appended again. May come twice for one loss.
   */
  onLoss(callback: () => void): void;
  /**
   * Places that were read in an earlier life of this process: a segment that ends before one of them lost its tail, though
   * whoever saw that may be gone.
   */
  remember(places: Iterable<LogPosition>): void;
}

export interface LogInfo {
  readonly stream: string;
  /** When the origin stream was made. */
  readonly created: string;
  /** 0 when it is empty. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly bytes: number;
}

/** The way back: small, unordered, lossy; everything in it is said again every second. */
export interface BackChannel {
  publish(report: ReplicaReport): void;
  /** Reports of every replica of the data centre, one's own too. A report that is not readable is dropped and counted. */
  subscribe(onReport: (report: ReplicaReport) => void): void;
}

export type LogErrorCode = "unavailable" | "missing" | "too_large" | "hole" | "recreated" | "shortened" | "refused";

export class LogError extends Error {
  override readonly name = "LogError";
  readonly code: LogErrorCode;
  /**
   * From where a reader can go on that gives up what it cannot have: counted and told, it is the caller's to decide. Set
   * for `hole`, `recreated` and `shortened`.
   */
  readonly resumeAfter: LogPosition | undefined;

  constructor(
    code: LogErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly resumeAfter?: LogPosition } = {},
  ) {
    super(message, options);
    this.code = code;
    this.resumeAfter = options.resumeAfter;
  }
}
