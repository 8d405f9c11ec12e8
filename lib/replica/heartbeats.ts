// The newest heartbeat that was read, of all primaries and of each.

import { decodeHeartbeat } from "#/lib/model/heartbeat.ts";
import type { LogEntry } from "#/lib/model/log.ts";
import type { ReceivedHeartbeat } from "#/lib/replica/summary.ts";

export class Heartbeats {
  readonly #sentMs = new Map<string, number>();
  #newest: ReceivedHeartbeat | undefined;

  /** The one that was sent last of those that were read. */
  get newest(): ReceivedHeartbeat | undefined {
    return this.#newest;
  }

  /** Undefined for one that is no news: a log that is read again must not make the present look older. Throws BadHeartbeat. */
  take({ origin, payload: bytes }: LogEntry): ReceivedHeartbeat | undefined {
    const payload = decodeHeartbeat(bytes);
    const heartbeat = { sentMs: payload.sentMs, origin, payload };
    if (payload.sentMs <= (this.#sentMs.get(origin) ?? Number.NEGATIVE_INFINITY)) return undefined;
    this.#sentMs.set(origin, payload.sentMs);
    if (payload.sentMs > (this.#newest?.sentMs ?? Number.NEGATIVE_INFINITY)) this.#newest = heartbeat;
    return heartbeat;
  }
}
