// Why a fetch failed: one of the outcomes that a slot may have, and a sentence for people.

import type { Outcome } from "#/lib/model/outcome.ts";
import { plainReason } from "#/lib/wire/tls.ts";

export type FetchFailure = Extract<
  Outcome,
  | "failed_timeout"
  | "failed_connect"
  | "failed_status"
  | "failed_body_size"
  | "failed_closed"
  | "failed_tls"
  | "failed_name"
  | "failed_credentials"
>;

export class FetchError extends Error {
  override readonly name = "FetchError";
  readonly outcome: FetchFailure;

  constructor(outcome: FetchFailure, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.outcome = outcome;
  }
}

export function notHttp(expected: string, got: string): FetchError {
  return new FetchError("failed_status", `the answer is not HTTP: expected ${expected}, got ${got}`);
}

/** What a connection that could not be opened, or broke, died of. `opened`: it had been open. */
export function brokenConnection(error: NodeJS.ErrnoException, opened: boolean): FetchError {
  const code = error.code ?? "";
  // Several addresses were tried: the first one's error stands for all.
  const text = error instanceof AggregateError ? (error.errors[0] as Error).message : error.message;
  if (isTlsError(code)) {
    const reason = plainReason(text);
    return new FetchError("failed_tls", reason.includes("TLS") ? reason : `TLS: ${reason}`, { cause: error });
  }
  if (!opened) return new FetchError("failed_connect", text, { cause: error });
  return new FetchError("failed_closed", `the target closed the connection without an answer: ${text}`, {
    cause: error,
  });
}

/** OpenSSL's and Node's names for a handshake that failed or a certificate that is not to be trusted. */
function isTlsError(code: string): boolean {
  return /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|EPROTO$|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA$|INVALID_PURPOSE$|HOSTNAME_MISMATCH$)/.test(
    code,
  );
}
