// HTTP answers through the secondary's reader, in pieces cut at random, against the same in one piece and against a plain reading
// of the whole by regular expressions.

import { Buffer } from "node:buffer";
import type { Random } from "#/lib/random/random.ts";
import { AnswerReader } from "#/secondary/scrape/http/answer.ts";
import { Body, BodyMemory } from "#/secondary/scrape/http/body.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";
import { type Fuzzed, literal, type Trial } from "#/test/fuzz/fuzz.ts";
import { changeBytes, mutate, pick } from "#/test/fuzz/mutate.ts";

export interface AnswerStep {
  /** A character is a byte. */
  readonly answer: string;
  /** How long each piece is, over and over. */
  readonly pieces: readonly number[];
}

const bodyBytesMax = 4000;
const interimAnswersMax = 5;

const ok = "HTTP/1.1 200 OK\r\n";
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;
const corpus: readonly string[] = [
  `${ok}Content-Length: 4\r\n\r\na 1\n`,
  `${ok}Content-Type: text/plain; version=0.0.4\r\nContent-Length: 40\r\nDate: today\r\n\r\n${"a{b=1} 2\n".repeat(5).slice(0, 40)}`,
  `${ok}cOnTeNt-LeNgTh:\t 4 \r\n\r\na 1\n`,
  `${ok}Content-Length:\r\n 4\r\nX: a\r\n\tb\r\n\r\na 1\n`,
  `${ok}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`,
  `${ok}Connection: foo, Close\r\nContent-Length: 1\r\n\r\na`,
  `${ok}Content-Length: 0\r\n\r\n`,
  "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na",
  "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
  "HTTP/1.0 200 OK\r\n\r\nuntil the end",
  "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  `${ok}\r\nabc`,
  `${chunked}4\r\na 1\n\r\nA\r\n0123456789\r\n0\r\n\r\n`,
  `${chunked}1;x="y;z"\r\na\r\n1 ; q\r\nb\r\n00\r\nX: y\r\nZ:\r\n\r\n`,
  `${chunked}${`14\r\n${"metric_total 12345.5\n".slice(0, 20)}\r\n`.repeat(20)}0\r\n\r\n`,
  `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${ok}Content-Length: 1\r\n\r\na`,
  "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
  "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
  "HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nabc",
  `${ok}Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\0`,
];

const words = [
  ...[
    "\r\n",
    "\r",
    "\n",
    "\r\n\r\n",
    ":",
    " ",
    "\t",
    ",",
    ";",
    "0",
    "1",
    "a",
    "F",
    "\0",
    "\x7f",
    "\xff",
    "\xa0",
    "\x85",
    "\x0b",
    "-",
    "+",
  ],
  ...[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/2 200\r\n",
    "0\r\n\r\n",
    "00000000000001",
    "FFFFFFFFFFFFF",
    "0x1",
  ],
  ...[
    "Content-Length: 4\r\n",
    "Content-Length: 5",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close\r\n",
  ],
  ...[
    "Connection: keep-alive\r\n",
    "chunked",
    "identity",
    " folded\r\n",
    ";a=b",
    "4001",
    "999999999999999",
    "9999999999999999",
    "204",
    "101",
    "404",
  ],
];

export const answers: Fuzzed<AnswerStep> = {
  name: "answer",
  *steps(random: Random) {
    const text = pick(corpus, random);
    const change = (answer: string) =>
      changeBytes(answer, { words, lineEnd: "\r\n", other: () => pick(corpus, random) }, random);
    const answer = mutate(text, change, random);
    const most = random.below(3) === 0 ? 200 : 8;
    yield { answer, pieces: Array.from({ length: 7 }, () => 1 + random.below(most)), isNew: true };
  },
  open: () => new AnswerTrial(),
  tell: ({ answer, pieces }) => `${literal(answer)} in pieces of ${pieces.join(", ")} bytes, over and over`,
  parts: ({ answer }) => answer,
  withParts: (step, answer) => ({ ...step, answer }),
};

class AnswerTrial implements Trial<AnswerStep> {
  readonly counts = { taken: 0, refused: 0, kept: 0 };
  isTaken = false;
  /** All bodies use the same, one after the other. */
  readonly #memory = new BodyMemory();

  try({ answer, pieces }: AnswerStep): string | undefined {
    const bytes = Buffer.from(answer, "latin1");
    const whole = read([bytes], this.#memory);
    const inPieces = read(cut(bytes, pieces), this.#memory);
    if (this.#memory.bytes !== 0)
      return `expected all memory to be given back, ${this.#memory.bytes} bytes are missing`;
    this.isTaken = whole.startsWith("taken ");
    this.counts[this.isTaken ? "taken" : "refused"]++;
    if (whole.endsWith(" kept")) this.counts.kept++;
    // Where it is no HTTP from the start, as much is shown of it as has come.
    const isSame =
      whole === inPieces || (whole.includes("expected HTTP/1.1, got") && inPieces.startsWith("failed_status"));
    if (!isSame) return `in pieces: expected ${whole}, got ${inPieces}`;
    if (!this.isTaken && !/^failed_(status|closed|body_size): ./.test(whole)) return `no outcome: ${whole}`;
    const plain = readAnswerPlainly(answer) ?? "refused";
    const told = this.isTaken ? whole : "refused";
    return plain === told ? undefined : `expected ${plain}, got ${whole}`;
  }

  end(): string | undefined {
    return undefined;
  }
}

function cut(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = Math.min(bytes.length, at + lengths[i % lengths.length]!);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

/** What became of it. The connection ends behind the last piece. */
function read(pieces: readonly Buffer[], memory: BodyMemory): string {
  const body = new Body(bodyBytesMax, memory);
  const reader = new AnswerReader(body);
  try {
    for (const piece of pieces) reader.push(piece, piece.length);
    const reusable = reader.reusable ? "kept" : "closed";
    if (!reader.done) reader.finish();
    return `taken ${reader.head!.status} ${JSON.stringify(body.bytes().toString("latin1"))} ${reusable}`;
  } catch (error) {
    if (!(error instanceof FetchError)) throw error;
    return `${error.outcome}: ${error.message}`;
  } finally {
    body.release();
  }
}

/** The same as `read` has it, or undefined when it is to be refused. */
function readAnswerPlainly(answer: string): string | undefined {
  let rest = answer;
  for (let interim = 0; ; interim++) {
    const head = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [^\r\n]*)?\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(rest);
    if (!head || interim > interimAnswersMax) return undefined;
    if ([...head[0]].some(isControl)) return undefined;
    const [whole, minor, status, lines] = head;
    const fields = fieldsOf(lines!);
    if (!fields) return undefined;
    rest = rest.slice(whole.length);
    if (status === "101") return undefined;
    if (status![0] !== "1") return bodyPlainly(minor === "0", Number(status), fields, rest);
  }
}

function isControl(character: string): boolean {
  return (character < " " && !"\t\r\n".includes(character)) || character === "\x7f";
}

type Fields = ReadonlyMap<string, readonly string[]>;

function fieldsOf(lines: string): Fields | undefined {
  if (/^[ \t]/.test(lines)) return undefined;
  const fields = new Map<string, string[]>();
  for (const line of lines.replaceAll(/[ \t]*\r\n[ \t]+/g, " ").split("\r\n")) {
    if (line === "") continue;
    const field = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/s.exec(line);
    if (!field) return undefined;
    const name = field[1]!.toLowerCase();
    fields.set(name, [...(fields.get(name) ?? []), field[2]!]);
  }
  const lengths = new Set(fields.get("content-length"));
  const transfer = fields.get("transfer-encoding");
  if (lengths.size > 1 || (lengths.size > 0 && transfer)) return undefined;
  for (const length of lengths) if (!/^\d{1,15}$/.test(length)) return undefined;
  return transfer && transfer.join().toLowerCase() !== "chunked" ? undefined : fields;
}

function bodyPlainly(isOld: boolean, status: number, fields: Fields, rest: string): string | undefined {
  const tokens = (fields.get("connection") ?? []).flatMap((value) => value.toLowerCase().split(/[ \t,]+/));
  const isChunked = fields.has("transfer-encoding");
  const isKept = (isOld ? tokens.includes("keep-alive") : !tokens.includes("close")) && !(isOld && isChunked);
  const taken = (body: string, isWhole: boolean) =>
    `taken ${status} ${JSON.stringify(body)} ${isWhole && isKept ? "kept" : "closed"}`;
  if (status === 204 || status === 304) return taken("", rest === "");
  const length = fields.get("content-length")?.[0];
  if (length !== undefined) {
    const bytes = Number(length);
    if (rest.length < bytes || (status === 200 && bytes > bodyBytesMax)) return undefined;
    return taken(status === 200 ? rest.slice(0, bytes) : "", rest.length === bytes);
  }
  // The end of what is not wanted is not waited for.
  if (status !== 200) return undefined;
  if (!isChunked) return rest.length <= bodyBytesMax ? taken(rest, false) : undefined;
  let body = "";
  const size = /([0-9a-fA-F]{1,13})(?:[ \t;][^\r\n]*)?\r\n/y;
  const trailer = /(?:[^\r\n]+\r\n)*\r\n/y;
  for (let at = 0; ; ) {
    size.lastIndex = at;
    const line = size.exec(rest);
    if (!line) return undefined;
    at += line[0].length;
    const bytes = Number.parseInt(line[1]!, 16);
    if (bytes === 0) {
      trailer.lastIndex = at;
      const end = trailer.exec(rest);
      return end ? taken(body, at + end[0].length === rest.length) : undefined;
    }
    if (body.length + bytes > bodyBytesMax || rest.slice(at + bytes, at + bytes + 2) !== "\r\n") return undefined;
    body += rest.slice(at, at + bytes);
    at += bytes + 2;
  }
}
