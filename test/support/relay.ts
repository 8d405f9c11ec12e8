// A TCP relay for tests that cut a link: silently, as a dead line does, so that neither side hears a word.

import { connect, createServer, type Socket } from "node:net";

export interface Relay {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** Nothing passes any more, and nothing is closed; new connections are taken and hang. */
  cut(): void;
  /** Connections that hung are closed, as the far end's resets would; new ones pass. */
  heal(): void;
  close(): Promise<void>;
}

/** `target`: `host:port`. */
export async function startRelay(target: string): Promise<Relay> {
  const [host, port] = target.split(":");
  const sockets = new Set<Socket>();
  let isCut = false;
  const forget = (socket: Socket) => sockets.delete(socket);
  const server = createServer((near) => {
    sockets.add(near);
    near.on("error", () => {});
    near.on("close", () => forget(near));
    if (isCut) return void near.pause();
    const far = connect(Number(port), host);
    sockets.add(far);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("error", () => {});
      from.on("close", () => {
        forget(from);
        if (!isCut) to.destroy();
      });
      from.on("data", (bytes) => {
        if (isCut) return; // The line is dead: what was on it is gone, and TCP's own repeats are cut off too.
        if (!to.write(bytes)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
      });
    }
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const reset = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: `127.0.0.1:${(server.address() as { port: number }).port}`,
    cut() {
      isCut = true;
    },
    heal() {
      reset();
      isCut = false;
    },
    close() {
      reset();
      return new Promise((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}
