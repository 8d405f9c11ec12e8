// A stretch of network between two processes of the demo that can be cut: bytes stop, connections stay, nobody is told.
//
// That is how real links fail, and it is worse than a refused connection: only silence tells. While it is cut nothing is read
// from either side, so the kernel's buffers fill and the far ends wait; new connections are taken and go nowhere. When it heals,
// what was held back goes on where it stood, as after retransmissions.

import { createServer, connect as openSocket, type Socket } from "node:net";

/** Which bytes stop: those of whoever connects, those of whoever is connected to, or both. */
export type CutWay = "forward" | "backward" | "both";

export interface Relay {
  isCut(): boolean;
  /** With one way cut the other one passes, until its ends miss the answers; new connections go nowhere either way. */
  cut(way?: CutWay): void;
  heal(): void;
  close(): Promise<void>;
}

export interface RelayOptions {
  readonly listenPort: number;
  readonly targetPort: number;
}

interface Pair {
  readonly near: Socket;
  /** Undefined until the link lets the connection through. */
  far: Socket | undefined;
}

/** Both ends on loopback. Throws the listener's error when the port is taken. */
export async function startRelay({ listenPort, targetPort }: RelayOptions): Promise<Relay> {
  const pairs = new Set<Pair>();
  const stopped = { forward: false, backward: false };
  const isCut = () => stopped.forward || stopped.backward;

  function join(pair: Pair): void {
    const far = openSocket({ host: "127.0.0.1", port: targetPort, noDelay: true, allowHalfOpen: true });
    pair.far = far;
    for (const [from, to, way] of [
      [pair.near, far, "forward"],
      [far, pair.near, "backward"],
    ] as const) {
      from.on("data", (bytes) => {
        if (!to.write(bytes)) from.pause();
      });
      to.on("drain", () => {
        if (!stopped[way]) from.resume();
      });
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
    pair.near.resume();
  }

  const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (near) => {
    const pair: Pair = { near, far: undefined };
    pairs.add(pair);
    // Until it is joined nobody else listens for what goes wrong with it.
    near.on("error", () => near.destroy());
    near.on("close", () => pairs.delete(pair));
    if (!isCut()) join(pair);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: "127.0.0.1", port: listenPort }, resolve);
  });

  return {
    isCut,
    cut(way = "both") {
      if (way !== "backward") stopped.forward = true;
      if (way !== "forward") stopped.backward = true;
      for (const { near, far } of pairs) {
        if (stopped.forward) near.pause();
        if (stopped.backward) far?.pause();
      }
    },
    heal() {
      if (!isCut()) return;
      stopped.forward = false;
      stopped.backward = false;
      for (const pair of [...pairs]) {
        if (pair.far === undefined) join(pair);
        else {
          pair.near.resume();
          pair.far.resume();
        }
      }
    },
    async close() {
      for (const { near, far } of pairs) {
        near.destroy();
        far?.destroy();
      }
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
