// The way back: each second every replica says on `wm.<datacenter>.<replica>` how far it has come.
//
// Core NATS, not JetStream: a report that is lost is followed by the next one. Globals' reports come over the leaf link into
// the data centre; those of the primaries stay there, because the hub trusts a data centre with nothing but its log. The
// payload is JSON, drawn in docs/formats/report.md.

import { Buffer } from "node:buffer";
import { MiB } from "#/lib/bytes/units.ts";
import type { BackChannel } from "#/lib/commitlog/commitlog.ts";
import { reportSubject } from "#/lib/commitlog/subjects.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { BatchRange, Watermark } from "#/lib/model/identity.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import { isReachVerdict, type ReachGossip } from "#/lib/model/reach.ts";
import { type ReplicaReport, reportVersion } from "#/lib/model/report.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import type { NatsLink } from "#/lib/wire/jetstream.ts";

/** 20,000 runs of 50 bytes each: far more than a data centre has. Nothing longer is even parsed. */
export const reportBytesMax = MiB;

export type BadReportCode = "too_large" | "bad_json" | "bad_version" | "bad_field" | "foreign";

export class BadReport extends Error {
  override readonly name = "BadReport";
  readonly code: BadReportCode;

  constructor(code: BadReportCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface BackChannelOptions {
  readonly link: NatsLink;
  readonly datacenter: string;
  readonly log: Logger;
  readonly metrics: Registry;
}

export function openBackChannel({ link, datacenter, log, metrics }: BackChannelOptions): BackChannel {
  let saidCode: string | undefined;
  return {
    publish(report) {
      link.publish(reportSubject(datacenter, report.replica), encodeReport(report));
    },
    subscribe(onReport) {
      link.subscribe(reportSubject(datacenter, "*"), (message) => {
        let report: ReplicaReport;
        try {
          report = decodeReport(message.payload);
          if (message.subject !== reportSubject(report.datacenter, report.replica)) {
            throw new BadReport("foreign", `${report.replica} of ${report.datacenter} came on ${message.subject}`);
          }
        } catch (error) {
          if (!(error instanceof BadReport)) throw error;
          metrics.add("heliograph_reports_unreadable_total", 1, { datacenter, code: error.code });
          if (saidCode !== error.code)
            log.warn({ subject: message.subject, reason: error.message }, "A report is not readable.");
          saidCode = error.code;
          return;
        }
        onReport(report);
      });
    },
  };
}

export function encodeReport(report: ReplicaReport): Uint8Array {
  const position = report.position && {
    stream: report.position.stream,
    created: report.position.created,
    sequence: report.position.sequence,
    stored_ms: report.position.storedMs,
  };
  return Buffer.from(
    JSON.stringify({
      version: report.version,
      replica: report.replica,
      tier: report.tier,
      datacenter: report.datacenter,
      sent_ms: report.sentMs,
      position,
      watermarks: report.watermarks.map((mark) => [
        mark.secondary,
        mark.bootEpoch,
        mark.shard,
        mark.run,
        mark.sequence,
      ]),
      missing: report.missing?.map((range) => [
        range.secondary,
        range.bootEpoch,
        range.shard,
        range.run,
        range.from,
        range.until,
      ]),
      secondaries: report.secondaries.map(({ name, ageMs }) => ({ name, age_ms: ageMs })),
      lease_token: report.leaseToken,
      reach: report.reach && encodeReach(report.reach),
    }),
  );
}

/** Throws BadReport. Fields that it does not know are ignored, so that later versions may add some. */
export function decodeReport(bytes: Uint8Array): ReplicaReport {
  if (bytes.length > reportBytesMax) {
    throw new BadReport("too_large", `expected at most ${reportBytesMax} bytes, got ${bytes.length}`);
  }
  let fields: unknown;
  try {
    fields = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch (cause) {
    throw new BadReport("bad_json", "the payload is not JSON", { cause });
  }
  const report = object(fields, "report");
  if (report.version !== reportVersion) {
    throw new BadReport("bad_version", `expected version ${reportVersion}, got ${JSON.stringify(report.version)}`);
  }
  const tier = report.tier;
  if (tier !== "primary" && tier !== "global") {
    throw new BadReport("bad_field", `tier: expected primary or global, got ${JSON.stringify(tier)}`);
  }
  const datacenter = text(report.datacenter, "datacenter");
  return {
    version: reportVersion,
    replica: text(report.replica, "replica"),
    tier,
    datacenter,
    sentMs: number(report.sent_ms, "sent_ms"),
    ...(report.position !== undefined && { position: positionOf(object(report.position, "position")) }),
    watermarks: list(report.watermarks, "watermarks").map((line) => watermarkOf(datacenter, list(line, "watermarks"))),
    ...(report.missing !== undefined && {
      missing: list(report.missing, "missing").map((line) => rangeOf(datacenter, list(line, "missing"))),
    }),
    secondaries: list(report.secondaries, "secondaries").map((item) => {
      const secondary = object(item, "secondaries");
      return { name: text(secondary.name, "name"), ageMs: number(secondary.age_ms, "age_ms") };
    }),
    leaseToken: whole(report.lease_token, "lease_token"),
    ...(report.reach !== undefined && { reach: reachOf(object(report.reach, "reach")) }),
  };
}

function encodeReach({ connected, probes, results, suspicions, verdicts }: ReachGossip): object {
  return {
    connected,
    suspicions: suspicions.map(({ sinceMs, ...rest }) => ({ since_ms: sinceMs, ...rest })),
    probes,
    results,
    verdicts: verdicts.map(({ sinceMs, ...rest }) => ({ since_ms: sinceMs, ...rest })),
  };
}

function reachOf(fields: Fields): ReachGossip {
  const each = <T>(name: string, read: (item: Fields) => T): T[] =>
    list(fields[name], `reach ${name}`).map((item) => read(object(item, `reach ${name}`)));
  return {
    connected: texts(fields.connected, "reach connected"),
    suspicions: each("suspicions", (item) => ({
      secondary: text(item.secondary, "secondary"),
      sinceMs: number(item.since_ms, "since_ms"),
      failed: whole(item.failed, "failed"),
      of: whole(item.of, "of"),
      sample: texts(item.sample, "sample"),
    })),
    probes: each("probes", (item) => ({
      id: text(item.id, "id"),
      prober: text(item.prober, "prober"),
      targets: texts(item.targets, "targets"),
    })),
    results: each("results", (item) => ({ id: text(item.id, "id"), reached: texts(item.reached, "reached") })),
    // A verdict of a later version is none for us.
    verdicts: each("verdicts", (item) => {
      const verdict = text(item.verdict, "verdict");
      const secondary = text(item.secondary, "secondary");
      return isReachVerdict(verdict) ? [{ secondary, sinceMs: number(item.since_ms, "since_ms"), verdict }] : [];
    }).flat(),
  };
}

function positionOf(fields: Fields): LogPosition {
  return {
    stream: text(fields.stream, "stream"),
    created: text(fields.created, "created"),
    sequence: whole(fields.sequence, "sequence"),
    ...(fields.stored_ms !== undefined && { storedMs: number(fields.stored_ms, "stored_ms") }),
  };
}

function watermarkOf(datacenter: string, line: readonly unknown[]): Watermark {
  return {
    datacenter,
    secondary: text(line[0], "watermarks secondary"),
    bootEpoch: whole(line[1], "watermarks boot epoch"),
    shard: whole(line[2], "watermarks shard"),
    run: whole(line[3], "watermarks run"),
    sequence: whole(line[4], "watermarks sequence"),
  };
}

function rangeOf(datacenter: string, line: readonly unknown[]): BatchRange {
  const range = {
    datacenter,
    secondary: text(line[0], "missing secondary"),
    bootEpoch: whole(line[1], "missing boot epoch"),
    shard: whole(line[2], "missing shard"),
    run: whole(line[3], "missing run"),
    from: whole(line[4], "missing from"),
    until: whole(line[5], "missing until"),
  };
  if (range.from >= 1 && range.until >= range.from) return range;
  throw new BadReport("bad_field", `missing: expected a range of batches, got ${range.from} to ${range.until}`);
}

type Fields = Readonly<Record<string, unknown>>;

function object(value: unknown, name: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new BadReport("bad_field", `${name}: expected an object, got ${JSON.stringify(value)}`);
}

function list(value: unknown, name: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new BadReport("bad_field", `${name}: expected a list, got ${JSON.stringify(value)}`);
}

function text(value: unknown, name: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw new BadReport("bad_field", `${name}: expected a text, got ${JSON.stringify(value)}`);
}

function texts(value: unknown, name: string): readonly string[] {
  return list(value, name).map((item) => text(item, name));
}

function number(value: unknown, name: string): number {
  if (typeof value === "number" && value >= 0) return value;
  throw new BadReport("bad_field", `${name}: expected a number from 0 up, got ${JSON.stringify(value)}`);
}

function whole(value: unknown, name: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new BadReport("bad_field", `${name}: expected a whole number from 0 up, got ${JSON.stringify(value)}`);
}
