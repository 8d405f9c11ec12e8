// What is sent to a target: made once a URL, because it is the same scrape after scrape.

import { Buffer } from "node:buffer";
import { isIP } from "node:net";

import { version } from "#/lib/telemetry/version.ts";
import type { Endpoint } from "#/secondary/scrape/http/connection.ts";
import { encodingsOffered } from "#/secondary/scrape/http/decompress.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";
import { excerpt } from "#/secondary/scrape/http/head.ts";
import { decoded, type HttpProxy, hostOf, type ProxyChoice } from "#/secondary/scrape/http/proxy.ts";
import type { TlsSetup } from "#/secondary/scrape/http/tls.ts";
import { HalvedCache } from "#/secondary/scrape/interned.ts";

/** As Prometheus 3 sends it: OpenMetrics first, then the text format, with UTF-8 names where the target can. */
const accept = [
  "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6",
  "application/openmetrics-text;version=1.0.0;q=0.5",
  "application/openmetrics-text;version=0.0.1;q=0.4",
  "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3",
  "text/plain;version=0.0.4;q=0.2",
  "*/*;q=0.1",
].join(",");

const defaultPorts = { "http:": 80, "https:": 443 } as const;

/** Four times a full secondary's targets, 1 kB each. */
const plannedMax = 20_000;

/** Shorter texts are found in every sentence, and are no secrets worth the name. */
const secretLengthMin = 4;

export interface PlannedRequest {
  readonly url: URL;
  readonly endpoint: Endpoint;
  /** All of the head but the timeout. */
  readonly head: string;
  /** Whether the head has the scrape config's credentials, if there are any. */
  readonly trusted: boolean;
  /** What the body had the last time it was asked for. */
  bodyBytes: number;
}

/** What the requests of a scrape config have in common. Lines are without their ends. */
export interface RequestParts {
  /** Of connections that may be used for one another. */
  readonly group: string;
  readonly tls: TlsSetup;
  readonly proxy: ProxyChoice | undefined;
  /** Of CONNECT. */
  readonly connectLines: readonly string[];
  readonly followRedirects: boolean;
  readonly compression: boolean;
  readonly headers: readonly string[];
  /** Lines that go to the target alone, and to nobody whom it redirects to. */
  readonly credentials: readonly string[];
  readonly hasAuthorization: boolean;
  readonly secrets: readonly string[];
}

export class Setup {
  readonly followRedirects: boolean;
  readonly #parts: RequestParts;
  readonly #common: readonly string[];
  readonly #secrets: readonly string[];
  readonly #planned = new HalvedCache<PlannedRequest>({ weightMax: plannedMax });

  constructor(parts: RequestParts) {
    this.followRedirects = parts.followRedirects;
    this.#parts = parts;
    this.#common = [
      `User-Agent: Heliograph/${version}`,
      `Accept: ${accept}`,
      `Accept-Encoding: ${parts.compression ? encodingsOffered : "identity"}`,
      ...parts.headers,
    ];
    // The longest first: one may be a part of another.
    this.#secrets = parts.secrets
      .filter(({ length }) => length >= secretLengthMin)
      .toSorted((a, b) => b.length - a.length);
  }

  /** Throws FetchError. */
  plan(text: string): PlannedRequest {
    let found = this.#planned.get(text);
    if (!found) this.#planned.set(text, (found = this.#plan(parsed(text), true)));
    return found;
  }

  /**
   * Where a target of `first` sends a scrape on to. Its credentials go along to its own host and domains below it, as with
   * Go's client, but never from https to http; once left out they stay out. Throws FetchError.
   */
  redirected(location: string, from: PlannedRequest, first: PlannedRequest): PlannedRequest {
    const url = parsed(location, from.url);
    return this.#plan(url, from.trusted && mayBeTrusted(url, first.url));
  }

  /** A sentence without secrets, which a target may have echoed. */
  redact(text: string): string {
    return this.#secrets.reduce((rest, secret) => rest.replaceAll(secret, "<secret>"), text);
  }

  #plan(url: URL, trusted: boolean): PlannedRequest {
    const proxy = this.#parts.proxy?.(url);
    const endpoint = this.#endpoint(url, proxy);
    return { url, endpoint, head: this.#head(url, trusted, proxy), trusted, bodyBytes: 0 };
  }

  #endpoint(url: URL, proxy: HttpProxy | undefined): Endpoint {
    const { connectLines, group, tls } = this.#parts;
    const host = hostOf(url);
    const port = url.port === "" ? defaultPorts[url.protocol as keyof typeof defaultPorts] : Number(url.port);
    const secure = url.protocol === "https:";
    const dialled = proxy ?? { host, port, isAddress: isIP(host) !== 0 };
    // Through a proxy all plain targets share connections; a tunnel leads to one of them.
    const key = !proxy
      ? `${group} ${url.origin}`
      : secure
        ? `${group} ${proxy.shown} ${url.origin}`
        : `${group} ${proxy.shown}`;
    const authority = `${url.hostname}:${port}`;
    return {
      key,
      group,
      host: dialled.host,
      port: dialled.port,
      isAddress: dialled.isAddress,
      ...(secure && { tls, tlsHost: host }),
      ...(proxy && { proxy: proxy.shown }),
      ...(proxy && secure && { connect: connectHead(authority, proxy, connectLines) }),
    };
  }

  /** A URL's parts hold ASCII without blanks and controls; that is what makes this safe. */
  #head(url: URL, trusted: boolean, proxy: HttpProxy | undefined): string {
    const absolute = proxy && url.protocol === "http:";
    const lines = [
      `GET ${absolute ? url.origin : ""}${url.pathname}${url.search} HTTP/1.1`,
      `Host: ${url.host}`,
      ...this.#common,
    ];
    if (url.username !== "" || url.password !== "") {
      const user = `${decoded(url.username)}:${decoded(url.password)}`;
      lines.push(`Authorization: Basic ${Buffer.from(user).toString("base64")}`);
      if (trusted) lines.push(...this.#parts.credentials.slice(this.#parts.hasAuthorization ? 1 : 0));
    } else if (trusted) lines.push(...this.#parts.credentials);
    if (absolute && proxy.authorization !== "") lines.push(proxy.authorization);
    return `${lines.join("\r\n")}\r\nX-Prometheus-Scrape-Timeout-Seconds: `;
  }
}

export function requestBytes(planned: PlannedRequest, timeoutMs: number): string {
  return `${planned.head}${timeoutMs / 1000}\r\n\r\n`;
}

function connectHead(authority: string, proxy: HttpProxy, lines: readonly string[]): string {
  const all = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, `User-Agent: Heliograph/${version}`, ...lines];
  if (proxy.authorization !== "") all.push(proxy.authorization);
  return `${all.join("\r\n")}\r\n\r\n`;
}

/** `base` is what a redirect is relative to. Throws FetchError (failed_name). */
function parsed(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (url && (url.protocol === "http:" || url.protocol === "https:")) return url;
  throw new FetchError("failed_name", `expected an http or https URL, got ${excerpt(text)}`);
}

function mayBeTrusted(url: URL, first: URL): boolean {
  if (first.protocol === "https:" && url.protocol !== "https:") return false;
  return url.hostname === first.hostname || (isIP(hostOf(first)) === 0 && url.hostname.endsWith(`.${first.hostname}`));
}
