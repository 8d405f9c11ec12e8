// The far end of remote write, in a process of its own: it takes everything, counts the bytes, and answers 204.
//
// Started by the benchmark with an IPC channel. It says where it listens, and answers `count` with what came since it was asked
// last. It ends with its parent.

import { createServer } from "node:http";

export interface SinkCount {
  readonly requests: number;
  /** The bodies, snappy as they came. */
  readonly bodyBytes: number;
  /** Everything that came over the connections: heads too. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

if (import.meta.main) serve();

function serve(): void {
  let requests = 0;
  let bodyBytes = 0;
  const sockets = new Set<{ readonly bytesRead: number; readonly bytesWritten: number }>();
  const server = createServer((request, response) => {
    requests++;
    request.on("data", (piece: { readonly length: number }) => {
      bodyBytes += piece.length;
    });
    request.on("end", () => response.writeHead(204).end());
  });
  server.keepAliveTimeout = 120_000;
  // They are few, and a closed one keeps its counts.
  server.on("connection", (socket) => sockets.add(socket));
  const total = (): SinkCount => {
    let [bytesIn, bytesOut] = [0, 0];
    for (const { bytesRead, bytesWritten } of sockets)
      [bytesIn, bytesOut] = [bytesIn + bytesRead, bytesOut + bytesWritten];
    return { requests, bodyBytes, bytesIn, bytesOut };
  };
  let before = total();
  process.on("message", (word) => {
    if (word !== "count") return;
    const now = total();
    process.send!({
      requests: now.requests - before.requests,
      bodyBytes: now.bodyBytes - before.bodyBytes,
      bytesIn: now.bytesIn - before.bytesIn,
      bytesOut: now.bytesOut - before.bytesOut,
    } satisfies SinkCount);
    before = now;
  });
  process.on("disconnect", () => process.exit());
  server.listen(0, "127.0.0.1", () => process.send!((server.address() as { port: number }).port));
}
