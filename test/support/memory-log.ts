// A data centre's log in memory, for tests of its readers: what is appended can be read from any position, and what real logs
// do wrong can be arranged.

import { LogError } from "#/lib/commitlog/commitlog.ts";
import type { LogEntry, LogKind, LogPosition } from "#/lib/model/log.ts";

export class MemoryLog {
  stream: string;
  created = "2026-01-01T00:00:00Z";
  entries: LogEntry[] = [];
  /** Positions that reading was begun after. */
  readonly readsAfter: (LogPosition | undefined)[] = [];
  #firstSequence: number;
  #wake: (() => void)[] = [];

  constructor(options: { readonly stream: string; readonly firstSequence?: number }) {
    this.stream = options.stream;
    this.#firstSequence = options.firstSequence ?? 1;
  }

  append(kind: LogKind, origin: string, payload: Uint8Array): LogEntry {
    const sequence = this.#firstSequence + this.entries.length;
    const position = { stream: this.stream, created: this.created, sequence, storedMs: 1000 + sequence };
    const entry: LogEntry = { position, kind, origin, payload };
    this.entries.push(entry);
    this.wake();
    return entry;
  }

  /** The stream is made anew, empty. */
  recreate(created: string): void {
    this.created = created;
    this.entries = [];
    this.#firstSequence = 1;
    this.wake();
  }

  /** The oldest entries expire. */
  expire(count: number): void {
    this.entries.splice(0, count);
    this.#firstSequence += count;
  }

  wake(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const wake of waiting) wake();
  }

  async *read(after: LogPosition | undefined, signal: AbortSignal): AsyncGenerator<LogEntry> {
    this.readsAfter.push(after);
    signal.addEventListener("abort", () => this.wake(), { once: true });
    let sequence = after?.sequence ?? this.#firstSequence - 1;
    const start = { stream: this.stream, created: this.created, sequence: 0 };
    if (after && after.created !== this.created) {
      throw new LogError("recreated", `${this.stream}: expected the stream of ${after.created}`, {
        resumeAfter: start,
      });
    }
    if (sequence + 1 < this.#firstSequence) {
      throw new LogError("hole", `${this.stream}: expected entry ${sequence + 1}, got ${this.#firstSequence}`, {
        resumeAfter: { ...start, sequence: this.#firstSequence - 1 },
      });
    }
    const { created } = this;
    while (!signal.aborted) {
      if (this.created !== created) {
        throw new LogError("recreated", `${this.stream}: made anew`, {
          resumeAfter: { stream: this.stream, created: this.created, sequence: 0 },
        });
      }
      const entry = this.entries[sequence + 1 - this.#firstSequence];
      if (entry) {
        sequence++;
        yield entry;
      } else {
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
    }
  }
}
