// A client's connection to the twin: what lib/wire/jetstream.ts makes of the client package, over a simulated line.
//
// A break is noticed by pings that stay without an answer, or by a reset; then every request that waits fails, and the next
// connection is tried forever after a random part of a growing delay. The figures are those of the real one.

import { secondMs } from "#/lib/bytes/units.ts";
import { onAbort } from "#/lib/clock/abort.ts";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Delivery, TwinMessage } from "#/lib/commitlog/twin-jetstream.ts";
import type { TwinLine, Wire } from "#/lib/commitlog/twin-line.ts";
import { subjectMatches } from "#/lib/commitlog/twin-stream.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Random } from "#/lib/random/random.ts";
import { type NatsLink, NatsLinkError, type NatsMessage, type RequestOptions } from "#/lib/wire/jetstream.ts";

const pingIntervalMs = 1500;
const pingsOutMax = 2;
const connectTimeoutMs = 5 * secondMs;
const reconnectDelayMsMin = 200;
const reconnectDelayMsMax = 2 * secondMs;
const payloadBytesMax = 8 * 1024 * 1024;
/** What a message weighs on the line besides its payload. */
const envelopeBytes = 100;

/** A connection as its server knows it. */
export interface Session {
  readonly account: string;
  /** `_INBOX.<this>.` and what follows comes here. */
  readonly inbox: string;
  readonly patterns: Set<string>;
  accepted(): void;
  /** At the server: on its way to the client. */
  send(message: TwinMessage | Delivery): void;
  /** The server is gone or refuses: the client learns it if the line lets it. */
  hangUp(losesAnswers: boolean): void;
}

/** The server, as its clients reach it: called when what they sent arrives there. */
export interface ServerPort {
  /** Another one after each start. */
  readonly run: string;
  /** No pause, and running since the client connected. */
  hears(session: Session): boolean;
  dial(session: Session): void;
  receive(session: Session, message: TwinMessage): void;
  leave(session: Session): void;
}

export interface LinkOptions {
  readonly port: ServerPort;
  readonly account: string;
  readonly line: TwinLine;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly enter: (run: () => void) => void;
}

interface Subscription {
  readonly subject: string;
  readonly onMessage: (message: NatsMessage) => void;
}

interface Request {
  readonly subject: string;
  settle(outcome: NatsMessage | Error): void;
}

export class TwinLink implements NatsLink {
  readonly #options: LinkOptions;
  readonly #inbox: string;
  readonly #subscriptions = new Set<Subscription>();
  /** By the number at the end of the inbox. */
  readonly #requests = new Map<number, Request>();
  readonly #callbacks = new Set<(connected: boolean) => void>();
  #connection: Connection | undefined;
  #inboxes = 0;
  #delayMs = reconnectDelayMsMin;
  #retry: Timer | undefined;
  #isClosed = false;
  #isConnected = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#inbox = `_INBOX.${options.random.below(2 ** 32).toString(36)}${options.random.below(2 ** 32).toString(36)}`;
    this.#dial();
  }

  get serverRun(): string {
    return this.#isConnected ? this.#options.port.run : "";
  }

  get connected(): boolean {
    return this.#isConnected;
  }

  onChange(callback: (connected: boolean) => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  request(subject: string, payload: Uint8Array, options: RequestOptions): Promise<NatsMessage> {
    const { signal, timeoutMs, headers = {} } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (!this.#isConnected) {
      return Promise.reject(new NatsLinkError("unavailable", `${subject}: no NATS server is connected`));
    }
    const reply = this.newInbox();
    const number = this.#inboxes;
    const answer = new Promise<NatsMessage>((resolve, reject) => {
      const timer = this.#options.clock.after(timeoutMs, () =>
        request.settle(new NatsLinkError("timeout", `${subject}: no answer within ${timeoutMs} ms`)),
      );
      const request: Request = {
        subject,
        settle: (outcome) => {
          timer.cancel();
          forget?.();
          this.#requests.delete(number);
          if (outcome instanceof Error) reject(outcome);
          else if (outcome.status === 503) {
            reject(new NatsLinkError("no_responders", `${subject}: nobody listens there`));
          } else resolve(outcome);
        },
      };
      const forget = signal && onAbort(signal, () => request.settle(signal.reason));
      this.#requests.set(number, request);
    });
    try {
      this.#send(subject, payload, reply, headers);
    } catch (error) {
      this.#requests.get(number)?.settle(error as Error);
    }
    return answer;
  }

  publish(subject: string, payload: Uint8Array, options: { readonly reply?: string } = {}): boolean {
    if (!this.#isConnected) return false;
    this.#send(subject, payload, options.reply ?? "", {});
    return true;
  }

  subscribe(subject: string, onMessage: (message: NatsMessage) => void): { close(): void } {
    const subscription = { subject, onMessage };
    this.#subscriptions.add(subscription);
    this.#connection?.listen(subject, true);
    return {
      close: () => {
        if (!this.#subscriptions.delete(subscription)) return;
        if (![...this.#subscriptions].some((other) => other.subject === subject)) {
          this.#connection?.listen(subject, false);
        }
      },
    };
  }

  newInbox(): string {
    return `${this.#inbox}.${++this.#inboxes}`;
  }

  /** At once. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#down();
  }

  #send(subject: string, payload: Uint8Array, reply: string, headers: TwinMessage["headers"]): void {
    if (payload.length > payloadBytesMax) {
      throw new NatsLinkError("too_large", `${subject}: expected at most ${payloadBytesMax} bytes`);
    }
    // A copy, as the socket has it: the caller may use its bytes again.
    this.#connection!.send({ subject, reply, status: 0, statusText: "", payload: payload.slice(), headers });
  }

  #dial(): void {
    const connection: Connection = new Connection(this.#options, this.#inbox, {
      onUp: () => {
        this.#delayMs = reconnectDelayMsMin;
        this.#isConnected = true;
        for (const subject of new Set([...this.#subscriptions].map(({ subject }) => subject))) {
          connection.listen(subject, true);
        }
        this.#options.log.info({}, "Connected to NATS.");
        this.#tell();
      },
      onMessage: (message) => this.#take(message),
      onDown: () => {
        this.#down();
        const { clock, random } = this.#options;
        this.#retry = clock.after(random.next() * this.#delayMs, () => this.#dial());
        this.#delayMs = Math.min(this.#delayMs * 2, reconnectDelayMsMax);
      },
    });
    this.#connection = connection;
    connection.dial();
  }

  #down(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.close();
    for (const { subject, settle } of [...this.#requests.values()]) {
      settle(new NatsLinkError("unavailable", `${subject}: the connection broke before the answer`));
    }
    if (!this.#isConnected) return;
    this.#isConnected = false;
    if (!this.#isClosed) this.#options.log.warn({}, "NATS is away: trying until it is back.");
    this.#tell();
  }

  #tell(): void {
    for (const callback of [...this.#callbacks]) callback(this.#isConnected);
  }

  #take(message: TwinMessage | Delivery): void {
    const subject = "inbox" in message ? message.inbox : message.subject;
    const { headers, payload, reply, status, statusText } = message;
    const header = (name: string) => headers[name];
    const heard: NatsMessage = { subject: message.subject, reply, status, statusText, payload, header };
    const isOurs = subject.startsWith(this.#inbox);
    const request = isOurs ? this.#requests.get(Number(subject.slice(this.#inbox.length + 1))) : undefined;
    request?.settle(heard);
    if (request) return;
    for (const subscription of [...this.#subscriptions]) {
      if (subjectMatches(subscription.subject, subject)) subscription.onMessage(heard);
    }
  }
}

interface ConnectionEvents {
  onUp(): void;
  onMessage(message: TwinMessage): void;
  onDown(): void;
}

/** One connection from its dialling to its end. */
class Connection {
  readonly #options: LinkOptions;
  readonly #wire: Wire;
  readonly #session: Session;
  readonly #on: ConnectionEvents;
  #timer: Timer | undefined;
  #isUp = false;
  #isOver = false;
  #pingsOut = 0;

  constructor(options: LinkOptions, inbox: string, on: ConnectionEvents) {
    this.#options = options;
    this.#on = on;
    this.#wire = options.line.open(() => {
      options.port.leave(this.#session);
      options.enter(() => this.#break());
    });
    this.#session = {
      account: options.account,
      inbox,
      patterns: new Set(),
      accepted: () => this.#wire.send("down", envelopeBytes, () => this.#hear(() => this.#up())),
      send: (message) =>
        this.#wire.sendLoose("down", envelopeBytes + message.payload.length, () =>
          this.#hear(() => this.#on.onMessage(message)),
        ),
      hangUp: (losesAnswers) => {
        if (losesAnswers) this.#wire.drop("down");
        this.#wire.send("down", envelopeBytes, () => this.#hear(() => this.#break()));
      },
    };
  }

  dial(): void {
    this.#timer = this.#options.clock.after(connectTimeoutMs, () => this.#break());
    this.#wire.send("up", envelopeBytes, () => this.#options.port.dial(this.#session));
  }

  send(message: TwinMessage): void {
    this.#wire.sendLoose("up", envelopeBytes + message.payload.length, () =>
      this.#options.port.receive(this.#session, message),
    );
  }

  listen(pattern: string, isWanted: boolean): void {
    // Answers find their way by the inbox's first part, which the server knows from the start.
    if (pattern.startsWith("_INBOX.")) return;
    this.#wire.send("up", envelopeBytes, () => {
      if (isWanted) this.#session.patterns.add(pattern);
      else this.#session.patterns.delete(pattern);
    });
  }

  /** May be called twice. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    this.#wire.send("up", envelopeBytes, () => this.#options.port.leave(this.#session));
    this.#wire.close();
  }

  #hear(deliver: () => void): void {
    this.#options.enter(() => {
      if (!this.#isOver) deliver();
    });
  }

  #up(): void {
    if (this.#isUp) return;
    this.#isUp = true;
    this.#timer?.cancel();
    this.#timer = this.#options.clock.every(pingIntervalMs, () => this.#ping());
    this.#on.onUp();
  }

  /** A ping's way is not played through: it is answered when nothing stands in it. */
  #ping(): void {
    const { line, port } = this.#options;
    if (!line.isCut("both") && port.hears(this.#session)) this.#pingsOut = 0;
    else if (++this.#pingsOut > pingsOutMax) this.#break();
  }

  #break(): void {
    if (this.#isOver) return;
    this.close();
    this.#on.onDown();
  }
}
