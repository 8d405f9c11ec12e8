// HTTP servers as bad as a test wants them: each connection is a bare socket, answered byte by byte.

import { Buffer } from "node:buffer";
import { createServer, type Server, type Socket } from "node:net";

/** The part of a tap test that closes what it opened. */
export interface Teardown {
  teardown(close: () => unknown): unknown;
}

/** Answers each connection as told, on a port of its own; every socket is closed with the test. */
export async function serveSockets(
  t: Teardown,
  onConnection: (socket: Socket, connection: number) => void,
  host = "127.0.0.1",
): Promise<string> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket, ++connections);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}/metrics`;
}

/** Calls back for each request on the socket, with its head. */
export function onRequest(socket: Socket, answer: (head: string) => void): void {
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
      const head = text.slice(0, end);
      text = text.slice(end + 4);
      answer(head);
    }
  });
}

export function response(body: string | Uint8Array, headers = ""): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([
    Buffer.from(
      `HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: ${bytes.length}\r\n${headers}\r\n`,
    ),
    bytes,
  ]);
}
