// How the streams of a log are set up, at the data centre and at the hub, and what their settings say (docs/formats/log.md).
//
// A stream is told from one of the same name that was made anew by when it was made. The server's own `created` will not do:
// after a change of settings and a restart, nats-server 2.9 gives the time of the start before. So it stands in the description.

import { assert } from "#/lib/assert/assert.ts";
import { KiB, MiB, minuteMs } from "#/lib/bytes/units.ts";
import { batchBytesMax } from "#/lib/codec/limits.ts";
import type { Inspection } from "#/lib/commitlog/chain.ts";
import { LogError, type LogInfo } from "#/lib/commitlog/commitlog.ts";
import { type SegmentName, segmentSubjects, streamNameOf } from "#/lib/commitlog/subjects.ts";
import type { StreamConfig, StreamInfo } from "#/lib/wire/streams.ts";

/** The largest entry. NATS counts the headers too, hence a little more in the stream's own limit. */
export const entryBytesMax = batchBytesMax;
const messageBytesMax = entryBytesMax + 64 * KiB;
assert(messageBytesMax <= 8 * MiB, "an entry fits into the servers' max_payload (topology/nats.ts)");

/**
 * What a closed segment takes: nothing. A stream that JetStream itself sealed would never let its oldest entries go, and one
 * without its subjects could not be mirrored to its end.
 */
export const closedMessageBytesMax = 1;

/** A sender that hears nothing tries again within seconds; this covers a primary's failover. An id costs the server 210 B. */
const duplicateWindowMs = 5 * minuteMs;

/** The hub keeps entries this much longer than their data centre, for a global that was away. */
const mirrorExtraAgeMs = 24 * 60 * minuteMs;

/** In the description of a data centre's stream, before the time at which it was made. */
const createdMark = "heliograph log; created ";

/** After it: the run of the server that made it. */
const serverMark = "; server ";

/** In the description of a mirror, before the time at which its origin was made. */
const originMark = "heliograph mirror; origin created ";

/** After it, once the origin is closed: its last sequence. */
const endMark = "; ended at ";

export interface LogLimits {
  readonly bytesMax: number;
  readonly ageMaxMs: number;
  readonly replicas: number;
}

/** `createdMs`: by its maker's clock. */
export function originConfig(
  segment: SegmentName,
  limits: LogLimits,
  { createdMs, serverRun }: { readonly createdMs: number; readonly serverRun: string },
): StreamConfig {
  return {
    name: streamNameOf(segment),
    description: createdMark + new Date(createdMs).toISOString() + serverMark + serverRun,
    subjects: [segmentSubjects(segment)],
    // Interest and work queues lose everything during a cut.
    retention: "limits",
    storage: "file",
    discard: "old",
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_bytes: limits.bytesMax > 0 ? limits.bytesMax : -1,
    max_age: limits.ageMaxMs * 1e6,
    max_msg_size: messageBytesMax,
    max_consumers: -1,
    num_replicas: limits.replicas,
    duplicate_window: Math.min(duplicateWindowMs, limits.ageMaxMs || duplicateWindowMs) * 1e6,
    deny_delete: true,
  };
}

export function mirrorConfig(
  segment: SegmentName,
  origin: StreamInfo,
  { datacenter, domain, replicas }: { readonly datacenter: string; readonly domain: string; readonly replicas: number },
): StreamConfig {
  const { max_age, max_bytes } = origin.config;
  return {
    name: streamNameOf(segment),
    description: originMark + createdOf(origin),
    retention: "limits",
    storage: "file",
    discard: "old",
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_bytes,
    max_age: max_age === 0 ? 0 : max_age + mirrorExtraAgeMs * 1e6,
    max_msg_size: messageBytesMax,
    max_consumers: -1,
    num_replicas: replicas,
    deny_delete: true,
    mirror: {
      name: streamNameOf(segment),
      filter_subject: segmentSubjects(segment),
      external: { api: `$JS.${domain}.API`, deliver: `dlv.${datacenter}.m` },
    },
  };
}

/** When a data centre's stream was made. */
export function createdOf({ config, created }: StreamInfo): string {
  const { description = "" } = config;
  return description.startsWith(createdMark) ? description.slice(createdMark.length).split(serverMark)[0]! : created;
}

/** The run of the server in which a data centre's stream was made; "" when it does not say. */
export function serverRunOf({ config }: StreamInfo): string {
  return config.description?.split(serverMark)[1] ?? "";
}

/** The settings of a mirror whose origin is closed, and ended there: known also while the data centre is away. */
export function endedAt(mirror: StreamInfo, sequence: number): StreamConfig {
  return { ...mirror.config, description: originMark + originCreated(mirror) + endMark + sequence };
}

/** The last sequence of a mirror's origin, undefined while it is not known to be closed. */
export function originEnd({ config }: StreamInfo): number | undefined {
  const end = config.description?.split(endMark)[1];
  return end === undefined ? undefined : Number(end);
}

/** When the origin of a mirror was made. */
export function originCreated(mirror: StreamInfo): string {
  const description = mirror.config.description ?? "";
  if (description.startsWith(originMark)) return description.slice(originMark.length).split(endMark)[0]!;
  throw new LogError("refused", `${mirror.config.name}: the stream at the hub is no mirror that Heliograph made`);
}

export function stateOf(info: StreamInfo): "open" | "closed" {
  return info.config.max_msg_size === closedMessageBytesMax ? "closed" : "open";
}

export function infoOf(info: StreamInfo, created: string): LogInfo {
  const { first_seq, last_seq, messages, bytes } = info.state;
  const firstSequence = messages === 0 ? 0 : first_seq;
  return { stream: info.config.name, created, firstSequence, lastSequence: last_seq, bytes };
}

export function lastOf({ state }: StreamInfo): Inspection["originLast"] {
  return { sequence: state.last_seq, storedMs: Date.parse(state.last_ts) };
}

/** Nothing else leaves a gap amid a data centre's stream: its limits take the oldest, and nobody may delete. */
export function hasTorn({ state }: StreamInfo): boolean {
  return (state.num_deleted ?? 0) > 0;
}
