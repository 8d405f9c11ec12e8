// The HTTP front of every process: health, metrics, and whatever routes its tier adds.
//
// It is strict about sizes and times, because anyone on the port can open a connection, and strict about nothing that
// Prometheus ignores, because its clients (Grafana, promtool, amtool) rely on that: unknown parameters, odd content types
// and empty bodies are let through; unknown paths are answered in plain text.

import formbody from "@fastify/formbody";
import { type FastifyError, type FastifyInstance, fastify } from "fastify";

import { MiB, minuteMs, secondMs } from "#/lib/bytes/units.ts";
import { compressAnswers } from "#/lib/http/compress.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

/** A form with a 16 kB query, escaped threefold, and a thousand `match[]` beside it. */
const bodyBytesMax = 2 * MiB;
/** The request line of a GET whose 16 kB query is escaped threefold, and the headers of two proxies. */
const headerBytesMax = 96 * 1024;
/** Longer than Grafana's and Prometheus' own idle time, so that the client is the one to close. */
const keepAliveMs = 2 * minuteMs;
/** For the whole request to arrive; a client that dribbles holds a socket no longer than this. */
const requestArrivalMsMax = 30 * secondMs;
/** Beyond the longest label name that anyone could mean; fastify's own default (100) is not. */
const pathParameterLengthMax = 2048;

export type HttpServerErrorCode = "bad_listen_address" | "address_in_use" | "cannot_listen";

export class HttpServerError extends Error {
  override readonly name = "HttpServerError";
  readonly code: HttpServerErrorCode;

  constructor(code: HttpServerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Undefined means fine, anything else is the reason why not, told to whoever asks. */
export interface Health {
  healthy(): string | undefined;
  ready(): string | undefined;
}

export interface HttpServer {
  /** Routes may be added until `start`. */
  readonly app: FastifyInstance;
  /** Resolves to the address that it listens on, `host:port` with the real port. Throws HttpServerError. */
  start(): Promise<string>;
  /** Ends idle connections, lets running answers finish. May be called twice. */
  close(): Promise<void>;
}

export interface HttpServerOptions {
  /** `host:port`, `[::1]:port`; port 0 picks a free one. */
  readonly listen: string;
  readonly metrics: Registry;
  readonly health: Health;
  readonly log: Logger;
}

/** How a tier gets its front: `createHttpServer`, or in a simulation one that never listens. */
export type HttpFront = (options: HttpServerOptions) => HttpServer;

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { listen, metrics, health, log } = options;
  const app = fastify({
    bodyLimit: bodyBytesMax,
    keepAliveTimeout: keepAliveMs,
    requestTimeout: requestArrivalMsMax,
    forceCloseConnections: "idle",
    http: { maxHeaderSize: headerBytesMax },
    routerOptions: { maxParamLength: pathParameterLengthMax },
  });

  acceptBodies(app);
  compressAnswers(app);
  answerErrors(app, log);
  app.addHook("onResponse", async (request, reply) => {
    const route = request.routeOptions.url ?? "unmatched";
    const status = `${Math.floor(reply.statusCode / 100)}xx`;
    metrics.add("heliograph_http_requests_total", 1, { route, status });
  });

  app.get("/-/healthy", async (_request, reply) => {
    const reason = health.healthy();
    return reply
      .code(reason === undefined ? 200 : 503)
      .type("text/plain; charset=utf-8")
      .send(`${reason ?? "Heliograph is healthy."}\n`);
  });
  app.get("/-/ready", async (_request, reply) => {
    const reason = health.ready();
    return reply
      .code(reason === undefined ? 200 : 503)
      .type("text/plain; charset=utf-8")
      .send(`${reason ?? "Heliograph is ready."}\n`);
  });
  app.get("/metrics", async (_request, reply) =>
    reply.type("text/plain; version=0.0.4; charset=utf-8").send(metrics.expose()),
  );

  let closing: Promise<void> | undefined;
  return {
    app,
    async start() {
      const { host, port } = parseListen(listen);
      try {
        await app.listen({ host, port });
      } catch (error) {
        throw listenError(listen, error as NodeJS.ErrnoException);
      }
      const bound = app.server.address();
      const boundPort = typeof bound === "object" && bound !== null ? bound.port : port;
      return host.includes(":") ? `[${host}]:${boundPort}` : `${host}:${boundPort}`;
    },
    close() {
      closing ??= app.close();
      return closing;
    },
  };
}

/** `127.0.0.1:9090`, `[::1]:9090`, `localhost:9090`, `:9090` (every address). Throws HttpServerError. */
export function parseListen(listen: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(listen);
  const port = Number(match?.[3]);
  if (!match || port > 65535) {
    throw new HttpServerError(
      "bad_listen_address",
      `listen address: expected host:port or [IPv6]:port, got ${JSON.stringify(listen)}`,
    );
  }
  return { host: match[1] ?? (match[2] || "::"), port };
}

function listenError(listen: string, error: NodeJS.ErrnoException): HttpServerError {
  if (error.code === "EADDRINUSE") {
    return new HttpServerError("address_in_use", `cannot listen on ${listen}: another process already does`, {
      cause: error,
    });
  }
  return new HttpServerError("cannot_listen", `cannot listen on ${listen}: ${error.message}`, { cause: error });
}

function acceptBodies(app: FastifyInstance): void {
  app.register(formbody, { bodyLimit: bodyBytesMax });
  const parseJson = app.getDefaultJsonParser("error", "error");
  app.addContentTypeParser<string>("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") done(null, undefined);
    else parseJson(request, body, done);
  });
  // Go's ParseForm leaves a body of another type alone, so we read it to its end and leave it alone too.
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, _body, done) => done(null, undefined));
}

function answerErrors(app: FastifyInstance, log: Logger): void {
  app.setNotFoundHandler(async (_request, reply) =>
    reply.code(404).type("text/plain; charset=utf-8").send("404 page not found\n"),
  );
  app.setErrorHandler<FastifyError>(async (error, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) {
      log.error({ err: error, method: request.method, url: request.url }, "A request failed by a bug of ours.");
    }
    return reply
      .code(status)
      .type("text/plain; charset=utf-8")
      .send(status >= 500 ? "internal server error\n" : `${error.message}\n`);
  });
}
