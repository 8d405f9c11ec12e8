// The status line and the header fields of an answer (RFC 9112): what a scrape needs of them, and no more leniency than it.
//
// How long the body is must be beyond doubt, because the connection is used again behind it.

import { FetchError, notHttp } from "#/secondary/scrape/http/error.ts";

export interface AnswerHead {
  readonly status: number;
  readonly reason: string;
  readonly framing: Framing;
  /** Whether the target leaves the connection open behind this answer. */
  readonly keepAlive: boolean;
  readonly contentType: string;
  /** Lower case; empty when there is none. */
  readonly contentEncoding: string;
  readonly location: string | undefined;
}

/** How the end of the body is known: bytes, or by chunks, or by the connection's end. */
export type Framing = number | "chunked" | "until_close";

/** More than 900 TB is no body. */
const lengthDigitsMax = 15;
/** Shown of what a target sent. */
const excerptLengthMax = 80;

/** `text` is one head without the empty line, its lines ended by CR LF. Throws FetchError (failed_status). */
export function parseHead(text: string): AnswerHead {
  const lines = text.split("\r\n");
  const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: (.*))?$/.exec(lines[0]!);
  if (!statusLine) throw notHttp("a status line like HTTP/1.1 200 OK", excerpt(lines[0]!));
  const status = Number(statusLine[2]);
  const fields = new Map<string, string>();
  for (let i = 1; i < lines.length; i++) readField(unfolded(lines, i), fields);
  const tokens =
    fields
      .get("connection")
      ?.toLowerCase()
      .split(/[ \t,]+/) ?? [];
  const old = statusLine[1] === "0";
  return {
    status,
    reason: statusLine[3] ? excerptOf(statusLine[3].trim()) : "",
    framing: framingOf(status, fields),
    keepAlive:
      (old ? tokens.includes("keep-alive") : !tokens.includes("close")) && !(old && fields.has("transfer-encoding")),
    contentType: fields.get("content-type") ?? "",
    contentEncoding: fields.get("content-encoding")?.toLowerCase() ?? "",
    location: fields.get("location"),
  };
}

/** A line and those that continue it (obs-fold), which a client is to read as one with blanks between; "" for such a one. */
function unfolded(lines: readonly string[], at: number): string {
  if (isFold(lines[at]!)) {
    if (at === 1) throw notHttp("a header field behind the status line", excerpt(lines[at]!));
    return "";
  }
  if (at + 1 === lines.length || !isFold(lines[at + 1]!)) return lines[at]!;
  const parts = [lines[at]!];
  for (let i = at + 1; i < lines.length && isFold(lines[i]!); i++) parts.push(trimmed(lines[i]!));
  return parts.join(" ");
}

/** Without blanks around it; JavaScript's own `trim` would take a byte of 160 for one too. */
function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (start < end && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(character: number): boolean {
  return character === 32 || character === 9;
}

function isFold(line: string): boolean {
  return line.startsWith(" ") || line.startsWith("\t");
}

const wanted: ReadonlySet<string> = new Set([
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "location",
  "transfer-encoding",
]);

function readField(line: string, fields: Map<string, string>): void {
  if (line === "") return;
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(0, colon)).toLowerCase();
  if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name)) throw notHttp("a header field like Name: value", excerpt(line));
  if (!wanted.has(name)) return;
  const value = trimmed(line.slice(colon + 1));
  const before = fields.get(name);
  if (before === undefined) fields.set(name, value);
  else if (name === "content-length") {
    if (before !== value) throw notHttp("one Content-Length", `${excerpt(before)} and ${excerpt(value)}`);
  } else if (name !== "location" && name !== "content-type") fields.set(name, `${before}, ${value}`);
}

function framingOf(status: number, fields: ReadonlyMap<string, string>): Framing {
  const length = fields.get("content-length");
  const transfer = fields.get("transfer-encoding");
  if (length !== undefined && transfer !== undefined) {
    throw notHttp(
      "Content-Length or Transfer-Encoding",
      `both: ${excerpt(length)} and ${excerpt(transfer)}, and who is right cannot be known`,
    );
  }
  if (length !== undefined && !/^\d+$/.test(length)) throw notHttp("a Content-Length in digits", excerpt(length));
  if (length !== undefined && length.length > lengthDigitsMax) {
    throw notHttp(`a Content-Length of at most ${lengthDigitsMax} digits`, excerpt(length));
  }
  if (transfer !== undefined && transfer.toLowerCase() !== "chunked") {
    throw new FetchError("failed_status", `expected the Transfer-Encoding chunked, got ${excerpt(transfer)}`);
  }
  if (status < 200 || status === 204 || status === 304) return 0;
  if (transfer !== undefined) return "chunked";
  return length === undefined ? "until_close" : Number(length);
}

/** What a target sent, as people may be shown it. */
export function excerpt(text: string): string {
  return text === "" ? "nothing" : JSON.stringify(excerptOf(text));
}

function excerptOf(text: string): string {
  return text.length > excerptLengthMax ? `${text.slice(0, excerptLengthMax)}…` : text;
}
