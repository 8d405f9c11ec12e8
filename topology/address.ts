// Hosts and ports, as they are written in the topology file and in the lists of targets.

export interface HostPort {
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  /** Undefined when there is none. */
  readonly port: number | undefined;
}

/** A host name as DNS or an IPv4 address has it; other scripts pass, what would change the meaning of a URL does not. */
const hostPattern = /^[^\s:/?#@[\]%<>\\^`{|}"]{1,253}$/;
const bracketed = /^\[([0-9a-fA-F:.]{2,45})\](?::(\d{1,5}))?$/;

/** `host`, `host:port`, `[v6]` or `[v6]:port`; undefined when it is none of these or the port is over 65535. */
export function splitHostPort(text: string): HostPort | undefined {
  const [, v6, v6Port] = bracketed.exec(text) ?? [];
  if (v6 !== undefined) return v6.includes(":") ? withPort(v6, v6Port) : undefined;
  const [host, port, ...more] = text.split(":");
  if (more.length > 0 || !hostPattern.test(host!) || port === "") return undefined;
  return withPort(host!, port);
}

function withPort(host: string, portText: string | undefined): HostPort | undefined {
  if (portText === undefined) return { host, port: undefined };
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : Number.NaN;
  return port <= 65_535 ? { host, port } : undefined;
}

/** Why a target's address is not one; undefined when it is. A port may be missing: the scheme has one. */
export function targetAddressFault(address: string): string | undefined {
  if (/^https?:\/\//i.test(address) || address.includes("/")) {
    return "expected host:port alone; `scheme` and `metrics_path` of the scrape config have the rest";
  }
  const split = splitHostPort(address);
  if (!split) {
    const bareV6 = /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(address);
    return bareV6
      ? "expected an IPv6 address in brackets, like [::1]:9100"
      : "expected host:port with a port up to 65535";
  }
  return split.port === 0 ? "expected a port from 1 to 65535" : undefined;
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** All addresses of the host it is on. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || /^[0:]+$/.test(host);
}

/** Of a URL like `tls://nats.example:4222`; undefined when it has none. */
export function urlHostPort(url: string): HostPort | undefined {
  return splitHostPort(
    url
      .replace(/^[\w-]+:\/\//, "")
      .replace(/^[^@]*@/, "")
      .replace(/\/.*$/, ""),
  );
}
