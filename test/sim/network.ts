// The network: lines between machines, and the streams between secondaries and primaries over them. What goes on a line to a log
// server is lib/commitlog/twin-link.ts' affair.
//
// A cut holds messages back, as TCP does, until it heals or until an end gives the connection up; the two ends do so at
// different times. So what a secondary takes for lost may have arrived, and arrives while it sends the same to the other
// primary.

import { onAbort } from "#/lib/clock/abort.ts";
import { type LineDirection, noMishaps, TwinLine, type Wire } from "#/lib/commitlog/twin-line.ts";
import type { Random } from "#/lib/random/random.ts";
import { type PrimaryClient, type PrimaryHandlers, type Session, WireError } from "#/lib/wire/session.ts";
import { worldClock } from "#/test/sim/clock.ts";
import type { SimProcess } from "#/test/sim/process.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";

/** When an end that hears nothing gives a connection up. */
const silentMsMin = 8000;
const silentMsSpread = 12_000;
const usualDelayMs = 0.5;
const streamBytes = 1000;

export type Direction = LineDirection;

/** Between two machines; `up` leads from the one that connects. */
export class Link {
  readonly line: TwinLine;
  readonly #streams = new Set<Stream>();
  readonly #scheduler: Scheduler;
  readonly #random: Random;

  constructor({ scheduler, random }: { readonly scheduler: Scheduler; readonly random: Random }) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.line = new TwinLine({ clock: worldClock(scheduler), random, delayMs: usualDelayMs, jitterMs: usualDelayMs });
  }

  get delayMs(): number {
    return this.line.delayMs;
  }

  set delayMs(delayMs: number) {
    this.line.delayMs = delayMs;
    this.line.jitterMs = delayMs;
  }

  isCut(direction: Direction | "both"): boolean {
    return this.line.isCut(direction);
  }

  get busy(): boolean {
    return this.line.busy;
  }

  cut(...directions: readonly Direction[]): void {
    for (const direction of directions) this.line.cut(direction);
    for (const stream of this.#streams) this.#giveUpSilent(stream);
  }

  heal(): void {
    this.delayMs = usualDelayMs;
    this.line.mishaps = noMishaps;
    this.line.heal();
  }

  breakAll(): void {
    this.line.reset();
  }

  /** A stream's two ways. Its ends learn by `breakAt` that the other one is gone, or is not heard any more. */
  open(breakAt: (end: Direction) => void): OpenStream {
    const ends = new Set<Direction>(["up", "down"]);
    const stream: Stream = { breakAt };
    const wire = this.line.open(() => {
      for (const end of ends) this.#scheduler.after(2 * usualDelayMs * this.#random.next(), () => breakAt(end));
    });
    this.#streams.add(stream);
    if (this.isCut("both")) this.#giveUpSilent(stream);
    return {
      wire,
      leave: (end) => {
        ends.delete(end);
        if (ends.size > 0) return;
        this.#streams.delete(stream);
        wire.close();
      },
    };
  }

  #giveUpSilent({ breakAt }: Stream): void {
    for (const end of ["up", "down"] as const) {
      const afterMs = silentMsMin + this.#random.next() * silentMsSpread;
      this.#scheduler.after(afterMs, () => {
        if (this.isCut("both")) breakAt(end);
      });
    }
  }
}

interface OpenStream {
  readonly wire: Wire;
  /** That end is over: `up` is the client's. What it had sent may still arrive. */
  leave(end: Direction): void;
}

interface Stream {
  readonly breakAt: (end: Direction) => void;
}

/** A primary as it listens. */
export interface Door {
  readonly process: SimProcess;
  readonly handlers: PrimaryHandlers;
}

export function connect(options: {
  readonly client: SimProcess;
  readonly link: Link;
  readonly door: () => Door | undefined;
  /** Sees every message that reaches the client. */
  readonly onHeard: (message: unknown) => void;
}): PrimaryClient {
  const open = <Up, Down>(
    signal: AbortSignal,
    serve: (handlers: PrimaryHandlers, session: Session<Down, Up>, signal: AbortSignal) => Promise<void>,
  ) => openStream<Up, Down>(options, signal, serve);
  return {
    push: (signal) => open(signal, (handlers, session, over) => handlers.push(session, undefined, over)),
    watch: (request, signal) =>
      open<never, Parameters<Parameters<PrimaryHandlers["watch"]>[1]>[0]>(signal, (handlers, session, over) =>
        handlers.watch(request, (response) => session.send(response), undefined, over),
      ).incoming,
    reach: (signal) => open(signal, (handlers, session, over) => handlers.reach(session, undefined, over)),
    close() {},
  };
}

type Said<T> = { readonly item: T } | { readonly end: WireError | undefined } | { readonly open: true };

function openStream<Up, Down>(
  { client, link, door, onHeard }: Parameters<typeof connect>[0],
  signal: AbortSignal,
  serve: (handlers: PrimaryHandlers, session: Session<Down, Up>, signal: AbortSignal) => Promise<void>,
): Session<Up, Down> {
  const here = new Inbox<Down>();
  const there = new Inbox<Up>();
  const over = new AbortController();
  let server: SimProcess | undefined;
  if (signal.aborted) {
    here.end(undefined);
    return session(here, { send() {} });
  }
  const lost = () => new WireError("broken", "the connection is lost");
  const { wire, leave } = link.open((end) => {
    if (end === "up") client.enter(() => endHere(lost()));
    else if (server) server.enter(() => endThere(lost()));
    else endThere(lost());
  });
  const up = {
    send: (said: Said<Up>) =>
      wire.send("up", streamBytes, () => {
        if ("open" in said) begin();
        else server?.enter(() => ("item" in said ? there.push(said.item) : endThere(said.end)));
      }),
  };
  const down = {
    send: (said: Said<Down>) =>
      wire.send("down", streamBytes, () =>
        client.enter(() => {
          if (here.ended) return;
          if ("item" in said) {
            onHeard(said.item);
            here.push(said.item);
          } else if ("end" in said) endHere(said.end);
        }),
      ),
  };
  function endHere(error: WireError | undefined): void {
    here.end(error);
    leave("up");
  }
  function endThere(error: WireError | undefined): void {
    there.end(error);
    over.abort();
    leave("down");
  }
  function begin(): void {
    const found = door();
    if (!found || there.ended) {
      down.send({ end: new WireError("unavailable", "nobody listens there") });
      endThere(undefined);
      return;
    }
    server = found.process;
    server.onDeath(() => {
      down.send({ end: new WireError("broken", "the connection was reset") });
      endThere(undefined);
    });
    server.enter(() => {
      serve(found.handlers, session(there, down), over.signal).then(
        () => finish(undefined),
        (error: unknown) => finish(error instanceof WireError ? error : new WireError("broken", String(error))),
      );
    });
  }
  function finish(error: WireError | undefined): void {
    down.send({ end: error && new WireError(error.code === "refused" ? "refused" : "broken", error.message) });
    endThere(undefined);
  }
  client.onDeath(() => {
    up.send({ end: new WireError("broken", "the connection was reset") });
    endHere(undefined);
  });
  const stop = () => {
    up.send({ end: undefined });
    endHere(undefined);
  };
  onAbort(signal, stop);
  up.send({ open: true });
  return { ...session<Up, Down>(here, up), close: stop };
}

function session<Out, In>(inbox: Inbox<In>, outgoing: { send(said: Said<Out>): void }): Session<Out, In> {
  return {
    incoming: inbox,
    async send(item) {
      if (inbox.ended) throw new WireError("broken", "the stream is over");
      outgoing.send({ item });
    },
    close() {
      if (inbox.ended) return;
      outgoing.send({ end: undefined });
      inbox.end(undefined);
    },
  };
}

/** What one end has heard and not read yet. */
class Inbox<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #error: Error | undefined;
  #wake: (() => void) | undefined;
  ended = false;

  push(item: T): void {
    if (this.ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  end(error: Error | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      while (this.#items.length > 0) yield this.#items.shift()!;
      if (this.#error) throw this.#error;
      if (this.ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
