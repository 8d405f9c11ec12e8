// What must hold among the HTTP keys of a scrape config: Prometheus' checks, and what would fail every scrape. No message here
// shows what may be a secret.

import { X509Certificate } from "node:crypto";
import { headerTokenPattern, httpSettingsBytesMax, isHeaderValue, tlsVersions } from "#/lib/model/http.ts";
import { splitHostPort } from "#/topology/address.ts";
import { type HttpConfig, httpOf } from "#/topology/http.ts";
import type { Finding, Path } from "#/topology/problem.ts";

/** Headers that a scrape sets itself or that have keys of their own, as in Prometheus (common/config, headers.go). */
const reservedHeaders: ReadonlySet<string> = new Set([
  "authorization",
  "host",
  "content-encoding",
  "content-length",
  "content-type",
  "user-agent",
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "www-authenticate",
  "accept-encoding",
  "x-prometheus-remote-write-version",
  "x-prometheus-remote-read-version",
  "x-prometheus-scrape-timeout-seconds",
  "x-amz-date",
  "x-amz-security-token",
  "x-amz-content-sha256",
  // Beyond Prometheus: these say where a request ends, or what becomes of its connection.
  "expect",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Of one scrape config: each is a line of every request. */
const headersMax = 64;

export function checkHttp(config: HttpConfig & { readonly job_name: string }, path: Path): Finding[] {
  const findings = [
    ...checkAuthorization(config, path),
    ...checkTls(config, path),
    ...checkHeaders(config, path),
    ...checkProxy(config, path),
  ];
  const bytes = Buffer.byteLength(JSON.stringify(httpOf(config) ?? {}));
  if (bytes > httpSettingsBytesMax) {
    const message = `expected at most ${httpSettingsBytesMax} bytes of HTTP settings, got ${bytes}; put certificates into files`;
    findings.push(error(path, message));
  }
  return findings;
}

/** All but the first of those that are set. */
function beyondOne(path: Path, where: Readonly<Record<string, unknown>>, keys: readonly string[]): Finding[] {
  const set = keys.filter((key) => where[key] !== undefined && where[key] !== "");
  return set.slice(1).map((key) => error([...path, key], `expected one of ${listed(keys)}, got ${set[0]} too`, true));
}

function listed(keys: readonly string[]): string {
  return `${keys.slice(0, -1).join(", ")} and ${keys.at(-1)}`;
}

function checkAuthorization(config: HttpConfig, path: Path): Finding[] {
  const { authorization, basic_auth } = config;
  const findings = beyondOne(path, config, ["basic_auth", "authorization", "bearer_token", "bearer_token_file"]);
  if (basic_auth) {
    const at = [...path, "basic_auth"];
    findings.push(...beyondOne(at, basic_auth, ["username", "username_file"]));
    findings.push(...beyondOne(at, basic_auth, ["password", "password_file"]));
    if (basic_auth.username?.includes(":")) {
      findings.push(
        error([...at, "username"], "expected a name without a colon, which ends the name in HTTP's basic form"),
      );
    }
  }
  if (authorization) {
    const at = [...path, "authorization"];
    findings.push(...beyondOne(at, authorization, ["credentials", "credentials_file"]));
    if (!authorization.credentials && !authorization.credentials_file) {
      findings.push(error(at, "expected credentials or credentials_file, got neither"));
    }
    const type = authorization.type.trim();
    if (type.toLowerCase() === "basic") {
      findings.push(error([...at, "type"], "expected another scheme than Basic; use basic_auth for it"));
    } else if (type !== "" && !headerTokenPattern.test(type)) {
      findings.push(error([...at, "type"], "expected a scheme like Bearer, of letters, digits and hyphens"));
    }
    findings.push(...checkValue(authorization.credentials, [...at, "credentials"]));
  }
  findings.push(...checkValue(config.bearer_token, [...path, "bearer_token"]));
  return findings;
}

/** Whether the text may stand in a header. */
function checkValue(text: string | undefined, path: Path): Finding[] {
  if (text === undefined || (isHeaderValue(text) && text.isWellFormed())) return [];
  return [error(path, "expected one line without control characters, which a header cannot hold")];
}

function checkTls({ tls_config: config }: HttpConfig, path: Path): Finding[] {
  if (!config) return [];
  const at = [...path, "tls_config"];
  const findings = [
    ...beyondOne(at, config, ["ca", "ca_file"]),
    ...beyondOne(at, config, ["cert", "cert_file"]),
    ...beyondOne(at, config, ["key", "key_file"]),
  ];
  const hasCert = Boolean(config.cert || config.cert_file);
  if (hasCert !== Boolean(config.key || config.key_file)) {
    const message = hasCert
      ? "expected key or key_file beside a certificate"
      : "expected cert or cert_file beside a key";
    findings.push(error(at, `${message}, got neither`));
  }
  for (const key of ["ca", "cert"] as const) if (config[key]) findings.push(...checkPem(config[key], [...at, key]));
  if (config.server_name && /[^!-~]/.test(config.server_name)) {
    findings.push(error([...at, "server_name"], "expected a host's name or address, without blanks"));
  }
  const { max_version, min_version } = config;
  if (max_version && max_version < "TLS12" && !min_version) {
    findings.push(
      error([...at, "max_version"], `expected min_version beside ${max_version}: it is TLS12 when it is left out`),
    );
  }
  if (max_version && min_version && tlsVersions.indexOf(max_version) < tlsVersions.indexOf(min_version)) {
    findings.push(error([...at, "max_version"], `expected at least min_version (${min_version}), got ${max_version}`));
  }
  return findings;
}

function checkPem(text: string, path: Path): Finding[] {
  try {
    new X509Certificate(text);
    return [];
  } catch {
    return [error(path, "expected a certificate (PEM): lines from -----BEGIN CERTIFICATE----- on")];
  }
}

function checkHeaders({ http_headers = {}, proxy_connect_header = {} }: HttpConfig, path: Path): Finding[] {
  const findings: Finding[] = [];
  for (const [key, named] of [
    ["http_headers", http_headers],
    ["proxy_connect_header", proxy_connect_header],
  ] as const) {
    const names = Object.keys(named);
    if (names.length > headersMax) {
      findings.push(error([...path, key], `expected at most ${headersMax} headers, got ${names.length}`));
    }
    const seen = new Set<string>();
    for (const name of names.slice(0, headersMax)) {
      const at = [...path, key, name];
      const lower = name.toLowerCase();
      if (!headerTokenPattern.test(name))
        findings.push(error(at, "expected a header's name: letters, digits and hyphens", true));
      else if (seen.has(lower))
        findings.push(error(at, "expected each header once, whether its letters are small or capital", true));
      else if (key === "http_headers" && reservedHeaders.has(lower)) {
        findings.push(error(at, `the header ${name} is set by the scrape itself, or by a key of its own`, true));
      }
      seen.add(lower);
    }
  }
  for (const [name, { secrets, values }] of Object.entries(http_headers)) {
    const at = [...path, "http_headers", name];
    findings.push(...values.flatMap((text, i) => checkValue(text, [...at, "values", i])));
    findings.push(...secrets.flatMap((text, i) => checkValue(text, [...at, "secrets", i])));
  }
  for (const [name, values] of Object.entries(proxy_connect_header)) {
    findings.push(...values.flatMap((text, i) => checkValue(text, [...path, "proxy_connect_header", name, i])));
  }
  return findings;
}

function checkProxy(config: HttpConfig, path: Path): Finding[] {
  const { no_proxy, proxy_connect_header, proxy_from_environment, proxy_url } = config;
  const findings: Finding[] = [];
  const beside = (key: string, message: string) => findings.push(error([...path, key], message, true));
  if (proxy_from_environment && proxy_url) beside("proxy_url", "expected it without proxy_from_environment");
  if (proxy_from_environment && no_proxy) {
    beside("no_proxy", "expected it without proxy_from_environment: NO_PROXY says it there");
  }
  if (no_proxy && !proxy_url && !proxy_from_environment) beside("no_proxy", "expected proxy_url beside it, got none");
  if (proxy_connect_header && Object.keys(proxy_connect_header).length > 0 && !proxy_url && !proxy_from_environment) {
    beside("proxy_connect_header", "expected proxy_url or proxy_from_environment beside it, got neither");
  }
  const fault = proxy_url ? proxyFault(proxy_url) : undefined;
  if (fault) findings.push(error([...path, "proxy_url"], fault));
  return findings;
}

/** Why this is no proxy that can be used; the sentence does not repeat it, because a password may be in it. */
function proxyFault(text: string): string | undefined {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme && scheme !== "http") return `expected a proxy with http://, got ${scheme}://, which is not supported`;
  const url = scheme && URL.canParse(text) ? new URL(text) : undefined;
  const plain = url && (url.pathname === "/" || url.pathname === "") && url.search === "" && url.hash === "";
  if (plain && splitHostPort(url.host)) return undefined;
  return "expected a proxy like http://proxy.example:3128, or http://user:password@proxy.example:3128";
}

function error(path: Path, message: string, atKey = false): Finding {
  return { severity: "error", path, message, atKey };
}
