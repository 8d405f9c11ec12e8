// The names in NATS: streams, subjects, accounts. Drawn in docs/formats/log.md.
//
// A data centre's log is a chain of segments, each a stream `dc-<datacenter>-<epoch>-<segment>` that takes the subjects
// `dc.<datacenter>.<segment>.<kind>.<origin>`. An epoch is the second at which a chain began, so that a chain begun on an
// empty disk never has the name of one that was lost, whoever remembers that or not. Later epochs come after earlier ones,
// and segments count from 1 within an epoch.

import { assert } from "#/lib/assert/assert.ts";
import type { LogKind, LogPosition } from "#/lib/model/log.ts";

export interface SegmentName {
  readonly datacenter: string;
  readonly epoch: number;
  readonly segment: number;
}

const kinds: readonly LogKind[] = ["batch", "generation", "heartbeat"];

export function streamNameOf({ datacenter, epoch, segment }: SegmentName): string {
  return `dc-${datacenter}-${epoch}-${segment}`;
}

/** Undefined for a stream that is not of this data centre's log. */
export function parseStreamName(stream: string, datacenter: string): SegmentName | undefined {
  // A name may itself end in hyphens and digits: only the last two numbers are the epoch and the segment.
  const match = /^dc-(.+)-(\d{1,12})-(\d{1,12})$/.exec(stream);
  if (!match || match[1] !== datacenter) return undefined;
  return { datacenter, epoch: Number(match[2]), segment: Number(match[3]) };
}

/** Those of the data centre's log, oldest first. */
export function sortSegments(streams: readonly string[], datacenter: string): SegmentName[] {
  return streams
    .map((stream) => parseStreamName(stream, datacenter))
    .filter((name) => name !== undefined)
    .sort(compareSegments);
}

export function compareSegments(a: SegmentName, b: SegmentName): number {
  return a.epoch - b.epoch || a.segment - b.segment;
}

/**
 * Below 0 when `a` comes first in the data centre's log. Whoever read to a place has passed everything before it, in earlier
 * segments too, whether it was still there or not.
 */
export function comparePositions(a: LogPosition, b: LogPosition, datacenter: string): number {
  if (a.stream === b.stream) return a.sequence - b.sequence;
  const [segmentA, segmentB] = [parseStreamName(a.stream, datacenter), parseStreamName(b.stream, datacenter)];
  return segmentA && segmentB ? compareSegments(segmentA, segmentB) : 0;
}

/** Whether a later segment of that log is among them. */
export function hasLater(streams: readonly string[], stream: string, datacenter: string): boolean {
  const present = parseStreamName(stream, datacenter);
  const newest = sortSegments(streams, datacenter).at(-1);
  return present !== undefined && newest !== undefined && compareSegments(newest, present) > 0;
}

/** Every subject of one segment. */
export function segmentSubjects({ datacenter, segment }: Omit<SegmentName, "epoch">): string {
  return `dc.${datacenter}.${segment}.>`;
}

export function entrySubject(name: Omit<SegmentName, "epoch">, kind: LogKind, origin: string): string {
  assert(/^[A-Za-z0-9_-]+$/.test(origin), `origin ${JSON.stringify(origin)} is no single token`);
  return `dc.${name.datacenter}.${name.segment}.${kind}.${origin}`;
}

/** Undefined for a subject that is not the segment's or that this version does not know: a later one wrote it. */
export function parseEntrySubject(
  subject: string,
  name: Omit<SegmentName, "epoch">,
): { readonly kind: LogKind; readonly origin: string } | undefined {
  const [dc, datacenter, segment, kind, origin, ...rest] = subject.split(".");
  if (dc !== "dc" || datacenter !== name.datacenter || segment !== String(name.segment)) return undefined;
  const known = kinds.find((each) => each === kind);
  if (origin === undefined || rest.length > 0 || !known) return undefined;
  return { kind: known, origin };
}

/** Where a replica says how far it has come; `*` for every one. */
export function reportSubject(datacenter: string, replica: string): string {
  return `wm.${datacenter}.${replica}`;
}
