// What is sent to a target: made once a URL, because it is the same scrape after scrape.

import { Buffer } from "node:buffer";
import { isIP } from "node:net";

import { version } from "#/lib/telemetry/version.ts";
import type { Endpoint } from "#/secondary/scrape/http/connection.ts";
import { encodingsOffered } from "#/secondary/scrape/http/decompress.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";
import { excerpt } from "#/secondary/scrape/http/head.ts";

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

export interface PlannedRequest {
  readonly url: URL;
  readonly endpoint: Endpoint;
  /** All of the head but the timeout. */
  readonly head: string;
  /** What the body had the last time it was asked for. */
  bodyBytes: number;
}

/** `base` is what a redirect is relative to. Throws FetchError (failed_name). */
export function planRequest(text: string, base?: URL): PlannedRequest {
  const url = URL.parse(text, base?.href);
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new FetchError("failed_name", `expected an http or https URL, got ${excerpt(text)}`);
  }
  const host = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  const endpoint: Endpoint = {
    origin: url.origin,
    host,
    port: url.port === "" ? defaultPorts[url.protocol] : Number(url.port),
    secure: url.protocol === "https:",
    isAddress: isIP(host) !== 0,
  };
  return { url, endpoint, head: headOf(url), bodyBytes: 0 };
}

export function requestBytes(planned: PlannedRequest, timeoutMs: number): string {
  return `${planned.head}${timeoutMs / 1000}\r\n\r\n`;
}

/** A URL's parts hold ASCII without blanks and controls; that is what makes this safe. */
function headOf(url: URL): string {
  const lines = [
    `GET ${url.pathname}${url.search} HTTP/1.1`,
    `Host: ${url.host}`,
    `User-Agent: Heliograph/${version}`,
    `Accept: ${accept}`,
    `Accept-Encoding: ${encodingsOffered}`,
  ];
  if (url.username !== "" || url.password !== "") {
    const user = `${decoded(url.username)}:${decoded(url.password)}`;
    lines.push(`Authorization: Basic ${Buffer.from(user).toString("base64")}`);
  }
  return `${lines.join("\r\n")}\r\nX-Prometheus-Scrape-Timeout-Seconds: `;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // A per cent sign that escapes nothing stands for itself.
  }
}
