// Cuts a query into tokens, one at a time, so that the first error in reading order is the one that is told.
//
// What a character means depends on the brackets around it (inside braces there are only labels and matchers, inside
// square brackets a colon parts range and step), therefore the lexer keeps track of them.

import { ParseError, quoted, type Span } from "#/lib/promql/errors.ts";
import { readEscape } from "#/lib/promql/text.ts";

export type Punctuation =
  | "("
  | ")"
  | "{"
  | "}"
  | "["
  | "]"
  | ","
  | ":"
  | "@"
  | "="
  | "=~"
  | "!="
  | "!~"
  | "=="
  | "<"
  | "<="
  | ">"
  | ">="
  | "</"
  | ">/"
  | "+"
  | "-"
  | "*"
  | "/"
  | "%"
  | "^";

/** `metric` is a name with a colon in it. Keywords are identifiers: the parser knows where they are words. */
export type TokenKind = Punctuation | "identifier" | "metric" | "string" | "number" | "duration" | "end";

export interface Token extends Span {
  readonly kind: TokenKind;
  readonly text: string;
}

const spacePattern = /(?:[ \t\r\n]|#[^\n]*)*/y;
const numberPattern =
  /0[xX]_?[\da-fA-F](?:_?[\da-fA-F])*|(?:\d(?:_?\d)*(?:\.(?:\d(?:_?\d)*)?)?|\.\d(?:_?\d)*)(?:[eE][+-]?\d(?:_?\d)*)?/y;
const durationPattern = /(?:\d+(?:ms|[smhdwy]))+/y;
const wordPattern = /[a-zA-Z_:][a-zA-Z0-9_:]*/y;
const labelPattern = /[a-zA-Z_][a-zA-Z0-9_]*/y;
const wordEndPattern = /[a-zA-Z0-9_]/;
const operatorPattern = /==|!=|<=|>=|<\/|>\/|[-+*/%^<>=@,]/y;
const matcherPattern = /=~|!~|!=|[=,]/y;

export class Lexer {
  readonly #query: string;
  #at = 0;
  #parenDepth = 0;
  #inBraces = false;
  #inBrackets = false;
  #colonSeen = false;

  constructor(query: string) {
    this.#query = query;
  }

  next(): Token {
    this.#at += this.#lengthOf(spacePattern);
    return this.#inBraces ? this.#nextInBraces() : this.#nextOutside();
  }

  #nextOutside(): Token {
    const start = this.#at;
    const character = this.#query[start];
    if (character === undefined) {
      if (this.#parenDepth > 0) throw this.#error("unclosed left parenthesis");
      if (this.#inBrackets) throw this.#error("unclosed left bracket");
      return { kind: "end", text: "", start, end: start };
    }
    const following = this.#query[start + 1] ?? "";
    if (/\d/.test(character) || (character === "." && /\d/.test(following))) return this.#number();
    if (character === ":" && this.#inBrackets) {
      if (this.#colonSeen) throw this.#error(`unexpected colon ${rune(":")}`);
      this.#colonSeen = true;
      return this.#take(":", 1);
    }
    const word = this.#lengthOf(this.#inBrackets ? labelPattern : wordPattern);
    if (word > 0) {
      const hasColon = this.#query.slice(start, start + word).includes(":");
      return this.#take(hasColon ? "metric" : "identifier", word);
    }
    const operator = this.#lengthOf(operatorPattern);
    if (operator > 0) {
      if (character === "=" && following === "~") {
        throw this.#error(`unexpected character after '=': ${rune("~")}`);
      }
      return this.#take(this.#query.slice(start, start + operator) as Punctuation, operator);
    }
    switch (character) {
      case "(":
        this.#parenDepth++;
        return this.#take("(", 1);
      case ")":
        if (this.#parenDepth-- === 0) throw this.#error(`unexpected right parenthesis ${rune(")")}`);
        return this.#take(")", 1);
      case "{":
        this.#inBraces = true;
        return this.#take("{", 1);
      case "}":
        throw this.#error(`unexpected right brace ${rune("}")}`);
      case "[":
        if (this.#inBrackets) throw this.#error(`unexpected left bracket ${rune("[")}`);
        this.#inBrackets = true;
        this.#colonSeen = false;
        return this.#take("[", 1);
      case "]":
        if (!this.#inBrackets) throw this.#error(`unexpected right bracket ${rune("]")}`);
        this.#inBrackets = false;
        return this.#take("]", 1);
      case "!":
        throw this.#error(`unexpected character after '!': ${rune(following)}`);
      case '"':
      case "'":
      case "`":
        return this.#string(character);
      default:
        throw this.#error(`unexpected character: ${rune(this.#query.slice(start))}`);
    }
  }

  #nextInBraces(): Token {
    const start = this.#at;
    const character = this.#query[start];
    if (character === undefined) throw this.#error("unexpected end of input inside braces");
    const label = this.#lengthOf(labelPattern);
    if (label > 0) return this.#take("identifier", label);
    const matcher = this.#lengthOf(matcherPattern);
    if (matcher > 0) return this.#take(this.#query.slice(start, start + matcher) as Punctuation, matcher);
    switch (character) {
      case "}":
        this.#inBraces = false;
        return this.#take("}", 1);
      case "{":
        throw this.#error(`unexpected left brace ${rune("{")}`);
      case "!":
        throw this.#error(`unexpected character after '!' inside braces: ${rune(this.#query[start + 1] ?? "")}`);
      case '"':
      case "'":
      case "`":
        return this.#string(character);
      default:
        throw this.#error(`unexpected character inside braces: ${rune(this.#query.slice(start))}`);
    }
  }

  #number(): Token {
    for (const [kind, pattern] of [
      ["number", numberPattern],
      ["duration", durationPattern],
    ] as const) {
      const length = this.#lengthOf(pattern);
      if (length > 0 && !wordEndPattern.test(this.#query[this.#at + length] ?? "")) return this.#take(kind, length);
    }
    const text = /^[a-zA-Z0-9_.]+/.exec(this.#query.slice(this.#at))![0];
    throw this.#error(`bad number or duration syntax: ${quoted(text)}`);
  }

  #string(quote: string): Token {
    const raw = quote === "`";
    for (let i = this.#at + 1; ; ) {
      const character = this.#query[i];
      if (character === undefined || (!raw && character === "\n")) {
        throw this.#error(raw ? "unterminated raw string" : "unterminated quoted string");
      }
      // What was not valid UTF-8 on its way here has become U+FFFD.
      if (character === "\ufffd") throw this.#error("invalid UTF-8 rune");
      if (character === quote) return this.#take("string", i + 1 - this.#at);
      if (character === "\\" && !raw) {
        const found = readEscape(this.#query, i, quote);
        if ("reason" in found) throw this.#error(found.reason);
        i += found.length;
      } else {
        i++;
      }
    }
  }

  #take(kind: TokenKind, length: number): Token {
    const start = this.#at;
    this.#at += length;
    return { kind, text: this.#query.slice(start, this.#at), start, end: this.#at };
  }

  #lengthOf(pattern: RegExp): number {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#query)?.[0].length ?? 0;
  }

  #error(reason: string): ParseError {
    return new ParseError(this.#query, { start: this.#at, end: this.#query.length }, reason);
  }
}

/** The first character as Go's %q prints a rune. */
function rune(text: string): string {
  const code = text.codePointAt(0);
  if (code === undefined) return "'\\uffff'";
  const character = String.fromCodePoint(code);
  return character === "'" ? "'\\''" : `'${quoted(character).slice(1, -1).replace('\\"', '"')}'`;
}
