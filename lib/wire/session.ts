// What the tiers say to each other, without saying over what: gRPC between machines (grpc.ts), memory in a simulation.

import type { PushRequest__Output as PushRequest } from "#/proto/generated/heliograph/v1/PushRequest.ts";
import type { PushResponse__Output as PushResponse } from "#/proto/generated/heliograph/v1/PushResponse.ts";
import type { ReachOrder__Output as ReachOrder } from "#/proto/generated/heliograph/v1/ReachOrder.ts";
import type { ReachReport__Output as ReachReport } from "#/proto/generated/heliograph/v1/ReachReport.ts";
import type { WatchRequest__Output as WatchRequest } from "#/proto/generated/heliograph/v1/WatchRequest.ts";
import type { WatchResponse__Output as WatchResponse } from "#/proto/generated/heliograph/v1/WatchResponse.ts";

export type { PushRequest, PushResponse, ReachOrder, ReachReport, WatchRequest, WatchResponse };

/** One side of a stream that goes both ways. */
export interface Session<Out, In> {
  /** Resolves when the transport can take more; rejects with WireError once the stream is over. */
  send(message: Out): Promise<void>;
  /** What the other side says; ends when it says no more, throws WireError when the stream breaks. Read it once. */
  readonly incoming: AsyncIterable<In>;
  /** Ends the stream; may be called twice. */
  close(): void;
}

/** A secondary's way to one primary. */
export interface PrimaryClient {
  push(signal: AbortSignal): Session<PushRequest, PushResponse>;
  watch(request: WatchRequest, signal: AbortSignal): AsyncIterable<WatchResponse>;
  reach(signal: AbortSignal): Session<ReachReport, ReachOrder>;
  close(): void;
}

/** What a primary does with the streams that come in. A handler that returns ends its stream; one that throws breaks it. */
export interface PrimaryHandlers {
  /** `peer` is the client's certificate identity (URI SAN), undefined without TLS. */
  push(session: Session<PushResponse, PushRequest>, peer: string | undefined, signal: AbortSignal): Promise<void>;
  watch(
    request: WatchRequest,
    send: (response: WatchResponse) => Promise<void>,
    peer: string | undefined,
    signal: AbortSignal,
  ): Promise<void>;
  reach(session: Session<ReachOrder, ReachReport>, peer: string | undefined, signal: AbortSignal): Promise<void>;
}

/** `refused`: the other side said no, and why; asking again the same way will not help. */
export type WireErrorCode = "unavailable" | "refused" | "broken";

export class WireError extends Error {
  override readonly name = "WireError";
  readonly code: WireErrorCode;

  constructor(code: WireErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
