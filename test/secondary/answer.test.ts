// An answer's bytes, understood: whole, in random pieces, and from servers that break every rule.

import { Buffer } from "node:buffer";
import { randomInt } from "node:crypto";
import t from "tap";

import { type Random, seededRandom } from "#/lib/random/random.ts";
import { AnswerReader } from "#/secondary/scrape/http/answer.ts";
import { Body, BodyMemory } from "#/secondary/scrape/http/body.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";

const seed = Number(process.env.SEED ?? randomInt(2 ** 31));
const bodyBytesMax = 100_000;

/** What became of an answer, as one line. `pieces` are handed over one by one, then the connection ends. */
function read(pieces: readonly Buffer[]): string {
  const body = new Body(bodyBytesMax, new BodyMemory());
  const reader = new AnswerReader(body);
  try {
    for (const piece of pieces) reader.push(piece, piece.length);
    const reusable = reader.reusable ? "kept" : "closed";
    if (!reader.done) reader.finish();
    return `${reader.head!.status} ${JSON.stringify(body.bytes().toString("latin1"))} ${reusable}`;
  } catch (error) {
    if (!(error instanceof FetchError)) throw error;
    return `${error.outcome}: ${error.message}`;
  }
}

const ok = "HTTP/1.1 200 OK\r\n";
const chunked = `${ok}Transfer-Encoding: chunked\r\n\r\n`;
const status = (text: string) => `failed_status: the answer is not HTTP: expected ${text}`;

/** Each answer with what it must come to. */
const answers: readonly (readonly [name: string, answer: string, result: string])[] = [
  ["length", `${ok}Content-Length: 4\r\n\r\na 1\n`, '200 "a 1\\n" kept'],
  ["an empty body", `${ok}Content-Length: 0\r\n\r\n`, '200 "" kept'],
  ["names in any case, blanks around values", `${ok}cOnTeNt-LeNgTh:\t 4 \r\n\r\na 1\n`, '200 "a 1\\n" kept'],
  ["no reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", '200 "a" kept'],
  [
    "a value that goes on in the next line",
    `${ok}Content-Length:\r\n 4\r\nX: a\r\n\tb\r\n\r\na 1\n`,
    '200 "a 1\\n" kept',
  ],
  ["the same length twice", `${ok}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`, '200 "a" kept'],
  ["Connection: close", `${ok}Connection: foo, Close\r\nContent-Length: 1\r\n\r\na`, '200 "a" closed'],
  ["HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", '200 "a" closed'],
  ["HTTP/1.0 that keeps", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", '200 "a" kept'],
  [
    "HTTP/1.0 with chunks",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    '200 "" closed',
  ],
  ["until the connection ends", `${ok}\r\nabc`, '200 "abc" closed'],
  ["chunks", `${chunked}4\r\na 1\n\r\nA\r\n0123456789\r\n0\r\n\r\n`, '200 "a 1\\n0123456789" kept'],
  ["extensions and trailers", `${chunked}1;x="y;z"\r\na\r\n1 ; q\r\nb\r\n00\r\nX: y\r\nZ:\r\n\r\n`, '200 "ab" kept'],
  [
    "interim answers",
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${ok}Content-Length: 1\r\n\r\na`,
    '200 "a" kept',
  ],
  ["204 has no body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", '204 "" kept'],
  ["304 has no body", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", '304 "" kept'],
  ["500 is not kept as a body", "HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nabc", '500 "" kept'],
  ["bytes behind the answer", `${ok}Content-Length: 1\r\n\r\nab`, '200 "a" closed'],
  ["bytes behind chunks", `${chunked}0\r\n\r\nHTTP/1.1 200 OK\r\n`, '200 "" closed'],
  ["bytes behind a 500", "HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nabcd", '500 "" closed'],

  ["no status", "HTTP/1.1 OK\r\n\r\n", status('a status line like HTTP/1.1 200 OK, got "HTTP/1.1 OK"')],
  ["a short status", "HTTP/1.1 20 OK\r\n\r\n", status('a status line like HTTP/1.1 200 OK, got "HTTP/1.1 20 OK"')],
  ["HTTP/1.9", "HTTP/1.9 200 OK\r\n\r\n", status('a status line like HTTP/1.1 200 OK, got "HTTP/1.9 200 OK"')],
  [
    "a field without a colon",
    `${ok}Content-Length 5\r\n\r\n`,
    status('a header field like Name: value, got "Content-Length 5"'),
  ],
  [
    "a blank before the colon",
    `${ok}Content-Length : 5\r\n\r\n`,
    status('a header field like Name: value, got "Content-Length : 5"'),
  ],
  ["a fold without a field", `${ok} X: y\r\n\r\n`, status('a header field behind the status line, got " X: y"')],
  ["a bare LF", `${ok}Content-Length: 1\n\r\n\r\na`, status("lines that end in CR LF, got LF")],
  ["only bare LFs", "HTTP/1.1 200 OK\n\n", status("lines that end in CR LF, got LF")],
  ["a bare CR", `${ok}X: a\rb\r\n\r\n`, status("lines that end in CR LF, got CR")],
  ["a NUL", `${ok}X: a\0b\r\n\r\n`, status("headers without control characters, got byte 0")],
  [
    "lengths that differ",
    `${ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
    status('one Content-Length, got "1" and "2"'),
  ],
  [
    "length and chunks",
    `${ok}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    status('Content-Length or Transfer-Encoding, got both: "1" and "chunked", and who is right cannot be known'),
  ],
  [
    "a length behind a no-break space",
    `${ok}Content-Length:\xa01\r\n\r\na`,
    status('a Content-Length in digits, got "\xa01"'),
  ],
  ["a negative length", `${ok}Content-Length: -1\r\n\r\n`, status('a Content-Length in digits, got "-1"')],
  [
    "a length that overflows",
    `${ok}Content-Length: 18446744073709551617\r\n\r\na`,
    status('a Content-Length of at most 15 digits, got "18446744073709551617"'),
  ],
  [
    "a length beyond the limit",
    `${ok}Content-Length: 100001\r\n\r\na`,
    "failed_body_size: body_size_limit exceeded: expected at most 100000 bytes, got 100001 announced",
  ],
  [
    "another coding of the transfer",
    `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n`,
    'failed_status: expected the Transfer-Encoding chunked, got "gzip, chunked"',
  ],
  [
    "chunked twice",
    `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'failed_status: expected the Transfer-Encoding chunked, got "chunked, chunked"',
  ],
  ["a chunk without a size", `${chunked}\r\n`, status("a chunk size in hexadecimal digits, got byte 13")],
  ["a chunk size that is none", `${chunked}5x\r\n`, status('CR LF or an extension behind a chunk\'s size, got "x"')],
  [
    "a chunk size that overflows",
    `${chunked}10000000000000005\r\nhello\r\n0\r\n\r\n`,
    status("a chunk size of at most 13 hexadecimal digits, got more"),
  ],
  [
    "a chunk beyond the limit",
    `${chunked}FFFFFFFFFFFFF\r\n`,
    "failed_body_size: body_size_limit exceeded: expected at most 100000 bytes, got more",
  ],
  [
    "a chunk's line that ends in LF",
    `${chunked}1\na\r\n0\r\n\r\n`,
    status("CR LF or an extension behind a chunk's size, got byte 10"),
  ],
  [
    "an extension that ends in LF",
    `${chunked}1;a\na\r\n0\r\n\r\n`,
    status("a chunk's line that ends in CR LF, got byte 10"),
  ],
  ["a chunk longer than its size", `${chunked}1\r\nab\r\n0\r\n\r\n`, status('CR LF behind a chunk\'s data, got "b"')],
  [
    "an extension without end",
    `${chunked}1;${"x".repeat(20_000)}`,
    status("chunks with at most 16384 bytes that are not data, got more"),
  ],
  [
    "extensions without data",
    `${chunked}${`1;${"x".repeat(1000)}\r\na\r\n`.repeat(20)}`,
    status("chunks with at most 16384 bytes that are not data, got more"),
  ],
  [
    "trailers without end",
    `${chunked}0\r\n${"X: y\r\n".repeat(4000)}`,
    status("trailers of at most 16384 bytes, got more"),
  ],
  ["headers without end", `${ok}${"X: y\r\n".repeat(12_000)}`, status("headers of at most 65536 bytes, got more")],
  ["a header without end", `${ok}X: ${"y".repeat(70_000)}`, status("headers of at most 65536 bytes, got more")],
  [
    "six interim answers",
    "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(6),
    "failed_status: expected an answer, got more than 5 interim ones",
  ],
  [
    "another protocol",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "failed_status: expected an answer, got 101: the target switched protocols",
  ],
  [
    "half a body",
    `${ok}Content-Length: 5\r\n\r\nab`,
    "failed_closed: the target closed the connection after 2 bytes of an unfinished body",
  ],
  [
    "half a chunk",
    `${chunked}5\r\nab`,
    "failed_closed: the target closed the connection after 2 bytes of an unfinished body",
  ],
  [
    "chunks without the last",
    `${chunked}2\r\nab\r\n`,
    "failed_closed: the target closed the connection after 2 bytes of an unfinished body",
  ],
  [
    "half a head",
    "HTTP/1.1 200",
    "failed_closed: the target closed the connection after 12 bytes of an unfinished head",
  ],
  ["nothing", "", "failed_closed: the target closed the connection without an answer"],
];

t.test("an answer is understood, or refused with what was expected and what came", (t) => {
  for (const [name, answer, result] of answers) t.equal(read([Buffer.from(answer, "latin1")]), result, name);
  t.end();
});

t.test("something else than HTTP is seen at its first byte", (t) => {
  for (const [answer, got] of [
    ["220 smtp.example ESMTP\r\n", '"220 smtp.example ESMTP"'],
    ["HTTP/2 200 OK\r\n", '"HTTP/2 200 OK"'],
    ["\r\nHTTP/1.1 200 OK\r\n\r\n", "nothing"],
  ] as const) {
    t.equal(read([Buffer.from(answer)]), status(`HTTP/1.1, got ${got}`));
  }
  t.end();
});

t.test("an answer comes to the same in whatever pieces it comes", (t) => {
  t.comment(`SEED=${seed}`);
  const random = seededRandom(seed);
  for (const [name, answer, result] of answers) {
    const bytes = Buffer.from(answer, "latin1");
    t.equal(read([...bytes].map((byte) => Buffer.of(byte))), result, `${name}, byte by byte`);
    for (let round = 0; round < 30; round++) {
      const got = read(split(bytes, random));
      if (got !== result) t.equal(got, result, `${name}, SEED=${seed}`);
    }
  }
  for (let round = 0; round < 300; round++) {
    const { answer, result } = randomAnswer(random);
    const got = read(split(Buffer.from(answer, "latin1"), random));
    if (got !== result) t.equal(got, result, `SEED=${seed} ${JSON.stringify(answer)}`);
  }
  t.end();
});

t.test("answers with any byte wrong end in one of the outcomes and never in an exception", (t) => {
  t.comment(`SEED=${seed}`);
  const random = seededRandom(seed);
  const valid = answers.filter(([, , result]) => result.startsWith("200")).map(([, answer]) => answer);
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(valid[random.below(valid.length)]!, "latin1");
    for (let i = random.below(3); i >= 0; i--) bytes[random.below(bytes.length)] = random.below(256);
    const whole = read([bytes]);
    // Where it is no HTTP from the start, as much is shown of it as has come.
    if (!whole.includes("expected HTTP/1.1, got")) {
      const pieces = read(split(bytes, random));
      if (pieces !== whole) t.equal(pieces, whole, `SEED=${seed} ${JSON.stringify(bytes.toString("latin1"))}`);
    }
    if (!/^(\d{3} |failed_(status|closed|body_size): )/.test(whole)) t.fail(whole);
  }
  t.end();
});

function split(bytes: Buffer, random: Random): Buffer[] {
  const pieces: Buffer[] = [];
  const longest = 1 + random.below(random.below(4) === 0 ? bytes.length + 1 : 12);
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(bytes.length - at, 1 + random.below(longest));
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

/** Of a random body in a random framing. */
function randomAnswer(random: Random): { answer: string; result: string } {
  const body = Array.from({ length: random.below(2000) }, () => String.fromCharCode(random.below(256))).join("");
  const kept = JSON.stringify(body);
  if (random.below(3) === 0) return { answer: `${ok}\r\n${body}`, result: `200 ${kept} closed` };
  if (random.below(2) === 0) {
    return { answer: `${ok}Content-Length: ${body.length}\r\n\r\n${body}`, result: `200 ${kept} kept` };
  }
  let answer = chunked;
  for (let at = 0; at < body.length; ) {
    const piece = body.slice(at, at + 1 + random.below(300));
    answer += `${piece.length.toString(16)}${random.below(3) === 0 ? ";a=b" : ""}\r\n${piece}\r\n`;
    at += piece.length;
  }
  return { answer: `${answer}0\r\n\r\n`, result: `200 ${kept} kept` };
}

t.test("a large body's memory is gone as soon as it is given back, and a thread that may read it keeps it", (t) => {
  const memory = new BodyMemory();
  const large = Buffer.alloc(3 * 1024 * 1024, "x");
  const bodyOf = (bytes: Buffer) => {
    const body = new Body(0, memory);
    body.append(bytes, 0, bytes.length);
    return body;
  };
  const ready = bodyOf(large).handOver();
  t.ok(ready.bytes.equals(large));
  ready.release();
  t.equal(ready.bytes.length, 0, "given back");
  const read = bodyOf(large);
  const bytes = read.bytes();
  read.release(true);
  t.ok(bytes.equals(large), "still there for whoever reads it");
  const dropped = bodyOf(large);
  const rest = dropped.bytes();
  dropped.release();
  t.equal(rest.length, 0, "given up");
  t.equal(memory.bytes, 0);
  t.end();
});
