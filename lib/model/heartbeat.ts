// What each primary writes into its data centre's log once a second: that the data centre lives, and what it knows of itself.
// Whoever reads the log, however far away, has from it the real lag (now − sentMs), the leader, and which secondaries are heard.

export const heartbeatVersion = 1;

export interface Heartbeat {
  readonly version: typeof heartbeatVersion;
  /** The primary that wrote it. */
  readonly replica: string;
  /** Its wall clock. */
  readonly sentMs: number;
  /** Its fencing token while it holds the lease, else 0. */
  readonly leaseToken: number;
  /** How far it is behind its own log, in ms. */
  readonly lagMs: number;
  /** The secondaries whose streams end there, with the age of their last word. */
  readonly secondaries: readonly { readonly name: string; readonly ageMs: number }[];
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeHeartbeat(heartbeat: Heartbeat): Uint8Array {
  return encoder.encode(JSON.stringify(heartbeat));
}

/** Undefined when it is of another version or not a heartbeat at all: the reader counts it and goes on. */
export function decodeHeartbeat(bytes: Uint8Array): Heartbeat | undefined {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    return undefined;
  }
  const heartbeat = value as Partial<Heartbeat> | null;
  const readable =
    typeof heartbeat === "object" &&
    heartbeat !== null &&
    heartbeat.version === heartbeatVersion &&
    typeof heartbeat.replica === "string" &&
    Number.isFinite(heartbeat.sentMs) &&
    Number.isFinite(heartbeat.leaseToken) &&
    Number.isFinite(heartbeat.lagMs) &&
    Array.isArray(heartbeat.secondaries) &&
    heartbeat.secondaries.every((each) => typeof each?.name === "string" && Number.isFinite(each.ageMs));
  return readable ? (heartbeat as Heartbeat) : undefined;
}
