// Who listens where, and with what: ports that collide, and promise 6, that nothing listens or is spoken to beyond loopback
// without TLS and passwords.

import { isLoopback, isWildcard, splitHostPort, urlHostPort } from "#/topology/address.ts";
import { type Finding, formatPath, type Path, showValue } from "#/topology/problem.ts";
import type { Datacenter, Listener, Topology } from "#/topology/schema.ts";
import { addressOf } from "#/topology/schema.ts";

type Tier = "global" | "primary" | "secondary";

interface Endpoint {
  readonly tier: Tier;
  readonly process: string;
  readonly kind: "http" | "grpc";
  readonly listener: Listener;
  readonly path: Path;
  /** Processes that must be on one host when they listen on loopback, because they could not reach each other otherwise. */
  readonly loopbackHost: string;
}

export function checkNetwork(topology: Topology): readonly Finding[] {
  const endpoints = endpointsOf(topology);
  return [
    ...endpoints.flatMap((endpoint) => checkEndpoint(topology, endpoint)),
    ...checkCollisions(endpoints),
    ...checkTlsPair(topology),
    ...checkNats(topology),
  ];
}

function endpointsOf(topology: Topology): Endpoint[] {
  const endpoints: Endpoint[] = topology.global.pair.map(({ name, http }, index) => ({
    tier: "global",
    process: name,
    kind: "http",
    listener: http,
    path: ["global", "pair", index, "http"],
    loopbackHost: "loopback",
  }));
  for (const [d, datacenter] of topology.datacenters.entries()) {
    for (const [index, { name, http, grpc }] of datacenter.primaries.entries()) {
      const path = ["datacenters", d, "primaries", index];
      const shared = { tier: "primary", process: name, loopbackHost: "loopback" } as const;
      endpoints.push({ ...shared, kind: "http", listener: http, path: [...path, "http"] });
      endpoints.push({ ...shared, kind: "grpc", listener: grpc, path: [...path, "grpc"] });
    }
    // Nobody needs to reach a secondary, so equal loopback ports on hosts of their own are fine.
    const together = datacenter.primaries.every(({ grpc }) => isLoopback(hostOf(addressOf(grpc))));
    for (const [index, { name, http }] of datacenter.secondaries.entries()) {
      const path = ["datacenters", d, "secondaries", index, "http"];
      const loopbackHost = together ? "loopback" : `of ${name}`;
      endpoints.push({ tier: "secondary", process: name, kind: "http", listener: http, path, loopbackHost });
    }
  }
  return endpoints;
}

function hostOf(hostPort: string): string {
  return splitHostPort(hostPort)?.host ?? hostPort;
}

function checkEndpoint(topology: Topology, { tier, kind, listener, path }: Endpoint): Finding[] {
  const findings: Finding[] = [];
  for (const key of ["listen", "address"] as const) {
    const text = listener[key];
    if (text === undefined) continue;
    const split = splitHostPort(text);
    const at = [...path, key];
    if (!split) {
      findings.push({
        severity: "error",
        path: at,
        message: `expected host:port with a port up to 65535, got ${showValue(text)}`,
      });
    } else if (split.port === 0) {
      const message = "port 0 is any free port: nobody can know which";
      findings.push({ severity: "warning", path: at, message });
    }
  }
  const host = hostOf(listener.listen);
  if (!isLoopback(host) && !topology.tls[tier]) {
    const message =
      `expected a loopback address, because tls.${tier} is not set, got ${showValue(listener.listen)}; ` +
      `set tls.${tier} (ca_file, cert_file, key_file), or listen on 127.0.0.1`;
    findings.push({ severity: "error", path: [...path, "listen"], message });
  }
  if (isWildcard(hostOf(addressOf(listener))) && tier !== "secondary") {
    const who = kind === "grpc" ? "secondaries" : "others";
    const message = `expected an address that ${who} can reach, got none: ${listener.listen} is every address; set \`address\``;
    findings.push({ severity: kind === "grpc" ? "error" : "warning", path, message });
  }
  return findings;
}

/** Two that listen on the same port of the same host. Where the host cannot be known, nothing is said. */
function checkCollisions(endpoints: readonly Endpoint[]): Finding[] {
  const findings: Finding[] = [];
  const byHostAndPort = new Map<string, Endpoint[]>();
  for (const endpoint of endpoints) {
    const listen = splitHostPort(endpoint.listener.listen);
    if (!listen?.port) continue;
    const key = `${hostKey(endpoint, endpoints)} ${listen.port}`;
    const before = byHostAndPort.get(key) ?? [];
    const other = before.find((candidate) => overlap(hostOf(candidate.listener.listen), listen.host));
    if (other) {
      const message = `expected a port of its own, got ${listen.port}, where ${other.process} listens too (${formatPath(other.path)})`;
      findings.push({ severity: "error", path: [...endpoint.path, "listen"], message });
    }
    byHostAndPort.set(key, [...before, endpoint]);
  }
  return findings;
}

/** All listeners of a process are on one host: the one that is named, else the loopback's, else one of its own. */
function hostKey(endpoint: Endpoint, endpoints: readonly Endpoint[]): string {
  const own = endpoints.filter(({ process }) => process === endpoint.process);
  const hosts = own.map(({ listener }) => hostOf(addressOf(listener)));
  const named = hosts.find((host) => !isLoopback(host) && !isWildcard(host));
  if (named) return named.toLowerCase();
  return hosts.every((host) => isLoopback(host)) ? endpoint.loopbackHost : `of ${endpoint.process}`;
}

function overlap(a: string, b: string): boolean {
  const plain = (host: string) => (host === "localhost" ? "127.0.0.1" : host.toLowerCase());
  return isWildcard(a) || isWildcard(b) || plain(a) === plain(b);
}

/** Both ends of a stream must have certificates. */
function checkTlsPair(topology: Topology): Finding[] {
  const { primary, secondary } = topology.tls;
  if (Boolean(primary) === Boolean(secondary)) return [];
  const [missing, present] = primary ? ["secondary", "primary"] : ["primary", "secondary"];
  const message = `expected tls.${missing} too, because tls.${present} is set: each shows the other its certificate`;
  return [{ severity: "error", path: ["tls"], message }];
}

function checkNats(topology: Topology): Finding[] {
  const { nats } = topology.global;
  const hub: Path = ["global", "nats"];
  const findings = [
    ...checkServers(nats.servers, [...hub, "servers"], topology.tls.global ? undefined : "tls.global"),
    ...checkServers(nats.leaf_servers, [...hub, "leaf_servers"], undefined),
    ...checkPassword(nats.servers, nats.password_file, [...hub, "password_file"]),
  ];
  const used = new Map(serversWithPath(nats.servers, [...hub, "servers"]));
  for (const [d, datacenter] of topology.datacenters.entries()) {
    const path = ["datacenters", d, "nats"];
    findings.push(...checkDatacenterNats(topology, datacenter, path));
    for (const [server, at] of serversWithPath(datacenter.nats.servers, [...path, "servers"])) {
      const before = used.get(server);
      if (before) {
        const message = `expected servers of its own (each has one JetStream domain), got ${server}, which ${formatPath(before)} has too`;
        findings.push({ severity: "error", path: at, message });
      }
    }
    for (const [server, at] of serversWithPath(datacenter.nats.servers, [...path, "servers"])) used.set(server, at);
  }
  return findings;
}

function checkDatacenterNats(topology: Topology, datacenter: Datacenter, path: Path): Finding[] {
  const { nats } = datacenter;
  return [
    ...checkServers(nats.servers, [...path, "servers"], topology.tls.primary ? undefined : "tls.primary"),
    ...checkPassword(nats.servers, nats.password_file, [...path, "password_file"]),
    ...checkPassword(topology.global.nats.leaf_servers, nats.leaf_password_file, [...path, "leaf_password_file"]),
  ];
}

function checkServers(servers: readonly string[], path: Path, missingTls: string | undefined): Finding[] {
  return servers.flatMap((server, index): Finding[] => {
    const at = [...path, index];
    const split = urlHostPort(server);
    if (!split) {
      return [
        {
          severity: "error",
          path: at,
          message: `expected host:port with a port up to 65535, got ${showValue(server)}`,
        },
      ];
    }
    if (server.includes("@")) {
      const message = `expected no user and password in the URL, got ${showValue(server)}; passwords are in files`;
      return [{ severity: "error", path: at, message }];
    }
    if (isLoopback(split.host)) return [];
    if (!server.startsWith("tls://")) {
      const message = `expected tls://… beyond loopback, got ${showValue(server)}`;
      return [{ severity: "error", path: at, message }];
    }
    if (!missingTls) return [];
    const message = `${server} asks for certificates: set ${missingTls} (ca_file, cert_file, key_file)`;
    return [{ severity: "error", path: at, message }];
  });
}

function checkPassword(servers: readonly string[], file: string | undefined, path: Path): Finding[] {
  const beyond = servers.find((server) => !isLoopback(urlHostPort(server)?.host ?? ""));
  if (file !== undefined || beyond === undefined) return [];
  const message = `expected a file with a password, because ${showValue(beyond)} is beyond loopback, got nothing`;
  return [{ severity: "error", path, message }];
}

/** Loopback servers of two data centres may be on two hosts, so they are left out. */
function serversWithPath(servers: readonly string[], path: Path): [string, Path][] {
  return servers.flatMap((server, index): [string, Path][] => {
    const split = urlHostPort(server);
    if (!split || isLoopback(split.host)) return [];
    return [[`${split.host.toLowerCase()}:${split.port}`, [...path, index]]];
  });
}
