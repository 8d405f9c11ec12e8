// Asks a server of ours over HTTP: small requests, whole answers, and errors that say who did not answer.

import { Buffer } from "node:buffer";
import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { MiB } from "#/lib/bytes/units.ts";

/** More than a terminal will ever show, and less than would hurt. */
const answerBytesMax = 256 * MiB;

export type CallErrorCode = "unreachable" | "too_large";

export class CallError extends Error {
  override readonly name = "CallError";
  readonly code: CallErrorCode;

  constructor(code: CallErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface CallOptions {
  readonly method?: "GET" | "POST" | "DELETE";
  /** Sent as a form. */
  readonly form?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Any status is an answer. Throws CallError. */
export function call(url: string | URL, { method = "GET", form, timeoutMs }: CallOptions): Promise<Answer> {
  const target = new URL(url);
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      const late = error.name === "TimeoutError" || error.name === "AbortError";
      const why = late ? `nothing within ${timeoutMs / 1000} s` : (error.code ?? error.message);
      reject(new CallError("unreachable", `${target.origin} does not answer (${why})`, { cause: error }));
    };
    const sent = (target.protocol === "https:" ? requestTls : requestPlain)(target, {
      method: form ? "POST" : method,
      ...(form && { headers: { "content-type": "application/x-www-form-urlencoded" } }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    sent.on("error", fail);
    sent.on("response", (response) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on("error", fail);
      response.on("data", (part: Buffer) => {
        bytes += part.length;
        parts.push(part);
        if (bytes <= answerBytesMax) return;
        sent.destroy();
        reject(new CallError("too_large", `${target.origin}: the answer is beyond ${answerBytesMax / MiB} MiB`));
      });
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString("utf8") });
      });
    });
    sent.end(form && new URLSearchParams(form).toString());
  });
}

/** The answer's JSON when the status is 200. Throws CallError, also when it is another. */
export async function getJson<T>(url: string, options: CallOptions): Promise<T> {
  const { status, body } = await call(url, options);
  if (status !== 200) throw new CallError("unreachable", `${url} answered ${status}: ${body.slice(0, 200).trim()}`);
  return JSON.parse(body) as T;
}
