// One HTTP GET of a target, within its deadline and within bounds, whatever the target does.
//
// A target keeps its connection from scrape to scrape. What goes wrong is an outcome with a sentence for people, never an
// exception: a slow, silent or hostile target costs itself one scrape and the others nothing. The tier gets its fetcher handed
// in, so that a simulation can hand it another.

import type { Buffer } from "node:buffer";
import http from "node:http";
import https from "node:https";
import { createGunzip } from "node:zlib";

import { assert } from "#/lib/assert/assert.ts";
import { KiB, MiB, minuteMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { Outcome } from "#/lib/model/outcome.ts";
import { version } from "#/lib/telemetry/version.ts";

export interface FetchRequest {
  readonly url: string;
  readonly timeoutMs: number;
  /** Of the body after decompression; 0 means no limit of the target's own. */
  readonly bodyBytesMax: number;
}

export type FetchFailure = Extract<
  Outcome,
  | "failed_timeout"
  | "failed_connect"
  | "failed_status"
  | "failed_body_size"
  | "failed_closed"
  | "failed_tls"
  | "failed_name"
>;

export type Fetched =
  | { readonly ok: true; readonly body: Uint8Array; readonly contentType: string }
  | { readonly ok: false; readonly outcome: FetchFailure; readonly error: string };

export interface Fetcher {
  /** Never rejects. When the signal aborts, it ends soon as `failed_closed`. */
  fetch(request: FetchRequest, signal: AbortSignal): Promise<Fetched>;
  /** Closes idle connections; may be called twice. */
  close(): void;
}

/** What a target may send when its own limit is off: one body must not take the process' memory. */
const bodyBytesCeiling = 256 * MiB;
/** Of all bodies on their way together. Beyond it, large ones are given up, so that small ones still get through. */
const bodiesBytesMax = 384 * MiB;
/** A body is large from here on: an exposition of 50,000 series. Even 1,000 targets that send just less stay bearable. */
const largeBodyBytes = 4 * MiB;
assert(bodyBytesCeiling + 16 * largeBodyBytes <= bodiesBytesMax, "the largest body leaves room for others");

/** Of one body: nobody sends less than a line at a time, and each piece costs a microsecond or two whatever it holds. */
const bodyPiecesMax = 262_144;
/** An ordinary body is one or two pieces. */
const unzippedPieceBytes = 64 * KiB;
assert(bodyPiecesMax * unzippedPieceBytes >= bodyBytesCeiling, "the largest body can be unzipped");

/** As Go's client, which Prometheus uses. */
const redirectsMax = 10;
/** Interim answers (1xx) before the answer. Go's client too takes five. */
const interimAnswersMax = 5;
/** As Prometheus: targets with intervals up to this keep their connection. */
const idleConnectionMs = 5 * minuteMs;

/** As Prometheus 3 sends it: OpenMetrics first, then the text format, with UTF-8 names where the target can. */
const accept = [
  "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6",
  "application/openmetrics-text;version=1.0.0;q=0.5",
  "application/openmetrics-text;version=0.0.1;q=0.4",
  "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3",
  "text/plain;version=0.0.4;q=0.2",
  "*/*;q=0.1",
].join(",");

export function httpFetcher(options: { readonly clock: Clock }): Fetcher {
  const agentOptions = { keepAlive: true, maxFreeSockets: 4, timeout: idleConnectionMs } as const;
  const agents = { "http:": new http.Agent(agentOptions), "https:": new https.Agent(agentOptions) };
  const budget: BodyBudget = { bytes: 0 };
  return {
    async fetch(request, signal) {
      const exchange = new Exchange(request, agents, budget, options.clock);
      try {
        return await exchange.run(signal);
      } catch (error) {
        if (error instanceof FetchError) return { ok: false, outcome: error.outcome, error: error.message };
        throw error;
      } finally {
        exchange.end();
      }
    },
    close() {
      agents["http:"].destroy();
      agents["https:"].destroy();
    },
  };
}

interface BodyBudget {
  /** Of all bodies that are arriving now. */
  bytes: number;
}

class FetchError extends Error {
  override readonly name = "FetchError";
  readonly outcome: FetchFailure;

  constructor(outcome: FetchFailure, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.outcome = outcome;
  }
}

type Agents = Readonly<Record<"http:" | "https:", http.Agent>>;

/** One request with its redirects, all within one deadline. */
class Exchange {
  readonly #request: FetchRequest;
  readonly #agents: Agents;
  readonly #budget: BodyBudget;
  readonly #clock: Clock;
  readonly #bodyBytesMax: number;
  #held = 0;
  #current: http.ClientRequest | undefined;
  #failure: FetchError | undefined;
  #stage: "connect" | "answer" | "body" = "connect";

  constructor(request: FetchRequest, agents: Agents, budget: BodyBudget, clock: Clock) {
    this.#request = request;
    this.#agents = agents;
    this.#budget = budget;
    this.#clock = clock;
    this.#bodyBytesMax =
      request.bodyBytesMax === 0 ? bodyBytesCeiling : Math.min(request.bodyBytesMax, bodyBytesCeiling);
  }

  async run(signal: AbortSignal): Promise<Fetched> {
    const timer = this.#clock.after(this.#request.timeoutMs, () => this.#fail(this.#timedOut()));
    const stop = () => this.#fail(new FetchError("failed_closed", "the secondary is stopping"));
    signal.addEventListener("abort", stop, { once: true });
    try {
      if (signal.aborted) stop();
      let url = parseUrl(this.#request.url);
      for (let redirects = 0; ; redirects++) {
        const response = await this.#answer(url);
        const location = response.headers.location;
        if (redirectStatuses.has(response.statusCode!) && location !== undefined) {
          response.destroy();
          if (redirects >= redirectsMax) {
            throw new FetchError("failed_status", `expected an answer, got more than ${redirectsMax} redirects`);
          }
          url = parseUrl(location, url);
          continue;
        }
        if (response.statusCode !== 200) {
          response.destroy();
          throw new FetchError(
            "failed_status",
            `server returned HTTP status ${response.statusCode} ${response.statusMessage ?? ""}`.trim(),
          );
        }
        const body = await this.#body(response);
        return { ok: true, body, contentType: response.headers["content-type"] ?? "" };
      }
    } finally {
      timer.cancel();
      signal.removeEventListener("abort", stop);
    }
  }

  /** Gives back what the body held. */
  end(): void {
    this.#budget.bytes -= this.#held;
    this.#held = 0;
  }

  /** A connection that was kept may be closed by the target just as it is used again; only then a second try is fair. */
  async #answer(url: URL): Promise<http.IncomingMessage> {
    for (;;) {
      const request = this.#send(url);
      this.#current = request;
      try {
        return await new Promise<http.IncomingMessage>((resolve, reject) => {
          let interimAnswers = 0;
          request.on("response", resolve);
          request.on("information", () => {
            if (++interimAnswers <= interimAnswersMax) return;
            this.#fail(
              new FetchError("failed_status", `expected an answer, got more than ${interimAnswersMax} interim ones`),
            );
          });
          request.on("upgrade", (_response, socket) => {
            socket.destroy();
            reject(new FetchError("failed_status", "expected an answer, got 101: the target switched protocols"));
          });
          request.on("error", reject);
          // Whatever else may end it, a scrape must not wait for ever.
          request.on("close", () => reject(new Error("no answer came")));
        });
      } catch (error) {
        if (error instanceof FetchError) throw this.#failure ?? error;
        const code = (error as NodeJS.ErrnoException).code;
        const stale = request.reusedSocket && (code === "ECONNRESET" || code === "EPIPE");
        if (!stale || this.#failure) throw this.#failure ?? this.#explain(error as NodeJS.ErrnoException);
      }
    }
  }

  #send(url: URL): http.ClientRequest {
    if (this.#failure) throw this.#failure;
    this.#stage = "connect";
    const secure = url.protocol === "https:";
    const request = (secure ? https : http).request(url, {
      agent: this.#agents[secure ? "https:" : "http:"],
      headers: {
        accept,
        "accept-encoding": "gzip",
        "user-agent": `Heliograph/${version}`,
        "x-prometheus-scrape-timeout-seconds": String(this.#request.timeoutMs / 1000),
      },
    });
    request.on("socket", (socket) => {
      const reached = () => {
        this.#stage = "answer";
      };
      if (!socket.connecting) reached();
      else socket.once("connect", reached);
    });
    request.end();
    return request;
  }

  async #body(response: http.IncomingMessage): Promise<Uint8Array> {
    this.#stage = "body";
    const announced = Number(response.headers["content-length"] ?? 0);
    if (announced > this.#bodyBytesMax) this.#fail(this.#tooLarge(`${announced} announced`));
    const sent: Gathered = { pieces: [], bytes: 0 };
    await new Promise<void>((resolve, reject) => {
      response.on("data", (piece: Buffer) => this.#gather(sent, piece, "more"));
      response.on("end", () => (response.complete ? resolve() : reject(new Error("half a body"))));
      response.on("error", reject);
      response.on("close", () => (response.complete ? resolve() : reject(new Error("half a body"))));
      if (this.#failure) reject(this.#failure);
    }).catch((error: NodeJS.ErrnoException) => {
      throw (
        this.#failure ??
        new FetchError(
          "failed_closed",
          `the target closed the connection after ${sent.bytes} bytes of an unfinished body`,
          { cause: error },
        )
      );
    });
    if (this.#failure) throw this.#failure;
    const body = joined(sent);
    return response.headers["content-encoding"]?.trim().toLowerCase() === "gzip" ? await this.#unzipped(body) : body;
  }

  /** Counts what arrives against what this body, and all bodies together, may have. */
  #gather(body: Gathered, piece: Buffer, beyond: string): void {
    body.bytes += piece.length;
    body.pieces.push(piece);
    this.#held += piece.length;
    this.#budget.bytes += piece.length;
    if (body.bytes > this.#bodyBytesMax) this.#fail(this.#tooLarge(beyond));
    else if (body.pieces.length > bodyPiecesMax) {
      this.#fail(
        new FetchError(
          "failed_body_size",
          `given up at ${body.bytes} bytes: they came in more than ${bodyPiecesMax} pieces`,
        ),
      );
    } else if (this.#budget.bytes > bodiesBytesMax && body.bytes > largeBodyBytes) {
      this.#fail(
        new FetchError(
          "failed_body_size",
          `given up at ${body.bytes} bytes: the bodies arriving now have ${this.#budget.bytes} together, expected at most ${bodiesBytesMax}`,
        ),
      );
    }
  }

  async #unzipped(body: Uint8Array): Promise<Uint8Array> {
    const unzipped: Gathered = { pieces: [], bytes: 0 };
    const gunzip = createGunzip({ chunkSize: unzippedPieceBytes });
    gunzip.end(body);
    try {
      for await (const piece of gunzip) {
        this.#gather(unzipped, piece, "more after gunzip");
        if (this.#failure) throw this.#failure;
      }
    } catch (error) {
      if (this.#failure) throw this.#failure;
      throw new FetchError("failed_closed", `expected a whole gzip body, got: ${(error as Error).message}`, {
        cause: error,
      });
    }
    return joined(unzipped);
  }

  #tooLarge(got: string): FetchError {
    return new FetchError(
      "failed_body_size",
      `body_size_limit exceeded: expected at most ${this.#bodyBytesMax} bytes, got ${got}`,
    );
  }

  #timedOut(): FetchError {
    const seconds = this.#request.timeoutMs / 1000;
    switch (this.#stage) {
      case "connect":
        return new FetchError("failed_connect", `no connection within ${seconds} s`);
      case "answer":
        return new FetchError("failed_timeout", `no answer within ${seconds} s`);
      case "body":
        return new FetchError("failed_timeout", `the body was not complete within ${seconds} s`);
    }
  }

  /** The first reason stays; the connection goes. */
  #fail(failure: FetchError): void {
    this.#failure ??= failure;
    this.#current?.destroy(this.#failure);
  }

  #explain(error: NodeJS.ErrnoException): FetchError {
    const code = error.code ?? "";
    // Several addresses were tried: the first one's error stands for all.
    const first = error instanceof AggregateError ? (error.errors[0] as Error) : error;
    const text = first.message;
    if (nameCodes.has(code)) return new FetchError("failed_name", `no address for the host: ${text}`, { cause: error });
    if (isTlsError(code)) return new FetchError("failed_tls", `TLS: ${text}`, { cause: error });
    if (code.startsWith("HPE_"))
      return new FetchError("failed_status", `the answer is not HTTP: ${text}`, { cause: error });
    if (this.#stage === "connect") return new FetchError("failed_connect", text, { cause: error });
    return new FetchError("failed_closed", `the target closed the connection without an answer: ${text}`, {
      cause: error,
    });
  }
}

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const nameCodes: ReadonlySet<string> = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME"]);

/** OpenSSL's and Node's names for a handshake that failed or a certificate that is not to be trusted. */
function isTlsError(code: string): boolean {
  return /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|EPROTO$|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA$|INVALID_PURPOSE$|HOSTNAME_MISMATCH$)/.test(
    code,
  );
}

function parseUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (url && (url.protocol === "http:" || url.protocol === "https:")) return url;
  throw new FetchError("failed_name", `expected an http or https URL, got ${JSON.stringify(text)}`);
}

/** A body, or what has come of it. */
interface Gathered {
  readonly pieces: Buffer[];
  bytes: number;
}

function joined({ pieces, bytes }: Gathered): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
