// Go's string literals and PromQL's durations: how text in a query becomes a value.

import { Buffer } from "node:buffer";

import { dayMs, hourMs, minuteMs, secondMs } from "#/lib/bytes/units.ts";

/** What the escape at `offset` (of the backslash) stands for, or why it stands for nothing. */
export type Escape =
  | { readonly length: number; readonly code: number; readonly byte: boolean }
  | { readonly reason: string };

const simpleEscapes: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  "\\": 92,
};

/** Go's escapes (language specification, "String literals"). */
export function readEscape(text: string, offset: number, quote: string): Escape {
  const letter = text[offset + 1];
  if (letter === undefined) return { reason: "escape sequence not terminated" };
  if (letter === quote) return { length: 2, code: letter.charCodeAt(0), byte: false };
  const simple = simpleEscapes[letter];
  if (simple !== undefined) return { length: 2, code: simple, byte: false };

  const octal = letter >= "0" && letter <= "7";
  const digits = octal ? 3 : { x: 2, u: 4, U: 8 }[letter];
  if (digits === undefined) return { reason: `unknown escape sequence ${unicodeText(letter)}` };
  const from = offset + (octal ? 1 : 2);
  for (let i = from; i < from + digits; i++) {
    const digit = text[i];
    if (digit === undefined) return { reason: "escape sequence not terminated" };
    if (!(octal ? /[0-7]/ : /[0-9a-fA-F]/).test(digit)) {
      return { reason: `illegal character ${unicodeText(digit)} in escape sequence` };
    }
  }
  const code = Number.parseInt(text.slice(from, from + digits), octal ? 8 : 16);
  const byte = octal || letter === "x";
  if (code > (byte ? 0xff : 0x10ffff) || (!byte && code >= 0xd800 && code < 0xe000)) {
    return { reason: "escape sequence is an invalid Unicode code point" };
  }
  return { length: from + digits - offset, code, byte };
}

function unicodeText(character: string): string {
  const code = character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
  return `U+${code} '${character}'`;
}

/** The value of a quoted literal whose escapes are known to be right; raw ones (in backquotes) have none. */
export function unquote(literal: string): string {
  const quote = literal[0]!;
  const body = literal.slice(1, -1);
  if (quote === "`" || !body.includes("\\")) return body;
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = body.indexOf("\\"); at >= 0; at = body.indexOf("\\", from)) {
    parts.push(Buffer.from(body.slice(from, at)));
    const found = readEscape(body, at, quote);
    if ("reason" in found) throw new RangeError(found.reason);
    parts.push(found.byte ? Buffer.from([found.code]) : Buffer.from(String.fromCodePoint(found.code)));
    from = at + found.length;
  }
  parts.push(Buffer.from(body.slice(from)));
  return Buffer.concat(parts).toString("utf8");
}

const durationPattern = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/;
const unitsMs = [365 * dayMs, 7 * dayMs, dayMs, hourMs, minuteMs, secondMs, 1];

/** 2^63 − 1 ns in ms: what a Go duration holds, about 292 years. */
export const durationMsMax = 9_223_372_036_854;

/** `1h30m`, units in falling order, each at most once; undefined when it is none, Infinity when out of range. */
export function parseDurationMs(text: string): number | undefined {
  if (text === "0") return 0;
  const match = durationPattern.exec(text);
  if (!match || text === "") return undefined;
  let totalMs = 0;
  for (const [i, unitMs] of unitsMs.entries()) totalMs += Number(match[i + 1] ?? 0) * unitMs;
  return totalMs > durationMsMax ? Number.POSITIVE_INFINITY : totalMs;
}

/** A number literal in any of Go's forms that the lexer lets through; undefined when it does not fit a double. */
export function parseNumber(text: string): number | undefined {
  const plain = text.toLowerCase().replaceAll("_", "");
  if (plain === "inf") return Number.POSITIVE_INFINITY;
  if (plain === "nan") return Number.NaN;
  if (/^0[0-7]+$/.test(plain)) return Number.parseInt(plain, 8);
  const value = Number(plain);
  return Number.isFinite(value) ? value : undefined;
}
