// Which proxy a target is reached through: as Go's client decides it (golang.org/x/net/http/httpproxy), because people's NO_PROXY
// was written for that.

import { BlockList, isIP } from "node:net";
import { FetchError } from "#/secondary/scrape/http/error.ts";

/** What the environment says: HTTP_PROXY, HTTPS_PROXY, NO_PROXY. */
export interface ProxyEnvironment {
  readonly http?: string | undefined;
  readonly https?: string | undefined;
  readonly no?: string | undefined;
}

export function proxyEnvironmentOf(env: Readonly<Record<string, string | undefined>>): ProxyEnvironment {
  return {
    http: env.HTTP_PROXY || env.http_proxy,
    https: env.HTTPS_PROXY || env.https_proxy,
    no: env.NO_PROXY || env.no_proxy,
  };
}

export interface HttpProxy {
  readonly host: string;
  readonly port: number;
  readonly isAddress: boolean;
  /** For people: without a password. */
  readonly shown: string;
  /** A line of the request's head, or "". */
  readonly authorization: string;
}

/** The proxy for a URL; undefined when it is spoken to directly. Throws FetchError (failed_connect). */
export type ProxyChoice = (url: URL) => HttpProxy | undefined;

export function fixedProxy(text: string, noProxy: string): ProxyChoice {
  const proxy = parseProxy(text, "proxy_url");
  if (noProxy === "") return () => proxy;
  const excepted = exceptionsOf(noProxy);
  return (url) => (excepted(url) ? undefined : proxy);
}

export function environmentProxy({ http, https, no = "" }: ProxyEnvironment): ProxyChoice {
  const excepted = exceptionsOf(no);
  return (url) => {
    const [text, name] = url.protocol === "https:" ? [https, "HTTPS_PROXY"] : [http, "HTTP_PROXY"];
    return text && !excepted(url) ? parseProxy(text, name) : undefined;
  };
}

/** As curl and Go have it, the scheme may be missing. */
function parseProxy(text: string, source: string): HttpProxy {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url?.protocol !== "http:") {
    const got = url ? `${url.protocol}//` : "none";
    throw new FetchError("failed_connect", `${source}: expected a proxy like http://proxy.example:3128, got ${got}`);
  }
  const host = hostOf(url);
  const port = url.port === "" ? 80 : Number(url.port);
  const user = `${decoded(url.username)}:${decoded(url.password)}`;
  return {
    host,
    port,
    isAddress: isIP(host) !== 0,
    shown: `${url.hostname}:${port}`,
    authorization: user === ":" ? "" : `Proxy-Authorization: Basic ${Buffer.from(user).toString("base64")}`,
  };
}

/** Without the brackets of an IPv6 address. */
export function hostOf(url: URL): string {
  return url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
}

export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // A per cent sign that escapes nothing stands for itself.
  }
}

/** Whether a URL is excepted by a list of hosts, domains, addresses and networks. This host itself always is. */
function exceptionsOf(list: string): (url: URL) => boolean {
  const networks = new BlockList();
  const tests: ((host: string, port: string) => boolean)[] = [];
  for (const entry of list
    .toLowerCase()
    .split(",")
    .map((part) => part.trim())) {
    if (entry === "") continue;
    if (entry === "*") return () => true;
    const [, network, bits] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(entry) ?? [];
    if (network !== undefined && isIP(network) !== 0) {
      if (Number(bits) <= (isIP(network) === 6 ? 128 : 32)) networks.addSubnet(network, Number(bits), family(network));
      continue;
    }
    const [, bracketed, bare, port = ""] =
      /^(?:\[(.+)\]|([^[\]]+?))(?::(\d+))?$/.exec(isIP(entry) ? `[${entry}]` : entry) ?? [];
    const name = bracketed ?? bare;
    if (name === undefined) continue;
    const suffix = name.replace(/^\*(?=\.)/, "");
    const samePort = (other: string) => port === "" || port === other;
    if (suffix.startsWith(".")) tests.push((host, p) => samePort(p) && host.endsWith(suffix));
    else if (isIP(name)) tests.push((host, p) => samePort(p) && host === name);
    else tests.push((host, p) => samePort(p) && (host === name || host.endsWith(`.${name}`)));
  }
  return (url) => {
    const host = hostOf(url).toLowerCase();
    if (host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."))) return true;
    if (isIP(host) !== 0 && networks.check(host, family(host))) return true;
    const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
    return tests.some((test) => test(host, port));
  };
}

function family(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 6 ? "ipv6" : "ipv4";
}
