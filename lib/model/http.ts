// How the targets of a scrape config are spoken to, where that is not the default: credentials, headers, TLS, a proxy.
//
// The primary takes this out of the topology file, and it travels with the targets through the log. So no secret is in it: a
// secret that stands in the topology file is named by its place there, and the secondary looks it up in its own copy. Paths of
// files travel; they are the secondary's.

import { contentId } from "#/lib/bytes/hash.ts";

/** A text that anybody may see, a file on the secondary's host, or the place of a secret in its scrape config. */
export type Given = { readonly text: string } | { readonly file: string } | { readonly secret: string };

export type Authorization =
  | { readonly type: "basic"; readonly username: Given; readonly password: Given }
  /** `scheme` as the header has it: Bearer. */
  | { readonly type: "scheme"; readonly scheme: string; readonly credentials: Given };

export interface HeaderSetting {
  readonly name: string;
  /** The header is sent once for each. */
  readonly values: readonly Given[];
}

export const tlsVersions = ["TLS10", "TLS11", "TLS12", "TLS13"] as const;
export type TlsVersion = (typeof tlsVersions)[number];

/** PEM where it is given; the system's authorities where `ca` is not. */
export interface TlsSettings {
  readonly ca?: Given;
  readonly cert?: Given;
  readonly key?: Given;
  /** The name that the target's certificate must have, and that is asked for; the host's unless given. */
  readonly serverName?: string;
  readonly insecureSkipVerify: boolean;
  readonly minVersion?: TlsVersion;
  readonly maxVersion?: TlsVersion;
}

export interface ProxySettings {
  /** Absent: what the secondary's environment says (HTTP_PROXY, HTTPS_PROXY, NO_PROXY). */
  readonly url?: Given;
  /** Hosts that are spoken to without it, as in NO_PROXY; "" for none. */
  readonly noProxy: string;
  readonly connectHeaders: readonly HeaderSetting[];
}

export interface HttpSettings {
  /** Equal for equal content, and only then. */
  readonly id: string;
  /** The scrape config in which the secrets stand. */
  readonly job: string;
  readonly followRedirects: boolean;
  readonly compression: boolean;
  readonly authorization?: Authorization;
  readonly headers: readonly HeaderSetting[];
  readonly tls?: TlsSettings;
  readonly proxy?: ProxySettings;
}

export type HttpContent = Omit<HttpSettings, "id">;

export function httpSettingsOf(content: HttpContent): HttpSettings {
  return { id: contentId(JSON.stringify(content)), ...content };
}

/** Of one scrape config, as it travels: certificates that are longer stand in a file. */
export const httpSettingsBytesMax = 65_536;

/** The name of a header, and the scheme of an Authorization (RFC 9110, section 5.6.2: token). */
export const headerTokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Whether the text can be a header's value (RFC 9110, section 5.5): none of its controls but the tab. */
export function isHeaderValue(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return !/[\0-\x08\x0a-\x1f\x7f]/.test(text);
}
