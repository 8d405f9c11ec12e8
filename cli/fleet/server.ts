// The simulated servers: one listener each, on consecutive addresses of 127.0.0.0/8 and one port, in one process.
//
// HTTP/1.1 is spoken by hand over node:net, because thousands of targets have to cost little beside what is measured. A client
// may keep its connection, send requests ahead of the answers and split them anywhere.

import { Buffer } from "node:buffer";
import { createServer, type Server, type Socket } from "node:net";
import type { FleetBody } from "#/cli/fleet/body.ts";
import { type Fault, faultOf, spoil } from "#/cli/fleet/faults.ts";
import { addressOfTarget } from "#/cli/fleet/values.ts";
import { assert } from "#/lib/assert/assert.ts";
import { KiB, MiB } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";

/** How bodies are framed; `mixed`: targets with an odd number chunked, as the real node_exporter does, the others not. */
export const framings = ["mixed", "length", "chunked"] as const;
export type Framing = (typeof framings)[number];

/** A request head beyond this is not a scrape. */
const headBytesMax = 16 * KiB;
/** A client that sends this much ahead of the answers, or leaves this much unread, is cut off. */
const aheadBytesMax = 1 * MiB;
const unreadBytesMax = 64 * MiB;
/** Go's buffer size, and so the size of a real node_exporter's chunks. */
const chunkBytes = 4 * KiB;
const hugeBodyBytes = 200 * MiB;
/** Addresses are opened this many at a time. */
const opensAtOnce = 256;

const contentType = "text/plain; version=0.0.4; charset=utf-8";

export interface FleetOptions {
  readonly targets: number;
  readonly body: FleetBody;
  readonly firstAddress: string;
  /** 0 takes a free one, the same for all addresses. */
  readonly port: number;
  readonly framing: Framing;
  readonly clock: Clock;
}

export interface Fleet {
  readonly port: number;
  readonly targets: number;
  /** Answers to /metrics that were begun. */
  readonly scrapes: number;
  /** Of those, how many a fault spoiled; also targets that were made to refuse connections. */
  readonly spoiled: number;
  faults(): readonly Fault[];
  /** Replaces all faults; resolves when dead targets refuse and revived ones listen. */
  setFaults(faults: readonly Fault[]): Promise<void>;
  addressOf(target: number): string;
  close(): Promise<void>;
}

/** Throws the listener's error when an address and port is taken. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { targets, firstAddress, body, framing, clock } = options;
  const listeners: (Server | undefined)[] = new Array(targets).fill(undefined);
  const sockets: Set<Socket>[] = Array.from({ length: targets }, () => new Set<Socket>());
  let faults: readonly Fault[] = [];
  let port = options.port;
  let scrapes = 0;
  let spoiled = 0;
  let changing = Promise.resolve();

  async function open(target: number): Promise<void> {
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      sockets[target]!.add(socket);
      socket.on("close", () => sockets[target]!.delete(socket));
      // A client that goes away in the middle is its own affair.
      socket.on("error", () => socket.destroy());
      serve(socket, (send) => answerScrape(target, send));
    });
    listeners[target] = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: addressOfTarget(firstAddress, target), port, backlog: 64 }, resolve);
    });
  }

  async function shut(target: number): Promise<void> {
    const server = listeners[target];
    listeners[target] = undefined;
    for (const socket of sockets[target]!) socket.destroy();
    if (server?.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  function answerScrape(target: number, send: Reply): void {
    scrapes += 1;
    const fault = faultOf(faults, target);
    if (fault) spoiled += 1;
    const nowMs = Math.floor(clock.nowMs());
    const kind = fault?.kind;
    switch (kind) {
      case undefined:
        sendBody(target, send, body.render(target, nowMs));
        return;
      // The body tells the time at which it is written, so it is made after the delay.
      case "slow":
        clock.after(fault!.delayMs, () => sendBody(target, send, body.render(target, Math.floor(clock.nowMs()))));
        return;
      case "dead":
      case "hang":
        send.never();
        return;
      case "status":
        send.whole("500 Internal Server Error", "text/plain", "broken on request\n");
        return;
      case "html":
        send.whole("200 OK", "text/html", spoil("html", "", { number: scrapes, nowMs }));
        return;
      case "half":
        send.half(contentType, body.render(target, nowMs));
        return;
      case "huge":
        send.huge(contentType);
        return;
      case "garbage":
      case "layout":
      case "duplicate":
      case "future":
      case "label":
        sendBody(target, send, spoil(kind, body.render(target, nowMs), { number: scrapes, nowMs }));
        return;
      default:
        kind satisfies never;
    }
  }

  function sendBody(target: number, send: Reply, text: string): void {
    if (framing === "chunked" || (framing === "mixed" && target % 2 === 1)) send.chunked(contentType, text);
    else send.whole("200 OK", contentType, text);
  }

  async function applyFaults(wanted: readonly Fault[]): Promise<void> {
    faults = wanted;
    for (let target = 0; target < targets; target++) {
      const dead = faultOf(faults, target)?.kind === "dead";
      if (dead && listeners[target]) {
        spoiled += 1;
        await shut(target);
      }
      if (!dead && !listeners[target]) await open(target);
    }
  }

  async function close(): Promise<void> {
    await Promise.all(listeners.map((_, target) => shut(target)));
  }

  try {
    await open(0);
    const address = listeners[0]!.address();
    assert(typeof address === "object" && address !== null, "a TCP listener has an address");
    port = address.port;
    for (let first = 1; first < targets; first += opensAtOnce) {
      const count = Math.min(opensAtOnce, targets - first);
      await Promise.all(Array.from({ length: count }, (_, i) => open(first + i)));
    }
  } catch (error) {
    await close();
    throw error;
  }

  return {
    port,
    targets,
    get scrapes() {
      return scrapes;
    },
    get spoiled() {
      return spoiled;
    },
    faults: () => faults,
    setFaults(wanted) {
      changing = changing.then(() => applyFaults(wanted));
      return changing;
    },
    addressOf: (target) => `${addressOfTarget(firstAddress, target)}:${port}`,
    close,
  };
}

/** The answer to one request; exactly one method is called, once. */
interface Reply {
  whole(status: string, type: string, text: string): void;
  chunked(type: string, text: string): void;
  half(type: string, text: string): void;
  huge(type: string): void;
  never(): void;
}

/** Reads requests off the socket and answers them one after the other, in their order. */
function serve(socket: Socket, onScrape: (send: Reply) => void): void {
  let unread = "";
  let busy = false;
  let ended = false;
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    unread += text;
    if (!busy) next();
    else if (unread.length > aheadBytesMax) socket.destroy();
  });
  // A client may say no more and still wait for its answer.
  socket.on("end", () => {
    ended = true;
    if (!busy) socket.end();
  });

  function next(): void {
    busy = false;
    const end = unread.indexOf("\r\n\r\n");
    if (socket.writableLength > unreadBytesMax) socket.destroy();
    else if (end >= 0) answer(unread.slice(0, end), end + 4);
    else if (unread.length > headBytesMax) refuse("431 Request Header Fields Too Large");
    else if (ended) socket.end();
  }

  function answer(head: string, length: number): void {
    unread = unread.slice(length);
    const match = /^([A-Z]+) (\S+) HTTP\/1\.([01])\r\n/.exec(`${head}\r\n`);
    // A body after the head would be read as the next request.
    const hasBody = /^(content-length: *[1-9]|transfer-encoding:)/im.test(head);
    if (!match || hasBody) {
      refuse(match ? "413 Content Too Large" : "400 Bad Request");
      return;
    }
    const [, method, url, minor] = match;
    const connection = /^connection: *(\S+)/im.exec(head)?.[1]?.toLowerCase();
    const keep = minor === "1" ? connection !== "close" : connection === "keep-alive";
    const send = replyTo({ headOnly: method === "HEAD", keep, chunks: minor === "1" });
    const path = url!.split("?")[0];
    busy = true;
    if (method !== "GET" && method !== "HEAD") send.whole("405 Method Not Allowed", "text/plain", "GET only\n");
    else if (path === "/metrics") onScrape(send);
    else if (path === "/") send.whole("200 OK", "text/html", '<a href="/metrics">metrics</a>\n');
    else send.whole("404 Not Found", "text/plain", "only /metrics is here\n");
  }

  function refuse(status: string): void {
    unread = "";
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }

  function replyTo(request: { headOnly: boolean; keep: boolean; chunks: boolean }): Reply {
    const { headOnly, keep } = request;
    const head = (status: string, type: string, framing: string) =>
      `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\n${framing}Connection: ${keep ? "keep-alive" : "close"}\r\n\r\n`;

    function finish(text: string): void {
      if (!keep) socket.end(text, "latin1");
      else if (!socket.destroyed) socket.write(text, "latin1");
      if (keep) next();
    }

    function whole(status: string, type: string, text: string): void {
      finish(head(status, type, `Content-Length: ${text.length}\r\n`) + (headOnly ? "" : text));
    }

    function chunksOf(text: string): string {
      let chunks = "";
      for (let from = 0; from < text.length; from += chunkBytes) {
        const chunk = text.slice(from, from + chunkBytes);
        chunks += `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
      }
      return `${chunks}0\r\n\r\n`;
    }

    return {
      whole,
      chunked(type, text) {
        // HTTP/1.0 knows no chunks.
        if (!request.chunks) whole("200 OK", type, text);
        else finish(head("200 OK", type, "Transfer-Encoding: chunked\r\n") + (headOnly ? "" : chunksOf(text)));
      },
      half(type, text) {
        const promised = head("200 OK", type, `Content-Length: ${text.length}\r\n`);
        socket.end(promised + text.slice(0, text.length / 2), "latin1");
      },
      huge(type) {
        const line = 'fleet_huge{filler="0123456789012345678901234567890123456789"} 1\n';
        const block = Buffer.from(line.repeat(Math.ceil((64 * KiB) / line.length)), "latin1");
        let left = Math.ceil(hugeBodyBytes / block.length);
        socket.write(head("200 OK", type, `Content-Length: ${left * block.length}\r\n`));
        const more = (): void => {
          while (left > 0 && !socket.destroyed) {
            left -= 1;
            if (socket.write(block)) continue;
            socket.once("drain", more);
            return;
          }
          finish("");
        };
        more();
      },
      never() {
        if (ended) socket.end();
        else socket.once("end", () => socket.end());
      },
    };
  }
}
