// Reads expositions, text format 0.0.4 and OpenMetrics 1.0, line by line from their bytes.
//
// A sample's line has a head (name and labels) and a tail (value, timestamp, exemplar). Heads repeat scrape after scrape, so
// finding where one ends is kept apart from understanding it: layout.ts does the second once a head, not once a line. Values go
// straight into a column. What Prometheus refuses is refused here too, and ends the whole scrape (its own parser,
// model/textparse, is the reference where the two specifications leave room).

import { Buffer, isUtf8 } from "node:buffer";

import { KiB } from "#/lib/bytes/units.ts";
import { type DecimalColumn, parseDecimal } from "#/lib/model/decimal.ts";
import { compareText, type Label, type Labels, metricNameLabel } from "#/lib/model/labels.ts";
import type { MetricType } from "#/lib/model/layout.ts";

export type ExpositionFormat = "text" | "openmetrics";

export type BadExpositionCode = "syntax" | "bad_utf8" | "no_eof" | "too_many_lines" | "too_long";

/** The body cannot be read. The message begins with the line's number. */
export class BadExposition extends Error {
  override readonly name = "BadExposition";
  readonly code: BadExpositionCode;
  /** Counts from 1. */
  readonly line: number;

  constructor(code: BadExpositionCode, line: number, message: string) {
    super(`line ${line}: ${message}`);
    this.code = code;
    this.line = line;
  }
}

/** What a line is. `end` is no line: the body is over, and complete. */
export type LineKind = "sample" | "type" | "help" | "unit" | "comment" | "end";

/** A series as its line names it, before the target's labels come to it. */
export interface SampleHead {
  readonly name: string;
  /** Sorted; a value may be empty. */
  readonly labels: Labels;
}

export interface Exemplar {
  readonly labels: Labels;
  readonly value: number;
  readonly timestampMs: number | undefined;
}

/** OpenMetrics: the label set of an exemplar has at most so many characters, names and values together. */
const exemplarCharactersMax = 128;
/** How much of a line an error shows. */
const excerptBytes = 80;
/** How much is looked at together for bytes that are not UTF-8. */
const utf8BlockBytes = 64 * KiB;

/** A timestamp is a 64-bit integer. */
const timestampMax = 2 ** 63;

const tab = 9;
const lineFeed = 10;
const space = 32;
const doubleQuote = 34;
const hash = 35;
const comma = 44;
const minus = 45;
const digit0 = 48;
const digit9 = 57;
const equals = 61;
const backslash = 92;
const letterN = 110;
const braceOpen = 123;
const braceClose = 125;

export class ExpositionReader {
  readonly format: ExpositionFormat;
  readonly #bytes: Uint8Array;
  readonly #text: Buffer;
  readonly #end: number;
  readonly #openMetrics: boolean;
  /** The first byte not read yet. */
  at = 0;
  /** Where the line that `next` found begins. */
  lineStart = 0;

  /** Of a `type`, `help` or `unit` line. */
  family = "";
  /** Of a `help` or `unit` line. */
  metadata = "";
  /** Of a `type` line. */
  type: MetricType = "unknown";

  /** Of the last `tail`. */
  hasTimestamp = false;
  timestampMs = 0;
  exemplar: Exemplar | undefined;
  /** Of any tail so far, also one that is too long to be kept or whose sample is a duplicate. */
  hasExemplars = false;

  /** Throws BadExposition when the body is not UTF-8, unless the caller says that it needs no look. */
  constructor(bytes: Uint8Array, format: ExpositionFormat, options: { readonly utf8Checked?: boolean } = {}) {
    this.format = format;
    this.#bytes = bytes;
    this.#text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#end = bytes.length;
    this.#openMetrics = format === "openmetrics";
    if (!options.utf8Checked && !isUtf8(bytes)) {
      throw new BadExposition("bad_utf8", firstLineNotUtf8(bytes), "expected UTF-8, got bytes that are not");
    }
  }

  /**
   * Finds the next line's kind. Of a sample only the head's end is found, and `at` stands there: go on with `tail`. Any other
   * line is read whole, with its line feed.
   */
  next(): LineKind {
    const bytes = this.#bytes;
    this.lineStart = this.at;
    if (this.at >= this.#end) {
      if (!this.#openMetrics) return "end";
      this.#fail("no_eof", "expected `# EOF` at the end of the body, got nothing more");
    }
    if (!this.#openMetrics) this.#skipBlanks();
    const byte = bytes[this.at];
    if (byte === hash) return this.#openMetrics ? this.#openMetricsComment() : this.#textComment();
    if (byte === lineFeed && !this.#openMetrics) {
      this.at++;
      return "comment";
    }
    if (this.at >= this.#end) return "comment";
    this.#scanHead();
    return "sample";
  }

  /** Understands the head that `next` found. */
  head(): SampleHead {
    const resume = this.at;
    this.at = this.lineStart;
    if (!this.#openMetrics) this.#skipBlanks();
    const start = this.at;
    this.#skipName();
    let name = this.at > start ? this.#slice(start, this.at) : undefined;
    let labels: Label[] = [];
    if (!this.#openMetrics) this.#skipBlanks();
    if (this.#bytes[this.at] === braceOpen) {
      this.at++;
      const set = this.#labelSet(name === undefined);
      name ??= set.name;
      labels = set.labels;
      if (!set.isSet) this.#expected(`the label "${twice(labels)}" once`, this.lineStart);
    }
    if (name === undefined) this.#expected("a metric name before or among the labels", start);
    if (name === "") this.#expected("a metric name of at least one character", start);
    this.at = resume;
    return { name, labels };
  }

  /** Reads value, timestamp, exemplar and the line's end, and leaves the value in that row. */
  tail(column: DecimalColumn, row: number): void {
    const bytes = this.#bytes;
    const end = this.#end;
    this.hasTimestamp = false;
    this.exemplar = undefined;
    if (!this.#openMetrics) this.#skipBlanks();
    const start = this.at;
    let at = start;
    let byte = 0;
    while (at < end && (byte = bytes[at]!) !== space && byte !== lineFeed && (byte !== tab || this.#openMetrics)) at++;
    if (at === start) this.#expected("a value after the metric", start);
    if (!parseDecimal(bytes, start, at, column, row)) this.#expected("a number as value", start, at);
    this.at = at;
    if (at < end && bytes[at] === lineFeed) {
      this.at++;
      return;
    }
    if (this.#openMetrics) this.#openMetricsRest();
    else this.#textRest();
  }

  #textRest(): void {
    const bytes = this.#bytes;
    this.#skipBlanks();
    if (this.#endsLine()) return;
    const start = this.at;
    const negative = bytes[this.at] === minus;
    if (negative) this.at++;
    const digits = this.at;
    let value = 0;
    let byte = 0;
    while (this.at < this.#end && (byte = bytes[this.at]!) >= digit0 && byte <= digit9) {
      value = value * 10 + (byte - digit0);
      this.at++;
    }
    if (this.at === digits || value > timestampMax) {
      this.#expected("a timestamp in whole milliseconds or the end of the line", start, Math.max(this.at, start + 12));
    }
    this.hasTimestamp = true;
    this.timestampMs = negative ? -value : value;
    this.#skipBlanks();
    if (!this.#endsLine()) this.#expected("the end of the line after the timestamp", this.at);
  }

  #openMetricsRest(): void {
    const bytes = this.#bytes;
    if (this.at < this.#end && bytes[this.at + 1] !== hash) {
      this.timestampMs = this.#openMetricsTimestamp();
      this.hasTimestamp = true;
    }
    if (bytes[this.at] === space && bytes[this.at + 1] === hash) {
      if (bytes[this.at + 2] !== space || bytes[this.at + 3] !== braceOpen) {
        this.#expected("an exemplar that begins with ` # {`", this.at);
      }
      this.at += 4;
      this.hasExemplars = true;
      const { isSet, labels } = this.#labelSet(false);
      const start = this.#single("a space and a value after the exemplar's labels");
      const end = this.#tokenEnd();
      const value = floatOf(this.#slice(start, end));
      if (value === undefined) this.#expected("a number as the exemplar's value", start, end);
      this.at = end;
      const timestampMs = bytes[this.at] === space ? this.#openMetricsTimestamp() : undefined;
      const isKept = isSet && charactersOf(labels) <= exemplarCharactersMax;
      this.exemplar = isKept ? { labels, value, timestampMs } : undefined;
    }
    if (this.at >= this.#end) this.#fail("no_eof", "expected `# EOF` at the end of the body, got nothing more");
    if (!this.#endsLine()) this.#expected("the end of the line", this.at);
  }

  /** Seconds with a fraction, as ms. */
  #openMetricsTimestamp(): number {
    const start = this.#single("a space and a timestamp");
    const end = this.#tokenEnd();
    const seconds = floatOf(this.#slice(start, end));
    if (seconds === undefined || !Number.isFinite(seconds)) {
      this.#expected("a timestamp in seconds", start, end);
    }
    this.at = end;
    return Math.round(seconds * 1000);
  }

  #single(expected: string): number {
    if (this.#bytes[this.at] !== space) this.#expected(expected, this.at);
    return ++this.at;
  }

  #tokenEnd(): number {
    const bytes = this.#bytes;
    let at = this.at;
    while (at < this.#end && bytes[at] !== space && bytes[at] !== lineFeed) at++;
    return at;
  }

  /** The end of the body ends its last line too. */
  #endsLine(): boolean {
    if (this.at >= this.#end) return true;
    if (this.#bytes[this.at] !== lineFeed) return false;
    this.at++;
    return true;
  }

  /** Where the value begins: behind name, label set and what separates them from it. Quotes are respected, nothing else is. */
  #scanHead(): void {
    const bytes = this.#bytes;
    const end = this.#end;
    const start = this.at;
    this.#skipName();
    const named = this.at > start;
    if (!this.#openMetrics) this.#skipBlanks();
    if (bytes[this.at] === braceOpen) {
      let at = this.at + 1;
      for (;;) {
        if (at >= end) this.#expected("a `}` that closes the labels", at);
        const byte = bytes[at]!;
        if (byte === braceClose) break;
        if (byte === lineFeed) this.#expected("a `}` that closes the labels", at);
        at = byte === doubleQuote ? this.#quotedEnd(at) : at + 1;
      }
      this.at = at + 1;
    } else if (!named) this.#expected("a metric name, `{` or `#`", start);
    if (!this.#openMetrics) this.#skipBlanks();
    else this.#single("a space and a value after the metric");
  }

  /** `at` stands behind the opening brace, and is left behind the closing one. */
  #labelSet(mayName: boolean): {
    readonly name: string | undefined;
    readonly labels: Label[];
    /** False when a label is there twice. */
    readonly isSet: boolean;
  } {
    const bytes = this.#bytes;
    const blanks = !this.#openMetrics;
    const labels: Label[] = [];
    let name: string | undefined;
    for (;;) {
      if (blanks) this.#skipBlanks();
      const start = this.at;
      const first = bytes[start];
      if (first === braceClose) break;
      const quoted = first === doubleQuote;
      const labelName = quoted ? this.#quoted() : this.#labelName();
      if (blanks) this.#skipBlanks();
      const separator = bytes[this.at];
      if (separator === comma || separator === braceClose) {
        // A quoted string without a value is the metric's name, in the syntax for UTF-8 names.
        if (!quoted || !mayName || name !== undefined) this.#expected("`=` after a label name", this.at);
        name = labelName;
        if (separator === comma) this.at++;
        continue;
      }
      if (separator !== equals) this.#expected("`=` after a label name", this.at);
      if (labelName === "" || labelName === metricNameLabel) this.#expected("a label name", start, this.at);
      this.at++;
      if (blanks) this.#skipBlanks();
      if (bytes[this.at] !== doubleQuote) this.#expected("a label value in double quotes", this.at);
      labels.push([labelName, this.#quoted()]);
      if (blanks) this.#skipBlanks();
      if (bytes[this.at] === comma) this.at++;
      // Prometheus lets the text format go without the comma, and some exporters do.
      else if (!blanks && bytes[this.at] !== braceClose) this.#expected("a comma or `}` after a label value", this.at);
    }
    this.at++;
    if (labels.length < 2) return { name, labels, isSet: true };
    labels.sort((a, b) => compareText(a[0], b[0]));
    return { name, labels, isSet: twice(labels) === undefined };
  }

  #textComment(): LineKind {
    const bytes = this.#bytes;
    this.at++;
    const blanksFrom = this.at;
    this.#skipBlanks();
    const keyword = this.at > blanksFrom ? this.#keyword() : "";
    const isBlank = bytes[this.at + 4] === space || bytes[this.at + 4] === tab;
    if ((keyword !== "HELP" && keyword !== "TYPE") || !isBlank) {
      this.#restOfLine();
      return "comment";
    }
    this.at += 5;
    this.#skipBlanks();
    this.#metadataName(keyword);
    const nameEnd = this.at;
    const text = this.#restOfLine().slice(1);
    if (keyword === "HELP") {
      this.metadata = unescaped(text, false);
      return "help";
    }
    if (bytes[nameEnd] !== space && bytes[nameEnd] !== tab)
      this.#expected("a blank and a type after the name", nameEnd);
    const type = text.replaceAll(/^[ \t]+|[ \t]+$/g, "");
    if (type !== "untyped" && !textTypes.has(type)) {
      this.#expected(
        `a type (${[...textTypes].join(", ")} or untyped)`,
        this.lineStart,
        undefined,
        JSON.stringify(type),
      );
    }
    this.type = type === "untyped" ? "unknown" : (type as MetricType);
    return "type";
  }

  #openMetricsComment(): LineKind {
    const bytes = this.#bytes;
    if (bytes[this.at + 1] !== space) this.#expected("`# HELP`, `# TYPE`, `# UNIT` or `# EOF`", this.at);
    this.at += 2;
    const keyword = this.#keyword();
    if (keyword.startsWith("EOF")) {
      this.at += 3;
      if (this.at < this.#end && bytes[this.at] === lineFeed) this.at++;
      if (this.at < this.#end) this.#expected("nothing after `# EOF`", this.at);
      return "end";
    }
    if ((keyword !== "HELP" && keyword !== "TYPE" && keyword !== "UNIT") || bytes[this.at + 4] !== space) {
      this.#expected("`# HELP`, `# TYPE`, `# UNIT` or `# EOF`", this.lineStart);
    }
    this.at += 5;
    this.#metadataName(keyword);
    if (bytes[this.at] !== space) this.#expected(`a space and a text after \`# ${keyword}\` and the name`, this.at);
    const start = ++this.at;
    const text = this.#restOfLine();
    if (keyword === "HELP") {
      this.metadata = unescaped(text, true);
      return "help";
    }
    if (keyword === "UNIT") {
      if (text !== "" && !this.family.endsWith(`_${text}`)) {
        this.#expected(
          `a unit that is the last part of the name "${this.family}"`,
          start,
          undefined,
          JSON.stringify(text),
        );
      }
      this.metadata = text;
      return "unit";
    }
    if (!openMetricsTypes.has(text)) {
      this.#expected(`a type (${[...openMetricsTypes].join(", ")})`, start, undefined, JSON.stringify(text));
    }
    this.type = text as MetricType;
    return "type";
  }

  #keyword(): string {
    return this.#text.toString("latin1", this.at, Math.min(this.at + 4, this.#end));
  }

  #metadataName(keyword: string): void {
    const start = this.at;
    if (this.#bytes[this.at] === doubleQuote) this.family = this.#quoted();
    else {
      this.#skipName();
      this.family = this.#slice(start, this.at);
    }
    if (this.family === "") this.#expected(`a metric name after ${keyword}`, start);
  }

  #restOfLine(): string {
    const found = this.#bytes.indexOf(lineFeed, this.at);
    const end = found < 0 ? this.#end : found;
    const text = this.#slice(this.at, end);
    this.at = found < 0 ? end : end + 1;
    return text;
  }

  #skipBlanks(): void {
    const bytes = this.#bytes;
    let byte = 0;
    while ((byte = bytes[this.at]!) === space || byte === tab) this.at++;
  }

  /** [a-zA-Z_:][a-zA-Z0-9_:]*, or nothing. */
  #skipName(): void {
    const bytes = this.#bytes;
    if ((nameBytes[bytes[this.at]!]! & nameFirst) === 0) return;
    while ((nameBytes[bytes[this.at]!]! & nameRest) !== 0) this.at++;
  }

  #labelName(): string {
    const bytes = this.#bytes;
    const start = this.at;
    if ((nameBytes[bytes[start]!]! & labelFirst) === 0) this.#expected("a label name", start);
    while ((nameBytes[bytes[this.at]!]! & labelRest) !== 0) this.at++;
    return this.#slice(start, this.at);
  }

  /** `at` stands on the opening quote, and is left behind the closing one. */
  #quoted(): string {
    const start = this.at + 1;
    this.at = this.#quotedEnd(this.at);
    return unescaped(this.#slice(start, this.at - 1), true);
  }

  #quotedEnd(opening: number): number {
    const bytes = this.#bytes;
    const end = this.#end;
    for (let at = opening + 1; at < end; at++) {
      const byte = bytes[at]!;
      if (byte === doubleQuote) return at + 1;
      if (byte === backslash) at++;
      if (bytes[at] === lineFeed) break;
    }
    this.#expected("a closing double quote on the same line", opening);
  }

  #slice(start: number, end: number): string {
    return this.#text.toString("utf8", start, end);
  }

  /** `got` is what stands at `start`, up to `end` or for a few bytes. */
  #expected(expected: string, start: number, end?: number, got?: string): never {
    const lineEnd = this.#bytes.indexOf(lineFeed, start);
    const until = Math.min(end ?? start + 12, lineEnd < 0 ? this.#end : lineEnd, start + excerptBytes);
    const seen =
      got ?? (start >= this.#end || until <= start ? "the end of the line" : JSON.stringify(this.#slice(start, until)));
    this.#fail("syntax", `expected ${expected}, got ${seen}`);
  }

  #fail(code: BadExpositionCode, message: string): never {
    const bytes = this.#bytes;
    const start = this.lineStart;
    const line = lineAt(bytes, start);
    const found = bytes.indexOf(lineFeed, start);
    const end = found < 0 ? this.#end : found;
    const excerpt = this.#slice(start, Math.min(end, start + excerptBytes));
    const where = excerpt === "" ? "" : ` in ${JSON.stringify(excerpt)}${end > start + excerptBytes ? "…" : ""}`;
    throw new BadExposition(code, line, message + where);
  }
}

/** Counts from 1. */
function lineAt(bytes: Uint8Array, offset: number): number {
  let line = 1;
  for (let at = 0; at < offset; at++) if (bytes[at] === lineFeed) line++;
  return line;
}

/** Looked for in blocks of lines first and then in lines: one look a line would take seconds in a large body. */
function firstLineNotUtf8(bytes: Uint8Array): number {
  let start = 0;
  for (const stride of [utf8BlockBytes, 0]) {
    for (;;) {
      const found = bytes.indexOf(lineFeed, start + stride);
      if (found < 0 || !isUtf8(bytes.subarray(start, found))) break;
      start = found + 1;
    }
  }
  return lineAt(bytes, start);
}

const textTypes: ReadonlySet<string> = new Set(["counter", "gauge", "histogram", "summary"]);
const openMetricsTypes: ReadonlySet<string> = new Set([
  "unknown",
  "counter",
  "gauge",
  "histogram",
  "gaugehistogram",
  "summary",
  "info",
  "stateset",
]);

const nameFirst = 1;
const nameRest = 2;
const labelFirst = 4;
const labelRest = 8;

/** What each byte may be in a name; past the end of a body there is no byte, which is none of it. */
const nameBytes = new Uint8Array(256).map((_, byte) => {
  const character = String.fromCharCode(byte);
  if (/[a-zA-Z_]/.test(character)) return nameFirst | nameRest | labelFirst | labelRest;
  if (character === ":") return nameFirst | nameRest;
  return /[0-9]/.test(character) ? nameRest | labelRest : 0;
});

/** A number as Go's ParseFloat reads it, without the hexadecimal floats and underscores that Prometheus refuses. */
function floatOf(text: string): number | undefined {
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return Number(text);
  if (/^nan$/i.test(text)) return Number.NaN;
  const infinite = /^([+-]?)inf(inity)?$/i.exec(text);
  if (infinite) return infinite[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return undefined;
}

/** `\\`, `\n` and, where quotes may stand, `\"`; any other backslash stands for itself. */
function unescaped(text: string, quotes: boolean): string {
  if (!text.includes("\\")) return text;
  return text.replace(quotes ? /\\[\\n"]/g : /\\[\\n]/g, (escaped) =>
    escaped.charCodeAt(1) === letterN ? "\n" : escaped.slice(1),
  );
}

/** The name of the first label that is there twice. Labels are sorted. */
function twice(labels: Labels): string | undefined {
  return labels.find(([name], i) => i > 0 && labels[i - 1]![0] === name)?.[0];
}

function charactersOf(labels: Labels): number {
  let characters = 0;
  for (const [name, value] of labels) characters += [...name].length + [...value].length;
  return characters;
}
