// What a proxy answers when it is asked for a connection to a target (CONNECT; RFC 9110, section 9.3.6): a head, behind which either the
// target is on the line, or nobody of use.

import { Buffer } from "node:buffer";
import { KiB } from "#/lib/bytes/units.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";
import { parseHead } from "#/secondary/scrape/http/head.ts";

/** Proxies say little; what is longer is no answer. */
const answerBytesMax = 16 * KiB;

export class TunnelAnswer {
  readonly #proxy: string;
  /** Whether the proxy was asked. */
  awaited = false;
  #text = "";

  /** `proxy` is how people are told which. */
  constructor(proxy: string) {
    this.#proxy = proxy;
  }

  /** True once the target is on the line. Throws FetchError. */
  push(bytes: Buffer): boolean {
    this.#text += bytes.toString("latin1");
    const end = this.#text.indexOf("\r\n\r\n");
    if (end < 0) {
      if (this.#text.length <= answerBytesMax) return false;
      throw new FetchError(
        "failed_connect",
        `the proxy ${this.#proxy}: expected an answer, got ${answerBytesMax} bytes of headers`,
      );
    }
    const { reason, status } = this.#head(this.#text.slice(0, end));
    if (status >= 100 && status < 200) {
      this.#text = this.#text.slice(end + 4);
      return this.push(nothing);
    }
    if (status < 200 || status > 299) {
      const answer = `HTTP status ${status} ${reason}`.trim();
      throw new FetchError("failed_connect", `the proxy ${this.#proxy} gave no connection to the target: ${answer}`);
    }
    // The client speaks first in TLS: these are not the target's.
    if (this.#text.length > end + 4) {
      throw new FetchError("failed_connect", `the proxy ${this.#proxy} sent bytes behind its answer to CONNECT`);
    }
    return true;
  }

  ended(error: Error | undefined): FetchError {
    const why = error ? `: ${error.message}` : "";
    return new FetchError("failed_connect", `the proxy ${this.#proxy} closed the connection without an answer${why}`);
  }

  #head(text: string) {
    try {
      // Whatever it says of a body: behind a CONNECT that succeeded there is none.
      return parseHead(text.replace(/\r\n(?:content-length|transfer-encoding):[^\r]*/gi, ""));
    } catch (cause) {
      const reason = (cause as Error).message;
      throw new FetchError("failed_connect", `the proxy ${this.#proxy}: ${reason}`, { cause });
    }
  }
}

const nothing = Buffer.alloc(0);
