// Prometheus' error types, and the status that goes with each.

import { ParseError, QueryError } from "#/lib/promql/errors.ts";

export type ApiErrorCode = "bad_data" | "execution" | "timeout" | "canceled" | "unavailable";

const statuses: Readonly<Record<ApiErrorCode, number>> = {
  bad_data: 400,
  execution: 422,
  canceled: 499,
  timeout: 503,
  unavailable: 503,
};

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: ApiErrorCode;

  constructor(code: ApiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get status(): number {
    return statuses[this.code];
  }
}

/** Undefined for what is no fault of the query or its data: a bug, which goes to the server's error handler. */
export function apiErrorOf(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (error instanceof ParseError) return new ApiError("bad_data", `invalid parameter "query": ${error.message}`);
  if (error instanceof QueryError) {
    return new ApiError(error.code === "parse" ? "bad_data" : error.code, error.message, { cause: error });
  }
  return undefined;
}
