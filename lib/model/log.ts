// What stands in a data centre's log, and how a reader names its place in it.

/** Batches come from secondaries; generations and heartbeats from primaries. The names are part of the log's subjects. */
export type LogKind = "batch" | "generation" | "heartbeat";

/**
 * A place in the log, for a checkpoint. A stream that was made anew has another `created`, and going on across that change
 * would skip or repeat silently, so a reader refuses.
 */
export interface LogPosition {
  /** `dc-<datacenter>-<epoch>-<segment>` */
  readonly stream: string;
  /** When the *origin* stream was made (RFC 3339, as its server says). */
  readonly created: string;
  /** Counts from 1 within the stream; 0 stands before its first entry. */
  readonly sequence: number;
  /**
   * When the origin stream stored that entry. A stream that lost its tail uses its sequences again, and only this tells the
   * two entries apart: keep it in checkpoints.
   */
  readonly storedMs?: number;
}

export interface LogEntry {
  readonly position: LogPosition;
  readonly kind: LogKind;
  /** The secondary or primary that it is from. */
  readonly origin: string;
  readonly payload: Uint8Array;
}

/** For a log line. */
export function entryName({ position, kind, origin }: LogEntry): string {
  return `${position.stream} entry ${position.sequence} (${kind} of ${origin})`;
}

/** The part of a reader of the log that a replica needs. */
export interface EntryReader {
  read(after: LogPosition | undefined, signal: AbortSignal): AsyncIterable<LogEntry>;
}
