// How targets are spoken to, as a scrape config says it: Prometheus' keys and checks (common/config, HTTPClientConfig), and what
// becomes of them, settings that travel with the targets and secrets that do not.

import { z } from "zod";
import {
  type Authorization,
  type Given,
  type HeaderSetting,
  type HttpSettings,
  httpSettingsOf,
  type ProxySettings,
  type TlsSettings,
  tlsVersions,
} from "#/lib/model/http.ts";

const file = (what: string) => z.string().optional().describe(`${what}, read on the secondary's host.`);
const version = z.enum(tlsVersions).optional();

const headers = z.record(
  z.string(),
  z.strictObject({
    values: z.array(z.string()).default([]).describe("Values that anybody may see."),
    secrets: z.array(z.string()).default([]).describe("Values that are shown nowhere."),
    files: z.array(z.string()).default([]).describe("Files with a value each, read on the secondary's host."),
  }),
);

/** The keys of a scrape config that are about HTTP. */
export const httpShape = {
  basic_auth: z
    .strictObject({
      username: z.string().optional().describe("The user's name."),
      username_file: file("A file with the user's name"),
      password: z.string().optional().describe("The password."),
      password_file: file("A file with the password"),
    })
    .optional()
    .describe("A name and a password, sent with every scrape."),
  authorization: z
    .strictObject({
      type: z.string().default("Bearer").describe("The scheme of the Authorization header."),
      credentials: z.string().optional().describe("What stands behind the scheme."),
      credentials_file: file("A file with the credentials"),
    })
    .optional()
    .describe("Credentials of another kind, sent with every scrape."),
  bearer_token: z.string().optional().describe("The older form of authorization.credentials."),
  bearer_token_file: file("The older form of authorization.credentials_file: a file with the token"),
  tls_config: z
    .strictObject({
      ca: z.string().optional().describe("Certificates of the authorities that targets must be signed by (PEM)."),
      ca_file: file("A file with them; the system's authorities when neither is there"),
      cert: z.string().optional().describe("The certificate that is shown to targets (PEM)."),
      cert_file: file("A file with it"),
      key: z.string().optional().describe("The certificate's private key (PEM)."),
      key_file: file("A file with it"),
      server_name: z
        .string()
        .optional()
        .describe("The name in the targets' certificates, where it is not their host's."),
      insecure_skip_verify: z.boolean().default(false).describe("Take any certificate."),
      min_version: version.describe("The oldest TLS that is spoken; TLS12 when it is left out."),
      max_version: version.describe("The newest TLS that is spoken."),
    })
    .optional()
    .describe("TLS to targets with the scheme https."),
  http_headers: headers.optional().describe("Headers of one's own, by name, sent with every scrape."),
  proxy_url: z.string().optional().describe("The HTTP proxy through which targets are reached."),
  no_proxy: z
    .string()
    .optional()
    .describe("Hosts, domains, addresses and networks, with commas between, that are reached without it."),
  proxy_from_environment: z
    .boolean()
    .default(false)
    .describe("Take the proxy from the secondary's HTTP_PROXY, HTTPS_PROXY and NO_PROXY."),
  proxy_connect_header: z
    .record(z.string(), z.array(z.string()))
    .optional()
    .describe("Headers, by name, for the proxy when it is asked for a connection to an https target."),
  follow_redirects: z
    .boolean()
    .default(true)
    .describe("Follow redirects, up to nine; else a redirect fails the scrape."),
  enable_http2: z.boolean().optional().describe("Without effect: targets are scraped over HTTP/1.1."),
  enable_compression: z.boolean().default(true).describe("Offer the target to compress its answer."),
};

const httpObject = z.object(httpShape);
export type HttpConfig = z.infer<typeof httpObject>;

/** What of it is not the default; undefined when all of it is. No secret is in it. */
export function httpOf(config: HttpConfig & { readonly job_name: string }): HttpSettings | undefined {
  const authorization = authorizationOf(config);
  const headers = headersOf(config);
  const tls = tlsOf(config);
  const proxy = proxyOf(config);
  const { enable_compression: compression, follow_redirects: followRedirects } = config;
  if (!authorization && headers.length === 0 && !tls && !proxy && compression && followRedirects) return undefined;
  return httpSettingsOf({
    job: config.job_name,
    followRedirects,
    compression,
    ...(authorization && { authorization }),
    headers,
    ...(tls && { tls }),
    ...(proxy && { proxy }),
  });
}

function authorizationOf(config: HttpConfig): Authorization | undefined {
  const { authorization, basic_auth: basic, bearer_token, bearer_token_file } = config;
  if (basic) {
    return {
      type: "basic",
      username: basic.username_file ? { file: basic.username_file } : { text: basic.username ?? "" },
      password: secretOr(basic.password, basic.password_file, "basic_auth.password") ?? { text: "" },
    };
  }
  if (authorization) {
    const { credentials, credentials_file, type } = authorization;
    const given = secretOr(credentials, credentials_file, "authorization.credentials");
    return { type: "scheme", scheme: type.trim() || "Bearer", credentials: given ?? { text: "" } };
  }
  const token = secretOr(bearer_token, bearer_token_file, "bearer_token");
  return token && { type: "scheme", scheme: "Bearer", credentials: token };
}

/** The place of a secret instead of the secret; as in Prometheus an empty text is none. */
function secretOr(secret: string | undefined, path: string | undefined, place: string): Given | undefined {
  if (path) return { file: path };
  return secret ? { secret: place } : undefined;
}

function textOr(text: string | undefined, path: string | undefined): Given | undefined {
  if (path) return { file: path };
  return text ? { text } : undefined;
}

function headersOf({ http_headers = {} }: HttpConfig): HeaderSetting[] {
  return Object.entries(http_headers).map(([name, { files, secrets, values }]) => ({
    name,
    values: [
      ...values.map((text) => ({ text })),
      ...secrets.map((_, i) => ({ secret: headerPlace("http_headers", name, i) })),
      ...files.map((path) => ({ file: path })),
    ],
  }));
}

function headerPlace(key: "http_headers" | "proxy_connect_header", name: string, index: number): string {
  return key === "http_headers" ? `${key}.${name}.secrets[${index}]` : `${key}.${name}[${index}]`;
}

function tlsOf({ tls_config: config }: HttpConfig): TlsSettings | undefined {
  if (!config) return undefined;
  const { max_version: maxVersion, min_version: minVersion, server_name: serverName } = config;
  const ca = textOr(config.ca, config.ca_file);
  const cert = textOr(config.cert, config.cert_file);
  const key = secretOr(config.key, config.key_file, "tls_config.key");
  const insecureSkipVerify = config.insecure_skip_verify;
  if (!ca && !cert && !key && !serverName && !insecureSkipVerify && !minVersion && !maxVersion) return undefined;
  return {
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(serverName && { serverName }),
    insecureSkipVerify,
    ...(minVersion && { minVersion }),
    ...(maxVersion && { maxVersion }),
  };
}

function proxyOf(config: HttpConfig): ProxySettings | undefined {
  const { no_proxy: noProxy = "", proxy_connect_header = {}, proxy_from_environment, proxy_url } = config;
  if (!proxy_url && !proxy_from_environment) return undefined;
  const connectHeaders = Object.entries(proxy_connect_header).map(([name, values]) => ({
    name,
    values: values.map((_, i) => ({ secret: headerPlace("proxy_connect_header", name, i) })),
  }));
  // A URL with a user in it has a password in it.
  const url = proxy_url && (proxy_url.includes("@") ? { secret: "proxy_url" } : { text: proxy_url });
  return { ...(url && { url }), noProxy, connectHeaders };
}

/** What `httpOf` leaves out: the secrets of a scrape config, by their places. */
export function secretsOf(config: HttpConfig): ReadonlyMap<string, string> {
  const { authorization, basic_auth, bearer_token, http_headers = {}, proxy_connect_header = {}, proxy_url } = config;
  const secrets: (readonly [string, string | undefined])[] = [
    ["basic_auth.password", basic_auth?.password],
    ["authorization.credentials", authorization?.credentials],
    ["bearer_token", bearer_token],
    ["tls_config.key", config.tls_config?.key],
    ["proxy_url", proxy_url],
  ];
  for (const [name, header] of Object.entries(http_headers)) {
    secrets.push(...header.secrets.map((text, i) => [headerPlace("http_headers", name, i), text] as const));
  }
  for (const [name, values] of Object.entries(proxy_connect_header)) {
    secrets.push(...values.map((text, i) => [headerPlace("proxy_connect_header", name, i), text] as const));
  }
  return new Map(secrets.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** Of all scrape configs that a data centre has, by job and place. */
export function secretsByJob(
  configs: readonly (HttpConfig & { readonly job_name: string })[],
): ReadonlyMap<string, ReadonlyMap<string, string>> {
  return new Map(configs.map((config) => [config.job_name, secretsOf(config)]));
}

export function secretsOfAll(
  configs: readonly (HttpConfig & { readonly job_name: string })[],
): (job: string, place: string) => string | undefined {
  const byJob = secretsByJob(configs);
  return (job, place) => byJob.get(job)?.get(place);
}
