// A heartbeat: what each primary writes into its data centre's log every second, so that whoever reads the log knows how old
// the present is there. A mirror's own lag stays 0 during an outage; now − the newest heartbeat does not.
//
// It carries when the *origin* stream was made, because a mirror cannot know: a stream made anew re-uses sequence numbers.

import { Buffer } from "node:buffer";

import { KiB } from "#/lib/bytes/units.ts";

export const heartbeatVersion = 1;

/** A heartbeat of a primary with 500 secondaries, and as much again; nothing longer is even parsed. */
export const heartbeatBytesMax = 64 * KiB;

export interface Heartbeat {
  readonly version: typeof heartbeatVersion;
  /** The primary that sent it. */
  readonly replica: string;
  /** The sender's wall clock. */
  readonly sentMs: number;
  /** The fencing token when it holds its pair's lease, else 0. */
  readonly leaseToken: number;
  /** When the origin stream was made (RFC 3339, as its server says). */
  readonly created: string;
  /** How far the sender itself is behind the log, in ms. */
  readonly lagMs: number;
  /** The secondaries whose streams end there, with the age of their last word. */
  readonly secondaries: readonly { readonly name: string; readonly ageMs: number }[];
}

export type BadHeartbeatCode = "too_large" | "bad_json" | "bad_version" | "bad_field";

export class BadHeartbeat extends Error {
  override readonly name = "BadHeartbeat";
  readonly code: BadHeartbeatCode;

  constructor(code: BadHeartbeatCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** JSON with snake_case names, as everything that is JSON here. */
export function encodeHeartbeat(heartbeat: Heartbeat): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      version: heartbeat.version,
      replica: heartbeat.replica,
      sent_ms: heartbeat.sentMs,
      lease_token: heartbeat.leaseToken,
      created: heartbeat.created,
      lag_ms: heartbeat.lagMs,
      secondaries: heartbeat.secondaries.map(({ name, ageMs }) => ({ name, age_ms: ageMs })),
    }),
  );
}

/** Throws BadHeartbeat. Fields that it does not know are ignored, so that later versions may add some. */
export function decodeHeartbeat(bytes: Uint8Array): Heartbeat {
  if (bytes.length > heartbeatBytesMax) {
    throw new BadHeartbeat("too_large", `expected at most ${heartbeatBytesMax} bytes, got ${bytes.length}`);
  }
  const fields = parseObject(bytes);
  if (fields.version !== heartbeatVersion) {
    throw new BadHeartbeat("bad_version", `expected version ${heartbeatVersion}, got ${String(fields.version)}`);
  }
  return {
    version: heartbeatVersion,
    replica: text(fields, "replica"),
    sentMs: number(fields, "sent_ms"),
    leaseToken: number(fields, "lease_token"),
    created: text(fields, "created"),
    lagMs: number(fields, "lag_ms"),
    secondaries: secondaries(fields.secondaries),
  };
}

function secondaries(value: unknown): Heartbeat["secondaries"] {
  if (!Array.isArray(value)) throw new BadHeartbeat("bad_field", `secondaries: expected a list, got ${typeof value}`);
  return value.map((item: unknown) => {
    if (typeof item !== "object" || item === null) {
      throw new BadHeartbeat("bad_field", `secondaries: expected objects, got ${JSON.stringify(item)}`);
    }
    return { name: text(item as Fields, "name"), ageMs: number(item as Fields, "age_ms") };
  });
}

type Fields = Readonly<Record<string, unknown>>;

function parseObject(bytes: Uint8Array): Fields {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
  } catch (cause) {
    throw new BadHeartbeat("bad_json", "the payload is not JSON", { cause });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new BadHeartbeat("bad_json", "expected a JSON object");
  }
  return parsed as Fields;
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") throw new BadHeartbeat("bad_field", `${name}: expected a text, got ${typeof value}`);
  return value;
}

function number(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw new BadHeartbeat("bad_field", `${name}: expected a number from 0 up, got ${JSON.stringify(value)}`);
  }
  return value;
}
