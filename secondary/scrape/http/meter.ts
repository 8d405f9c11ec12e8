// What is told of each fetch while it runs: bytes, connections, names, and how long each step took.
//
// A secondary counts it into its metrics; `--dry-run` shows it of a single scrape. Calls happen a few times a scrape, so a meter
// only counts.

import type { Registry } from "#/lib/telemetry/registry.ts";

export interface FetchMeter {
  /** The resolver answered. */
  lookedUp(ms: number, found: boolean): void;
  /** A request goes out, over a connection of a scrape before or another one. */
  requested(bytes: number, reused: boolean): void;
  /** A connection is open, TLS's handshake done, so long after the scrape began. */
  connected(ms: number): void;
  received(bytes: number): void;
  /** The first byte of an answer came so long after the scrape began. */
  answered(ms: number): void;
  /** The scrape has its body or has failed; `bodyBytes` are decompressed. */
  ended(ms: number, bodyBytes: number): void;
}

export const unmetered: FetchMeter = {
  lookedUp() {},
  requested() {},
  connected() {},
  received() {},
  answered() {},
  ended() {},
};

export function countedFetches(metrics: Registry): FetchMeter {
  const sent = metrics.counter("heliograph_secondary_fetch_bytes_total", { direction: "sent" });
  const received = metrics.counter("heliograph_secondary_fetch_bytes_total", { direction: "received" });
  const bodies = metrics.counter("heliograph_secondary_fetch_body_bytes_total");
  const opened = metrics.counter("heliograph_secondary_fetch_requests_total", { connection: "opened" });
  const kept = metrics.counter("heliograph_secondary_fetch_requests_total", { connection: "reused" });
  const firstByte = metrics.histogram("heliograph_secondary_fetch_first_byte_seconds");
  const whole = metrics.histogram("heliograph_secondary_fetch_seconds");
  const found = metrics.counter("heliograph_secondary_name_lookups_total", { result: "found" });
  const failed = metrics.counter("heliograph_secondary_name_lookups_total", { result: "failed" });
  const lookup = metrics.histogram("heliograph_secondary_name_lookup_seconds");
  return {
    lookedUp(ms, isFound) {
      (isFound ? found : failed).add(1);
      lookup.observe(ms / 1000);
    },
    requested(bytes, reused) {
      (reused ? kept : opened).add(1);
      sent.add(bytes);
    },
    connected() {},
    received: (bytes) => received.add(bytes),
    answered: (ms) => firstByte.observe(ms / 1000),
    ended(ms, bodyBytes) {
      whole.observe(ms / 1000);
      bodies.add(bodyBytes);
    },
  };
}
