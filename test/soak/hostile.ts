// Servers that misbehave, in a process of their own: `--first` address, one a kind below and over again, on one port.
//
// Started with an IPC channel; it says where it listens, and ends with its parent.

import { Buffer } from "node:buffer";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { addressOfTarget } from "#/cli/fleet/values.ts";
import { MiB, secondMs } from "#/lib/bytes/units.ts";
import type { Outcome } from "#/lib/model/outcome.ts";

export const firstHostileAddress = "127.120.0.1";

interface Kind {
  readonly does: string;
  /** What may come of its scrapes. */
  readonly outcomes: readonly Outcome[];
  /** Absent: nobody listens. */
  readonly answer?: (socket: Socket, scrape: number) => void;
  /** At the connection, before anything is asked. */
  readonly meet?: (socket: Socket) => void;
  /** So large that one of them is enough. */
  readonly isHuge?: true;
}

const hugeBytes = 100 * MiB;
/** The topology's default for `body_size_limit` is 64 MiB. */
const allowedBytes = 60 * MiB;
const small = Buffer.from("well 1\n");
const manyLines = (scrape: number) =>
  Array.from({ length: 1000 }, (_, i) => `flood_${scrape}_total{n="${i}",part="${i % 7}"} ${i}\n`).join("");

/** A hundred thousand times the same would be walked in no time: each line is another series. */
let hugeLines: Buffer | undefined;
function hugeLinesBuffer(): Buffer {
  if (hugeLines) return hugeLines;
  const bytes = Buffer.alloc(hugeBytes, "\n");
  for (let at = 0, n = 0; at < hugeBytes - 64; n++) at += bytes.write(`huge_series{n="${n}"} ${n}\n`, at, "latin1");
  hugeLines = bytes;
  return bytes;
}
let bomb: Buffer | undefined;

export const kinds = {
  slow: {
    does: "answers after 6 s",
    outcomes: ["stored"],
    answer: (socket) => later(socket, 6 * secondMs, () => whole(socket, small)),
  },
  trickle: {
    does: "sends a byte a second",
    outcomes: ["failed_timeout"],
    answer(socket) {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
      const timer = setInterval(() => socket.write("a"), secondMs);
      socket.on("close", () => clearInterval(timer));
    },
  },
  hang: { does: "takes the request and says nothing", outcomes: ["failed_timeout"], answer: () => {} },
  deaf: { does: "listens on no port", outcomes: ["failed_connect"] },
  reset: {
    does: "resets the connection in the midst of the body",
    outcomes: ["failed_closed"],
    answer(socket) {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf 1\n", () => socket.resetAndDestroy());
    },
  },
  drop: {
    does: "closes each connection at once",
    outcomes: ["failed_closed", "failed_connect"],
    meet: (socket) => socket.destroy(),
    answer: () => {},
  },
  status: {
    does: "answers 500",
    outcomes: ["failed_status"],
    answer: (socket) => void socket.write("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"),
  },
  html: {
    does: "answers with a web page",
    outcomes: ["failed_parse"],
    answer: (socket) => whole(socket, Buffer.from("<!DOCTYPE html><title>Welcome</title>\n")),
  },
  binary: {
    does: "answers with bytes that are no text",
    outcomes: ["failed_parse"],
    answer: (socket, scrape) => whole(socket, Buffer.alloc(50_000, Buffer.of(0xff, scrape & 255, 0x00, 0xc3, 0x28))),
  },
  noise: {
    does: "speaks no HTTP",
    outcomes: ["failed_status"],
    answer: (socket) => void socket.end(Buffer.alloc(20_000, Buffer.of(0x16, 0x03, 0x01, 0x80, 0x0a))),
  },
  headers: {
    does: "sends headers without end",
    outcomes: ["failed_status"],
    answer(socket) {
      socket.write("HTTP/1.1 200 OK\r\n");
      pour(socket, Buffer.from("X-Header: more and more\r\n".repeat(500)), hugeBytes);
    },
  },
  redirects: {
    does: "redirects to itself",
    outcomes: ["failed_status"],
    answer: (socket) => void socket.write("HTTP/1.1 302 Found\r\nLocation: /metrics\r\nContent-Length: 0\r\n\r\n"),
  },
  crumbs: {
    does: "sends its body in chunks of ten bytes",
    outcomes: ["stored"],
    answer(socket) {
      let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
      // Each is a line of its own, and a comment but for ten of them.
      for (let i = 0; i < 2000; i++) text += `a\r\n${i < 10 ? "crumbs" : "#rumbs"}${i % 10} 1\n\r\n`;
      socket.write(`${text}0\r\n\r\n`);
    },
  },
  layouts: {
    does: "has a thousand new series in each scrape",
    outcomes: ["stored", "partial"],
    answer: (socket, scrape) => whole(socket, Buffer.from(manyLines(scrape))),
  },
  most_lines: {
    does: "sends 60 MB of series, which is still allowed",
    outcomes: ["failed_sample_limit", "partial"],
    isHuge: true,
    answer(socket) {
      head(socket, allowedBytes);
      socket.write(hugeLinesBuffer().subarray(0, allowedBytes));
    },
  },
  huge_lines: {
    does: "sends 100 MB of series, and does not say how much it will be",
    outcomes: ["failed_body_size"],
    isHuge: true,
    answer(socket) {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.end(hugeLinesBuffer());
    },
  },
  huge_line: {
    does: "announces 100 MB, and sends them without a line's end",
    outcomes: ["failed_body_size"],
    isHuge: true,
    answer(socket) {
      head(socket, hugeBytes);
      pour(socket, Buffer.alloc(MiB, "x"), hugeBytes);
    },
  },
  bomb: {
    does: "sends 100 MB of series as 100 kB of gzip",
    outcomes: ["failed_body_size"],
    isHuge: true,
    answer(socket) {
      bomb ??= gzipSync(Buffer.alloc(hugeBytes, "same_series 1\n"));
      socket.write(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`);
      socket.write(bomb);
    },
  },
} as const satisfies Readonly<Record<string, Kind>>;

export type KindName = keyof typeof kinds;

/** What each of so many servers does: the huge ones once, all others in turn. */
export function hostileKinds(count: number): readonly KindName[] {
  const names = Object.keys(kinds) as KindName[];
  const huge = names.filter((name) => "isHuge" in kinds[name]);
  const others = names.filter((name) => !huge.includes(name));
  const rest = Math.max(0, count - huge.length);
  return [...huge.slice(0, count), ...Array.from({ length: rest }, (_, i) => others[i % others.length]!)];
}

export interface HostileReady {
  readonly port: number;
}

if (import.meta.main) await serve();

async function serve(): Promise<void> {
  const { values } = parseArgs({
    options: { count: { type: "string", default: "50" }, first: { type: "string", default: firstHostileAddress } },
  });
  hugeLinesBuffer();
  let port = 0;
  for (const [i, name] of hostileKinds(Number(values.count)).entries()) {
    const kind: Kind = kinds[name];
    if (!kind.answer) continue;
    let scrapes = 0;
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on("error", () => socket.destroy());
      kind.meet?.(socket);
      let asked = "";
      socket.on("data", (piece) => {
        asked += piece.toString("latin1");
        if (!asked.endsWith("\r\n\r\n")) return;
        asked = "";
        kind.answer!(socket, scrapes++);
      });
    });
    server.listen({ host: addressOfTarget(values.first, i), port });
    await once(server, "listening");
    port = (server.address() as { port: number }).port;
  }
  process.on("disconnect", () => process.exit());
  process.send!({ port } satisfies HostileReady);
}

function head(socket: Socket, bytes: number): void {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: ${bytes}\r\n\r\n`);
}

function whole(socket: Socket, body: Buffer): void {
  head(socket, body.length);
  socket.write(body);
}

function later(socket: Socket, ms: number, then: () => void): void {
  const timer = setTimeout(then, ms);
  socket.on("close", () => clearTimeout(timer));
}

/** The piece over and over, until there are so many bytes, as fast as they are taken. */
function pour(socket: Socket, piece: Buffer, bytes: number): void {
  let left = bytes;
  const more = () => {
    while (left > 0 && !socket.destroyed) {
      const part = left < piece.length ? piece.subarray(0, left) : piece;
      left -= part.length;
      if (!socket.write(part)) {
        socket.once("drain", more);
        return;
      }
    }
  };
  more();
}
