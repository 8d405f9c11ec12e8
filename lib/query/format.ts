// Answers as Prometheus' JSON, written piece by piece: a range query over thousands of series is never one string.

import { Buffer } from "node:buffer";
import { Readable } from "node:stream";

import type { Labels } from "#/lib/model/labels.ts";
import { formatValue } from "#/lib/model/value.ts";
import type { QueryResult } from "#/lib/promql/query.ts";
import { chunkTextLength } from "#/lib/query/limits.ts";

export interface Notes {
  readonly warnings: readonly string[];
  readonly infos: readonly string[];
}

export const noNotes: Notes = { warnings: [], infos: [] };

/** `data` comes in pieces that together are one JSON value. */
export function* successText(data: Iterable<string>, notes: Notes): Generator<string> {
  yield '{"status":"success","data":';
  yield* data;
  if (notes.warnings.length > 0) yield `,"warnings":${JSON.stringify(notes.warnings)}`;
  if (notes.infos.length > 0) yield `,"infos":${JSON.stringify(notes.infos)}`;
  yield "}";
}

export function errorBody(errorType: string, error: string): Buffer {
  return Buffer.from(JSON.stringify({ status: "error", errorType, error }));
}

/** `resultType` before `result`: Grafana's streaming parser is faster so. `stats` is JSON. */
export function* resultText(result: QueryResult, stats: string | undefined): Generator<string> {
  yield `{"resultType":"${result.type}","result":`;
  switch (result.type) {
    case "scalar":
      yield `[${timeText(result.timeMs)},"${formatValue(result.value)}"]`;
      break;
    case "string":
      yield `[${timeText(result.timeMs)},${JSON.stringify(result.value)}]`;
      break;
    case "vector":
      yield* listText(
        result.series,
        ({ labels, value }) =>
          `{"metric":${labelsJson(labels)},"value":[${timeText(result.timeMs)},"${formatValue(value)}"]}`,
      );
      break;
    case "matrix":
      yield "[";
      for (const [i, { labels, timesMs, values }] of result.series.entries()) {
        yield `${i === 0 ? "" : ","}{"metric":${labelsJson(labels)},"values":[`;
        yield* pointsText(timesMs, values);
        yield "]}";
      }
      yield "]";
      break;
    default:
      result satisfies never;
  }
  yield stats === undefined ? "}" : `,"stats":${stats}}`;
}

function* pointsText(timesMs: Float64Array, values: Float64Array): Generator<string> {
  let text = "";
  for (let i = 0; i < timesMs.length; i++) {
    text += `${i === 0 ? "" : ","}[${timeText(timesMs[i]!)},"${formatValue(values[i]!)}"]`;
    if (text.length >= chunkTextLength) {
      yield text;
      text = "";
    }
  }
  yield text;
}

export function* listText<T>(items: Iterable<T>, json: (item: T) => string): Generator<string> {
  let first = true;
  yield "[";
  for (const item of items) {
    yield first ? json(item) : `,${json(item)}`;
    first = false;
  }
  yield "]";
}

export function labelsJson(labels: Labels): string {
  let text = "{";
  for (const [i, [name, value]] of labels.entries()) {
    text += `${i === 0 ? "" : ","}${JSON.stringify(name)}:${JSON.stringify(value)}`;
  }
  return `${text}}`;
}

/** Seconds with three decimals or none, as Prometheus writes them. */
function timeText(timeMs: number): string {
  const ms = Math.round(timeMs);
  if (ms % 1000 === 0) return String(ms / 1000);
  const digits = String(Math.abs(ms)).padStart(4, "0");
  return `${ms < 0 ? "-" : ""}${digits.slice(0, -3)}.${digits.slice(-3)}`;
}

/**
 * The whole text when it is short, else a stream of it, so that memory and the event loop see a piece at a time. As bytes,
 * because to a string fastify would add a charset, which Prometheus has not.
 */
export function bodyOf(pieces: Iterator<string>): Buffer | Readable {
  let text = "";
  for (let next = pieces.next(); !next.done; next = pieces.next()) {
    text += next.value;
    if (text.length >= chunkTextLength) return Readable.from(gathered(text, pieces));
  }
  return Buffer.from(text);
}

function* gathered(begun: string, pieces: Iterator<string>): Generator<string> {
  let text = begun;
  for (let next = pieces.next(); !next.done; next = pieces.next()) {
    if (text.length >= chunkTextLength) {
      yield text;
      text = "";
    }
    text += next.value;
  }
  if (text !== "") yield text;
}
