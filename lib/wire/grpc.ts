// What the tiers say to each other, over gRPC: secondaries are the clients, primaries the servers.
//
// A peer that vanished without a word (power, a silent cut) is noticed by keepalive pings within 5 s, in both directions.
// With TLS both sides show a certificate; the client's identity is its URI in subjectAltName. A send resolves when the
// transport has room again, so nobody buffers more than one message beyond HTTP/2's window.

import { isIP } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import {
  ChannelCredentials,
  type ChannelOptions,
  type ClientDuplexStream,
  loadPackageDefinition,
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerWritableStream,
  type ServiceError,
  setLogVerbosity,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { KiB, MiB, secondMs } from "#/lib/bytes/units.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import {
  type PrimaryClient,
  type PrimaryHandlers,
  type PushRequest,
  type PushResponse,
  type ReachOrder,
  type ReachReport,
  type Session,
  type WatchRequest,
  type WatchResponse,
  WireError,
} from "#/lib/wire/session.ts";
import { identityOf, plainReason, type TlsMaterial } from "#/lib/wire/tls.ts";
import type { ProtoGrpcType as AssignmentTypes } from "#/proto/generated/assignment.ts";
import type { AssignmentHandlers } from "#/proto/generated/heliograph/v1/Assignment.ts";
import type { IngestHandlers } from "#/proto/generated/heliograph/v1/Ingest.ts";
import type { ReachHandlers } from "#/proto/generated/heliograph/v1/Reach.ts";
import type { ProtoGrpcType as IngestTypes } from "#/proto/generated/ingest.ts";
import type { ProtoGrpcType as ReachTypes } from "#/proto/generated/reach.ts";

// It would write to the terminal past our log; whatever it has to say comes as an error too.
setLogVerbosity(logVerbosity.NONE);

/** The largest batch is 4 MiB; a generation's part of 5,000 targets is less. */
const messageBytesMax = 5 * MiB;

const channelOptions: ChannelOptions = {
  "grpc.max_receive_message_length": messageBytesMax,
  "grpc.max_send_message_length": messageBytesMax,
  // A ping after 2 s of silence, and 2 s for its answer: a dead peer is noticed within 5 s.
  "grpc.keepalive_time_ms": 2 * secondMs,
  "grpc.keepalive_timeout_ms": 2 * secondMs,
  "grpc.keepalive_permit_without_calls": 1,
  // A secondary comes back within seconds of its primary; what spreads a herd is its own jitter.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.min_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 2 * secondMs,
  // Batches are compressed already, and a proxy between the tiers would only break mTLS.
  "grpc.enable_http_proxy": 0,
  "grpc-node.flow_control_window": 1 * MiB + 64 * KiB,
};

export interface ConnectPrimaryOptions {
  /** `host:port` */
  readonly address: string;
  readonly tls?: TlsMaterial;
  readonly log: Logger;
}

/** Returns at once; each stream tries to connect, and fails with WireError `unavailable` while the primary is away. */
export function connectPrimary({ address, tls }: ConnectPrimaryOptions): PrimaryClient {
  const { ingest, assignment, reach } = services();
  const host = hostOf(address);
  const credentials = tls ? clientCredentials(tls, host) : ChannelCredentials.createInsecure();
  const options = isIP(host) ? { ...channelOptions, "grpc.ssl_target_name_override": nameForIp } : channelOptions;
  // One connection for all services: the channel of the first is the others'.
  const pushes = new ingest.Ingest(address, credentials, options);
  const watches = new assignment.Assignment(address, credentials, { channelOverride: pushes.getChannel() });
  const reports = new reach.Reach(address, credentials, { channelOverride: pushes.getChannel() });
  return {
    push(signal) {
      return clientSession<PushRequest, PushResponse>(pushes.push(), signal, `push to ${address}`);
    },
    reach(signal) {
      return clientSession<ReachReport, ReachOrder>(reports.report(), signal, `reach at ${address}`);
    },
    async *watch(request, signal) {
      const call = watches.watch(request);
      const onAbort = () => call.cancel();
      signal.addEventListener("abort", onAbort, { once: true });
      if (signal.aborted) call.cancel();
      try {
        for await (const response of call) yield response as WatchResponse;
      } catch (error) {
        if (!signal.aborted) throw wireError(error, `watch at ${address}`);
      } finally {
        signal.removeEventListener("abort", onAbort);
        call.cancel();
      }
    },
    close() {
      pushes.close();
    },
  };
}

export interface ServePrimaryOptions {
  /** `host:port`; port 0 takes any free one. */
  readonly listen: string;
  readonly tls?: TlsMaterial;
  readonly handlers: PrimaryHandlers;
  readonly log: Logger;
}

/** Rejects with WireError `refused` when it cannot listen there. */
export async function servePrimary(
  options: ServePrimaryOptions,
): Promise<{ readonly address: string; close(): Promise<void> }> {
  const { listen, tls, handlers, log } = options;
  const { ingest, assignment, reach } = services();
  const server = new Server(channelOptions);
  // Whoever has a certificate of the authority gets as far as this; without an identity in it he could claim any name.
  const answer = async (call: ServerCall, handle: (peer: string | undefined) => Promise<void>): Promise<void> => {
    const peer = tls && peerOf(call);
    if (tls && peer === undefined) {
      throw new WireError("refused", "expected a certificate with a URI in subjectAltName, got one without");
    }
    await handle(peer);
  };
  const push: IngestHandlers["Push"] = (call) => {
    const { signal, session, finish } = serverSession<PushResponse, PushRequest>(call, "push");
    void finish(
      answer(call, (peer) => handlers.push(session, peer, signal)),
      log,
    );
  };
  const watch: AssignmentHandlers["Watch"] = (call) => {
    const { signal, session, finish } = serverSession<WatchResponse, never>(call, "watch");
    const send = (response: WatchResponse) => session.send(response);
    void finish(
      answer(call, (peer) => handlers.watch(call.request as WatchRequest, send, peer, signal)),
      log,
    );
  };
  server.addService(ingest.Ingest.service, { Push: push });
  const report: ReachHandlers["Report"] = (call) => {
    const { signal, session, finish } = serverSession<ReachOrder, ReachReport>(call, "reach");
    void finish(
      answer(call, (peer) => handlers.reach(session, peer, signal)),
      log,
    );
  };
  server.addService(assignment.Assignment.service, { Watch: watch });
  server.addService(reach.Reach.service, { Report: report });
  const credentials = tls
    ? ServerCredentials.createSsl(tls.ca, [{ private_key: tls.key, cert_chain: tls.cert }], true)
    : ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, credentials, (error, bound) => {
      if (error) reject(new WireError("refused", `cannot listen at ${listen}: ${error.message}`, { cause: error }));
      else resolve(bound);
    });
  });
  let closed: Promise<void> | undefined;
  return {
    address: `${listen.slice(0, listen.lastIndexOf(":"))}:${port}`,
    close() {
      closed ??= new Promise((resolve) => {
        // Streams last as long as their secondary: they are cut, and the other primary takes over.
        server.forceShutdown();
        resolve();
      });
      return closed;
    },
  };
}

/** Either end of a stream, as grpc-js gives it. */
type Call =
  | ClientDuplexStream<PushRequest, PushResponse>
  | ClientDuplexStream<ReachReport, ReachOrder>
  | ServerDuplexStream<PushRequest, PushResponse>
  | ServerDuplexStream<ReachReport, ReachOrder>
  | ServerWritableStream<WatchRequest, WatchResponse>;

type ServerCall = Exclude<
  Call,
  ClientDuplexStream<PushRequest, PushResponse> | ClientDuplexStream<ReachReport, ReachOrder>
>;

function clientSession<Out, In>(
  call: ClientDuplexStream<Out, In>,
  signal: AbortSignal,
  what: string,
): Session<Out, In> {
  const life = new StreamLife(what);
  const onAbort = () => call.cancel();
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) call.cancel();
  call.on("error", (error) => life.end(wireError(error, what)));
  call.on("status", () => {
    signal.removeEventListener("abort", onAbort);
    life.end(new WireError("broken", `${what}: the stream is over`));
  });
  return {
    send: (message) => sendOn(call, life, message),
    incoming: incomingOf<In>(call, life),
    close() {
      call.end();
    },
  };
}

function serverSession<Out, In>(call: ServerCall, what: string) {
  const life = new StreamLife(what);
  const aborter = new AbortController();
  const over = () => {
    life.end(new WireError("broken", `${what}: the stream is over`));
    aborter.abort();
  };
  call.on("cancelled", over);
  call.on("error", over);
  call.on("close", over);
  const session: Session<Out, In> = {
    send: (message) => sendOn(call, life, message),
    incoming: incomingOf<In>(call, life),
    close() {
      call.end();
    },
  };
  const finish = async (handled: Promise<void>, log: Logger): Promise<void> => {
    try {
      await handled;
      if (!life.ended) call.end();
    } catch (error) {
      if (life.ended) return; // What it failed of is that the other side is gone.
      const refused = error instanceof WireError && error.code === "refused";
      const message = error instanceof Error ? error.message : String(error);
      if (!refused) log.warn({ reason: message }, `A ${what} stream was broken off.`);
      call.emit("error", { code: refused ? status.FAILED_PRECONDITION : status.INTERNAL, details: message });
    } finally {
      over();
    }
  };
  return { session, signal: aborter.signal, finish };
}

/** Whether a stream lives, and who waits to hear that it does not. */
class StreamLife {
  readonly #what: string;
  readonly #waiting = new Set<(error: WireError) => void>();
  #error: WireError | undefined;

  constructor(what: string) {
    this.#what = what;
  }

  get ended(): boolean {
    return this.#error !== undefined;
  }

  /** The first reason counts. */
  end(error: WireError): void {
    this.#error ??= error;
    for (const reject of this.#waiting) reject(this.#error);
    this.#waiting.clear();
  }

  /** The error that ended it, or one made of what the stream threw. */
  errorOf(thrown: unknown): WireError {
    return this.#error ?? wireError(thrown, this.#what);
  }

  /** Settles with the work, or rejects when the stream ends before. */
  until(work: (resolve: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#error) return reject(this.#error);
      this.#waiting.add(reject);
      work(() => {
        this.#waiting.delete(reject);
        resolve();
      });
    });
  }
}

/** The callback of `write` comes when the message left for HTTP/2, which is after flow control. */
function sendOn(call: { write(message: never, callback: () => void): boolean }, life: StreamLife, message: unknown) {
  return life.until((resolve) => {
    call.write(message as never, resolve);
  });
}

async function* incomingOf<In>(call: unknown, life: StreamLife): AsyncGenerator<In> {
  try {
    // The other side may end its half and still listen: reading to the end must not destroy the stream.
    for await (const message of (call as Readable).iterator({ destroyOnReturn: false })) yield message as In;
  } catch (error) {
    throw life.errorOf(error);
  }
}

/** TLS may not name an address as its server, and grpc-js would: this is named instead, and the address is what is checked. */
const nameForIp = "address.invalid";

function clientCredentials(tls: TlsMaterial, host: string): ChannelCredentials {
  const check = {
    checkServerIdentity: (_name: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate),
  };
  return ChannelCredentials.createSsl(tls.ca, tls.key, tls.cert, isIP(host) ? check : {});
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");
}

/** gRPC's status codes as what a caller can do about them. */
function wireError(error: unknown, what: string): WireError {
  if (error instanceof WireError) return error;
  const { code, details, message } = error as Partial<ServiceError>;
  const text = `${what}: ${reasonIn(details || message || String(error))}`;
  switch (code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
      return new WireError("unavailable", text, { cause: error });
    case status.FAILED_PRECONDITION:
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
    case status.RESOURCE_EXHAUSTED:
    case status.UNIMPLEMENTED:
      return new WireError("refused", text, { cause: error });
    default:
      return new WireError("broken", text, { cause: error });
  }
}

/** The reason in grpc-js' words for a connection that did not come about; other texts as they are. */
function reasonIn(details: string): string {
  const reason = /^No connection established\. Last error: (.*?)\. Resolution note: /s.exec(details)?.[1];
  if (reason === undefined) return details;
  // With TLS 1.3 a client's certificate is judged when the client has already done its part, and the reason never comes back.
  if (!/^Failed to connect|ECONNRESET/.test(reason)) {
    return plainReason(reason.replace(/^Error(?: \[\w+\])?: /, "").replace(/ \(\d{4}-[\w:.-]+Z\)$/, ""));
  }
  return "the connection was closed before it began: if TLS is used, our certificate is refused (its authority, its dates)";
}

function peerOf(call: ServerCall): string | undefined {
  const certificate = call.getAuthContext().sslPeerCertificate as { subjectaltname?: string } | undefined;
  return identityOf(certificate?.subjectaltname);
}

function services() {
  const root = join(import.meta.dirname, "..", "..", "proto");
  // As the generated types have it: whole numbers as numbers, every field present.
  const load = (file: string) =>
    loadPackageDefinition(
      loadSync(join(root, "heliograph", "v1", file), { longs: Number, defaults: true, includeDirs: [root] }),
    );
  return {
    ingest: (load("ingest.proto") as unknown as IngestTypes).heliograph.v1,
    assignment: (load("assignment.proto") as unknown as AssignmentTypes).heliograph.v1,
    reach: (load("reach.proto") as unknown as ReachTypes).heliograph.v1,
  };
}
