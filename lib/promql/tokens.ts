// The parser's view of the tokens: the present one, the one before and, where a word may be a name, the one after.

import { aggregators } from "#/lib/promql/ast.ts";
import { ParseError, quoted, type Span } from "#/lib/promql/errors.ts";
import { Lexer, type Token, type TokenKind } from "#/lib/promql/lexer.ts";
import { parseDurationMs, parseNumber } from "#/lib/promql/text.ts";

const keywords: ReadonlySet<string> = new Set(
  "offset smoothed anchored by without on ignoring group_left group_right bool start end step range".split(" "),
);
const wordOperators: ReadonlySet<string> = new Set(["and", "or", "unless", "atan2"]);

export class TokenStream {
  readonly #query: string;
  readonly #lexer: Lexer;
  #current: Token;
  #previous: Token = { kind: "end", text: "", start: 0, end: 0 };
  #following: Token | undefined;

  constructor(query: string) {
    this.#query = query;
    this.#lexer = new Lexer(query);
    this.#current = this.#lexer.next();
  }

  get current(): Token {
    return this.#current;
  }

  get previous(): Token {
    return this.#previous;
  }

  get following(): Token {
    this.#following ??= this.#lexer.next();
    return this.#following;
  }

  advance(): void {
    this.#previous = this.#current;
    this.#current = this.#following ?? this.#lexer.next();
    this.#following = undefined;
  }

  at(kind: TokenKind): boolean {
    return this.#current.kind === kind;
  }

  take(kind: TokenKind): boolean {
    if (this.#current.kind !== kind) return false;
    this.advance();
    return true;
  }

  /** Keywords have no case. */
  isWord(word: string): boolean {
    return this.#current.kind === "identifier" && this.#current.text.toLowerCase() === word;
  }

  takeWord(word: string): boolean {
    if (!this.isWord(word)) return false;
    this.advance();
    return true;
  }

  /** The token, having gone past it. */
  expect(kind: TokenKind, context: string, expected: string): Token {
    if (this.#current.kind !== kind) throw this.unexpected(context, expected);
    this.advance();
    return this.#previous;
  }

  /** The value of the present number, or of the present duration in seconds, having gone past it. */
  numberOrDuration(): number {
    const { kind, text } = this.#current;
    let value: number | undefined;
    if (kind === "duration") {
      const ms = parseDurationMs(text);
      if (ms === undefined) throw this.error(`not a valid duration string: ${quoted(text)}`);
      if (ms === Number.POSITIVE_INFINITY) throw this.error("duration out of range");
      value = ms / 1000;
    } else {
      value = parseNumber(text);
      if (value === undefined) throw this.error(`error parsing number: ${quoted(text)}: value out of range`);
    }
    this.advance();
    return value;
  }

  signedNumber(context: string, expected = "number or duration"): number {
    const negative = this.#current.kind === "-";
    if (negative || this.#current.kind === "+") this.advance();
    const isNumber = this.#current.kind === "number" || this.#current.kind === "duration";
    if (!isNumber && !this.isWord("inf") && !this.isWord("nan")) throw this.unexpected(context, expected);
    const value = this.numberOrDuration();
    return negative ? -value : value;
  }

  error(reason: string, span: Span = this.#current): ParseError {
    return new ParseError(this.#query, span, reason);
  }

  unexpected(context: string, expected: string): ParseError {
    let reason = `unexpected ${describe(this.#current)}`;
    if (context !== "") reason += ` in ${context}`;
    if (expected !== "") reason += `, expected ${expected}`;
    return this.error(reason);
  }
}

/** As Prometheus' lexer describes an item in its messages. */
function describe({ kind, text }: Token): string {
  const word = text.toLowerCase();
  switch (kind) {
    case "end":
      return "end of input";
    case "identifier":
      if (keywords.has(word)) return `<${text}>`;
      if (wordOperators.has(word)) return `<op:${text}>`;
      if ((aggregators as readonly string[]).includes(word)) return `<aggr:${text}>`;
      return `identifier ${quoted(text)}`;
    case "metric":
      return `metric identifier ${quoted(text)}`;
    case "number":
    case "duration":
    case "string":
      return `${kind} ${text.length > 10 ? `${quoted(text.slice(0, 10))}...` : quoted(text)}`;
    default:
      return "+-*/%^<>=!@".includes(kind[0]!) && kind !== "=" ? `<op:${text}>` : quoted(text);
  }
}
