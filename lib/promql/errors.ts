// What can be wrong with a query, in the words of Prometheus, because people search for them and Grafana shows them.

import { Buffer } from "node:buffer";

/** Where in the text something is: offsets in UTF-16 units, the end not included. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

export type QueryErrorCode =
  /** The text is no expression, or its types do not fit. */
  | "parse"
  /** The data does not allow the operation, or a limit was reached, or a function is not evaluated here. */
  | "execution"
  /** The deadline passed. */
  | "timeout"
  /** Whoever asked went away. */
  | "canceled";

export class QueryError extends Error {
  override readonly name: string = "QueryError";
  readonly code: QueryErrorCode;

  constructor(code: QueryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Its message begins with line and column, both from 1, the column in bytes. */
export class ParseError extends QueryError {
  override readonly name = "ParseError";
  readonly span: Span;

  constructor(query: string, span: Span, reason: string) {
    super("parse", `${positionText(query, span.start)}: parse error: ${reason}`);
    this.span = span;
  }
}

export function executionError(message: string): QueryError {
  return new QueryError("execution", message);
}

/** `line:column` of an offset, as Prometheus counts. */
export function positionText(query: string, offset: number): string {
  const before = query.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  const line = before.split("\n").length;
  return `${line}:${Buffer.byteLength(before.slice(lineStart)) + 1}`;
}

/** Text as Go's %q prints it: what the messages quote. */
export function quoted(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\u009f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
