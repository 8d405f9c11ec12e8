// The network between secondaries and primaries: streams over connections that are slow, cut one way or both, reset or stalled.
//
// A cut holds messages back, as TCP does, until it heals or until an end gives the connection up; the two ends do so at
// different times. So what a secondary takes for lost may have arrived, and arrives while it sends the same to the other
// primary.

import type { Random } from "#/lib/random/random.ts";
import { type PrimaryClient, type PrimaryHandlers, type Session, WireError } from "#/lib/wire/session.ts";
import type { SimProcess } from "#/test/sim/process.ts";
import type { Scheduler } from "#/test/sim/scheduler.ts";

/** When an end that hears nothing gives a connection up. */
const silentMsMin = 8000;
const silentMsSpread = 12_000;

export type Direction = "up" | "down";

/** Between two machines; `up` leads from the one that connects. */
export class Link {
  delayMs = 1;
  readonly #cut = { up: false, down: false };
  readonly #onHeal = new Set<() => void>();
  readonly #connections = new Set<Connection>();
  readonly #scheduler: Scheduler;
  readonly #random: Random;

  constructor(options: { readonly scheduler: Scheduler; readonly random: Random }) {
    this.#scheduler = options.scheduler;
    this.#random = options.random;
  }

  isCut(direction: Direction): boolean {
    return this.#cut[direction];
  }

  get busy(): boolean {
    return this.#connections.size > 0;
  }

  cut(...directions: readonly Direction[]): void {
    for (const direction of directions) this.#cut[direction] = true;
    for (const connection of this.#connections) this.#giveUpSilent(connection);
  }

  heal(): void {
    this.#cut.up = false;
    this.#cut.down = false;
    this.delayMs = 1;
    for (const callback of [...this.#onHeal]) callback();
  }

  /** Both ends hear of it, at different times. */
  breakAll(): void {
    for (const connection of this.#connections) {
      this.#scheduler.after(this.#travelMs(), () => connection.breakAt("up"));
      this.#scheduler.after(this.#travelMs(), () => connection.breakAt("down"));
    }
  }

  join(connection: Connection): void {
    this.#connections.add(connection);
    if (this.#cut.up || this.#cut.down) this.#giveUpSilent(connection);
  }

  leave(connection: Connection): void {
    this.#connections.delete(connection);
  }

  pipe<T>(direction: Direction, deliver: (item: T) => void): { send(item: T): void; close(): void } {
    let held: T[] = [];
    let lastMs = 0;
    let closed = false;
    const arrive = (item: T) => {
      if (closed) return;
      if (this.#cut[direction] || held.length > 0) held.push(item);
      else deliver(item);
    };
    const flush = () => {
      const items = held;
      held = [];
      for (const item of items) send(item);
    };
    const send = (item: T) => {
      lastMs = Math.max(lastMs, this.#scheduler.nowMs + this.#travelMs());
      this.#scheduler.at(lastMs, () => arrive(item));
    };
    this.#onHeal.add(flush);
    return {
      send: (item) => {
        if (!closed) send(item);
      },
      close: () => {
        closed = true;
        this.#onHeal.delete(flush);
      },
    };
  }

  #giveUpSilent(connection: Connection): void {
    const giveUp = (end: Direction) => {
      if (this.#cut.up || this.#cut.down) connection.breakAt(end);
    };
    this.#scheduler.after(silentMsMin + this.#random.next() * silentMsSpread, () => giveUp("up"));
    this.#scheduler.after(silentMsMin + this.#random.next() * silentMsSpread, () => giveUp("down"));
  }

  #travelMs(): number {
    return this.delayMs * (0.5 + this.#random.next());
  }
}

/** A primary as it listens. */
export interface Door {
  readonly process: SimProcess;
  readonly handlers: PrimaryHandlers;
}

export interface Connection {
  /** `up`: the client's end is told, `down`: the server's. */
  breakAt(end: Direction): void;
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
  const connection: Connection = {
    breakAt(end) {
      if (end === "up") client.enter(() => endHere(new WireError("broken", "the connection is lost")));
      else server?.enter(() => endThere(new WireError("broken", "the connection is lost")));
      if (end === "up") up.close();
      else down.close();
    },
  };
  const up = link.pipe<Said<Up>>("up", (said) => {
    if ("open" in said) return begin();
    server?.enter(() => ("item" in said ? there.push(said.item) : endThere(said.end)));
  });
  const down = link.pipe<Said<Down>>("down", (said) => {
    client.enter(() => {
      if ("item" in said) {
        onHeard(said.item);
        here.push(said.item);
      } else if ("end" in said) endHere(said.end);
    });
  });
  function endHere(error: WireError | undefined): void {
    here.end(error);
    link.leave(connection);
    down.close();
  }
  function endThere(error: WireError | undefined): void {
    there.end(error);
    over.abort();
    up.close();
  }
  function begin(): void {
    const found = door();
    if (!found) {
      down.send({ end: new WireError("unavailable", "nobody listens there") });
      return;
    }
    server = found.process;
    server.onDeath(() => {
      down.send({ end: new WireError("broken", "the connection was reset") });
      up.close();
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
  if (signal.aborted) here.end(undefined);
  else {
    signal.addEventListener("abort", stop, { once: true });
    link.join(connection);
    up.send({ open: true });
  }
  return { ...session<Up, Down>(here, up), close: stop };
}

function session<Out, In>(
  inbox: Inbox<In>,
  outgoing: { send(said: Said<Out>): void; close(): void },
): Session<Out, In> {
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
