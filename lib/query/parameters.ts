// What clients send: parameters in the URL and in a form, times and durations in Prometheus' several spellings.
//
// A form's values come before the URL's, as Go's FormValue has it. Unknown parameters are nobody's business.

import type { FastifyRequest } from "fastify";
import { parseDurationMs } from "#/lib/promql/text.ts";
import { ApiError } from "#/lib/query/errors.ts";

export interface Parameters {
  /** The first value, or "". */
  first(name: string): string;
  all(name: string): readonly string[];
}

export function parametersOf(request: FastifyRequest): Parameters {
  const sources = [request.body, request.query].filter((source) => typeof source === "object" && source !== null);
  const all = (name: string) =>
    sources.flatMap((source) => (source as Record<string, unknown>)[name]).filter((value) => typeof value === "string");
  return { all, first: (name) => all(name)[0] ?? "" };
}

/** Times are whole ms that a double holds exactly: 285,000 years. */
const timeMsMax = Number.MAX_SAFE_INTEGER;

export const everFromMs = -timeMsMax;
export const everUntilMs = timeMsMax;

const numberPattern = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const rfc3339Pattern = /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)$/;

/** Seconds with a fraction, or RFC 3339. Undefined when it is neither. */
export function parseTimeMs(text: string): number | undefined {
  if (numberPattern.test(text)) {
    const ms = Math.round(Number(text) * 1000);
    return Math.abs(ms) <= timeMsMax ? ms : undefined;
  }
  const match = rfc3339Pattern.exec(text);
  if (!match) return undefined;
  const [, day, time, fraction = "", zone] = match;
  const ms = Date.parse(`${day}T${time}.${fraction.padEnd(3, "0").slice(0, 3)}${zone!.toUpperCase()}`);
  return Number.isNaN(ms) ? undefined : ms;
}

/** Seconds with a fraction, or `5m`. Undefined when it is neither. */
export function parseStepMs(text: string): number | undefined {
  if (numberPattern.test(text)) {
    const ms = Math.round(Number(text) * 1000);
    return Math.abs(ms) <= timeMsMax ? ms : undefined;
  }
  const ms = parseDurationMs(text);
  return ms === Number.POSITIVE_INFINITY ? undefined : ms;
}

/** The required time `name` of query_range. Throws ApiError. */
export function requiredTimeMs(parameters: Parameters, name: string): number {
  const text = parameters.first(name);
  const ms = parseTimeMs(text);
  if (ms === undefined) throw badParameter(name, `cannot parse ${JSON.stringify(text)} to a valid timestamp`);
  return ms;
}

/** The time `name`, or `fallbackMs` when it is not given. Throws ApiError. */
export function optionalTimeMs(parameters: Parameters, name: string, fallbackMs: number): number {
  const text = parameters.first(name);
  if (text === "") return fallbackMs;
  const ms = parseTimeMs(text);
  if (ms === undefined) {
    const reason = `cannot parse ${JSON.stringify(text)} to a valid timestamp`;
    throw badParameter(name, `Invalid time value for '${name}': ${reason}`);
  }
  return ms;
}

/** Throws ApiError. */
export function requiredDurationMs(parameters: Parameters, name: string): number {
  const text = parameters.first(name);
  const ms = parseStepMs(text);
  if (ms === undefined) throw badParameter(name, `cannot parse ${JSON.stringify(text)} to a valid duration`);
  return ms;
}

/** Infinity when it is not given, or 0. Throws ApiError. */
export function limitOf(parameters: Parameters): number {
  const text = parameters.first("limit");
  if (text === "") return Number.POSITIVE_INFINITY;
  if (!/^-?\d+$/.test(text)) throw new ApiError("bad_data", "limit must be a number");
  return Number(text) > 0 ? Number(text) : Number.POSITIVE_INFINITY;
}

export function badParameter(name: string, reason: string): ApiError {
  return new ApiError("bad_data", `invalid parameter "${name}": ${reason}`);
}

/** `U__a_2e_b` is `a.b`: how clients put any label name into a path (Prometheus' "values" escaping). */
export function unescapeLabelName(text: string): string {
  if (!text.startsWith("U__")) return text;
  let valid = true;
  const name = text.slice(3).replace(/_(?:_|([0-9a-fA-F]{1,6})_)?/g, (whole, hex: string | undefined) => {
    if (whole === "__") return "_";
    const code = hex === undefined ? Number.NaN : Number.parseInt(hex, 16);
    if (!(code <= 0x10ffff)) {
      valid = false;
      return whole;
    }
    return String.fromCodePoint(code);
  });
  return valid ? name : text;
}
