// The server that both scrape: which round a request gets depends on who asks and how often it has asked, and on no clock.

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import type { Play } from "#/test/replay/plays.ts";

export interface ReplayServer {
  readonly port: number;
  /** From now on nobody gets an answer. */
  close(): Promise<void>;
}

export async function serveReplay(plays: readonly Play[], startMs: number): Promise<ReplayServer> {
  const byName = new Map(plays.map((play) => [play.name, play]));
  const asked = new Map<string, number>();
  const server = createServer((request: IncomingMessage, answer: ServerResponse) => {
    const name = request.url!.slice(1).split("?")[0]!;
    const play = byName.get(name);
    if (!play) {
      answer.writeHead(404).end();
      return;
    }
    const client = request.headers["user-agent"]?.startsWith("Heliograph/") ? "ours" : "theirs";
    const round = asked.get(`${client} ${name}`) ?? 0;
    asked.set(`${client} ${name}`, round + 1);
    send(answer, round, play.answer(round, startMs));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** In another framing each time: with its length, in chunks, and compressed. */
function send(answer: ServerResponse, round: number, { body, contentType, status }: ReturnType<Play["answer"]>): void {
  answer.statusCode = status;
  answer.setHeader("content-type", contentType);
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  if (round % 3 === 0) {
    answer.setHeader("content-length", bytes.length);
    answer.end(bytes);
  } else if (round % 3 === 1) {
    for (let at = 0; at < bytes.length; at += 4096) answer.write(bytes.subarray(at, at + 4096));
    answer.end();
  } else {
    answer.setHeader("content-encoding", "gzip");
    answer.end(gzipSync(bytes));
  }
}
