// The servers of a benchmark, in a process of their own: `--targets` addresses of 127.0.0.0/8 on one port, each with the replayed
// body of a node_exporter, and when each of them was asked.
//
// Started by the benchmark with an IPC channel, it says where it listens and answers `arrivals` with the times of all requests
// since it was asked last. It is made to cost little: values are written into buffers that are used again, answers have a
// Content-Length and connections are kept. It ends with its parent.

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import { parseArgs } from "node:util";
import { addressOfTarget } from "#/cli/fleet/values.ts";
import { type RecordingName, readRecording } from "#/test/bench/recording.ts";
import { type Replay, replayOf } from "#/test/bench/scrape/replay.ts";

export const firstAddress = "127.80.0.1";

/** What the process says first. */
export interface TargetsReady {
  readonly port: number;
  readonly series: number;
  readonly changing: number;
  readonly bytes: number;
  readonly heads: readonly string[];
}

/** The answer to `arrivals`: wall clock ms, in order, a list a target. */
export type Arrivals = readonly Float64Array[];

const head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nDate: ";
const headBytesMax = 256;
/** Buffers that are kept for later answers. */
const sparesMax = 256;

if (import.meta.main) await serve();

async function serve(): Promise<void> {
  const { values: options } = parseArgs({
    options: {
      targets: { type: "string", default: "5000" },
      recording: { type: "string", default: "100@15s" },
      first: { type: "string", default: firstAddress },
      port: { type: "string", default: "0" },
      cert: { type: "string", default: "" },
      key: { type: "string", default: "" },
    },
  });
  const replay = replayOf(await readRecording(options.recording as RecordingName));
  const count = Number(options.targets);
  const arrivals: number[][] = Array.from({ length: count }, () => []);
  const scrapes = new Uint32Array(count);
  const answer = answering(replay);
  // One for all: five thousand certificates would only take time to read.
  const secureContext =
    options.cert === ""
      ? undefined
      : createSecureContext({ cert: readFileSync(options.cert), key: readFileSync(options.key) });
  let port = Number(options.port);
  for (let target = 0; target < count; target++) {
    const serveOn = (socket: Socket) => {
      socket.on("error", () => socket.destroy());
      let open = "";
      socket.on("data", (piece: Buffer) => {
        // A request comes in one piece, nearly always.
        if (open !== "" || !endsHead(piece)) open += piece.toString("latin1");
        if (open !== "" && !open.endsWith("\r\n\r\n")) return;
        open = "";
        arrivals[target]!.push(performance.timeOrigin + performance.now());
        answer(socket, target, scrapes[target]!++);
      });
    };
    const server = createServer({ noDelay: true }, (socket) =>
      serveOn(secureContext ? new TLSSocket(socket, { isServer: true, secureContext }) : socket),
    );
    port = await new Promise<number>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: addressOfTarget(options.first, target), port, backlog: 16 }, () =>
        resolve((server.address() as { port: number }).port),
      );
    });
  }
  const out = Buffer.allocUnsafe(replay.bytesMax);
  const bytes = replay.render(0, 0, out, 0);
  process.on("message", (word) => {
    if (word !== "arrivals") return;
    process.send!(arrivals.map((times) => Float64Array.from(times)));
    for (const times of arrivals) times.length = 0;
  });
  process.on("disconnect", () => process.exit());
  const { changing, heads, series } = replay;
  process.send!({ port, series, changing, bytes, heads } satisfies TargetsReady);
}

function endsHead(piece: Buffer): boolean {
  const end = piece.length;
  return end >= 4 && piece[end - 1] === 10 && piece[end - 2] === 13 && piece[end - 3] === 10;
}

function answering(replay: Replay): (socket: Socket, target: number, scrape: number) => void {
  const spares: Buffer[] = [];
  let date = "";
  let dateSecond = 0;
  return (socket, target, scrape) => {
    const second = Math.floor(Date.now() / 1000);
    if (second !== dateSecond) {
      dateSecond = second;
      date = new Date(second * 1000).toUTCString();
    }
    const out = spares.pop() ?? Buffer.allocUnsafeSlow(headBytesMax + replay.bytesMax);
    // The head is known once the body is there, and stands right before it.
    const end = replay.render(target, scrape, out, headBytesMax);
    const text = `${head}${date}\r\nContent-Length: ${end - headBytesMax}\r\n\r\n`;
    const start = headBytesMax - text.length;
    out.write(text, start, "latin1");
    socket.write(out.subarray(start, end), () => {
      if (spares.length < sparesMax) spares.push(out);
    });
  };
}
