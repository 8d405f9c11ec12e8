// Configurations for the NATS servers of a topology: the hub's, and each data centre's own. They work on nats-server 2.9.10.
//
// A data centre's server joins the hub by an outgoing leaf connection, into an account of its own there: what one data
// centre can say never reaches another's streams. Both sides have passwords always, on a laptop too, because the accounts
// hang on the users. The rendered text holds passwords: write it with mode 0600.

import { readFile } from "node:fs/promises";
import { assert } from "#/lib/assert/assert.ts";
import { GiB } from "#/lib/bytes/units.ts";
import { type Datacenter, sizeBytes, type TlsFiles, type Topology } from "#/topology/schema.ts";

/** Of the account that holds the global pair's lease. */
export const hubLeaseUser = "global";

/** As whom a global reads a data centre's mirror at the hub. Its password is the globals'. */
export function hubUserOf(datacenter: string): string {
  return `global-${datacenter}`;
}

/** As whom a data centre's NATS servers join the hub. */
export function leafUserOf(datacenter: string): string {
  return `leaf-${datacenter}`;
}

export function accountOf(datacenter: string): string {
  return `DC_${datacenter.toUpperCase().replaceAll("-", "_")}`;
}

/** JetStream's domain at a data centre's own servers. */
export function domainOf(datacenter: Datacenter): string {
  return datacenter.nats.domain ?? datacenter.name;
}

export class NatsConfigError extends Error {
  override readonly name = "NatsConfigError";
  readonly code: "unreadable_password" | "empty_password" | "missing_password" | "unknown_datacenter";

  constructor(code: NatsConfigError["code"], message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The first line of the file. Throws NatsConfigError. */
export async function readPassword(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new NatsConfigError("unreadable_password", `password file ${file} cannot be read: ${reason}`, { cause });
  }
  const password = text.split(/\r?\n/, 1)[0]!;
  if (password === "") throw new NatsConfigError("empty_password", `password file ${file} has an empty first line`);
  return password;
}

interface ServerOptions {
  /** Where clients connect, `host:port`. */
  readonly listen: string;
  /** Unique among the servers of a cluster, and required there. */
  readonly serverName?: string;
  readonly storeDir: string;
  /** The server's own certificate; clients must then show one too. */
  readonly tls?: TlsFiles;
  /** For replicas: 3. */
  readonly cluster?: { readonly name: string; readonly listen: string; readonly routes: readonly string[] };
  /** Where the server tells of itself over HTTP. It has no password: keep it on loopback. */
  readonly monitor?: string;
  /**
   * Only servers from 2.10 on know when to fsync. Without it the newest minutes of a log may be gone after a power cut
   * (the secondaries' spools send them again).
   */
  readonly knowsSync?: boolean;
}

export interface HubOptions extends ServerOptions {
  /** Where data centres' servers join. */
  readonly leafListen: string;
  /**
   * `host:port` that the hub tells them to come back to; the first of the topology's leaf servers unless given. 2.9.10 tells
   * it even when it should not, so it must be right, or lead nowhere.
   */
  readonly leafAdvertise?: string;
  readonly globalPassword: string;
  /** By data centre. */
  readonly leafPasswords: Readonly<Record<string, string>>;
}

export interface DatacenterOptions extends ServerOptions {
  /** Of the primaries' user here. */
  readonly password: string;
  /** Of this data centre at the hub. */
  readonly leafPassword: string;
  /** `host:port` each; the topology's leaf servers unless given. */
  readonly leafServers?: readonly string[];
}

/**
 * JetStream refuses streams that together might outgrow this, so it must hold every segment's full size several times over.
 * It is bookkeeping, not room on disk: that is the log's own `log_bytes_max`.
 */
const reservedSegments = 4;

/** Throws NatsConfigError. */
export function renderHubConfig(topology: Topology, options: HubOptions): string {
  const { leafListen, globalPassword, leafPasswords } = options;
  const advertise = options.leafAdvertise ?? hostPortOf(topology.global.nats.leaf_servers[0]!);
  const accounts: Fields = {
    GLOBAL: { jetstream: "enabled", users: [{ user: hubLeaseUser, password: globalPassword }] },
  };
  for (const datacenter of topology.datacenters) {
    const leafPassword = leafPasswords[datacenter.name];
    if (!leafPassword) {
      throw new NatsConfigError("missing_password", `data centre ${datacenter.name} has no password for the hub`);
    }
    accounts[accountOf(datacenter.name)] = {
      jetstream: "enabled",
      users: [
        { user: hubUserOf(datacenter.name), password: globalPassword },
        { user: leafUserOf(datacenter.name), password: leafPassword, permissions: leafPermissions(datacenter) },
      ],
    };
  }
  const leafnodes = { listen: leafListen, advertise, ...(options.tls && { tls: tlsBlock(options.tls) }) };
  return render(`The hub of the federation ${topology.federation}.`, {
    ...serverBlock(options, "hub", topology.datacenters),
    leafnodes,
    accounts,
  });
}

/** Throws NatsConfigError. */
export function renderDatacenterConfig(topology: Topology, name: string, options: DatacenterOptions): string {
  const datacenter = topology.datacenters.find((candidate) => candidate.name === name);
  if (!datacenter) {
    const known = topology.datacenters.map((candidate) => candidate.name).join(", ");
    throw new NatsConfigError("unknown_datacenter", `expected one of the data centres ${known}, got ${name}`);
  }
  const account = "HELIOGRAPH";
  const servers = options.leafServers ?? topology.global.nats.leaf_servers.map(hostPortOf);
  const user = `${encodeURIComponent(leafUserOf(name))}:${encodeURIComponent(options.leafPassword)}`;
  const remote = {
    urls: servers.map((server) => `${options.tls ? "tls" : "nats-leaf"}://${user}@${server}`),
    account,
    ...(options.tls && { tls: tlsFiles(options.tls) }),
  };
  return render(`The NATS servers of the data centre ${name}.`, {
    ...serverBlock(options, domainOf(datacenter), [datacenter]),
    leafnodes: { reconnect: 1, remotes: [remote] },
    accounts: {
      [account]: { jetstream: "enabled", users: [{ user: datacenter.nats.user, password: options.password }] },
    },
  });
}

/**
 * What a data centre may do at the hub: feed its own mirror, answer, and hear the reports of the globals. `STREAM.NAMES` is
 * there so that a global finds the log's present segment, whose name has the time at which the chain began.
 */
function leafPermissions(datacenter: Datacenter): Fields {
  const api = `$JS.${domainOf(datacenter)}.API`;
  return {
    publish: { allow: ["$JSC.R.>", `dlv.${datacenter.name}.>`, "_INBOX.>"] },
    subscribe: {
      allow: [
        `${api}.CONSUMER.>`,
        `${api}.STREAM.INFO.>`,
        `${api}.STREAM.NAMES`,
        "$JS.FC.>",
        "$JS.ACK.>",
        `wm.${datacenter.name}.>`,
      ],
    },
  };
}

function serverBlock(options: ServerOptions, domain: string, datacenters: readonly Datacenter[]): Fields {
  const { listen, serverName, storeDir, tls, cluster, monitor, knowsSync } = options;
  assert(!cluster || serverName, "a clustered server has a name");
  const logBytes = datacenters.map((datacenter) => sizeBytes(datacenter.nats.log_bytes_max));
  const reservedBytes = logBytes.includes(0)
    ? 0
    : GiB + reservedSegments * logBytes.reduce((sum, bytes) => sum + bytes, 0);
  return {
    listen,
    ...(serverName && { server_name: serverName }),
    ...(monitor && { http: monitor }),
    // An entry of 4 MiB with its headers, and room to grow.
    max_payload: bare("8MB"),
    // A reader may ask for 16 entries of 4 MiB at once.
    max_pending: bare("128MB"),
    write_deadline: "10s",
    ping_interval: "5s",
    ping_max: 2,
    jetstream: {
      store_dir: storeDir,
      domain,
      max_mem: bare("256MB"),
      ...(reservedBytes > 0 && { max_file: reservedBytes }),
      ...(knowsSync && { sync_interval: cluster ? "1s" : bare("always") }),
    },
    ...(tls && { tls: tlsBlock(tls) }),
    ...(cluster && { cluster: { name: cluster.name, listen: cluster.listen, routes: [...cluster.routes] } }),
  };
}

function tlsFiles(files: TlsFiles): Fields {
  return { ca_file: files.ca_file, cert_file: files.cert_file, key_file: files.key_file };
}

function tlsBlock(files: TlsFiles): Fields {
  return { ...tlsFiles(files), verify: true };
}

/** `nats-leaf://hub.example:7422` without its scheme. */
function hostPortOf(url: string): string {
  return url.slice(url.indexOf("://") + 3);
}

interface Fields {
  [key: string]: Value;
}
type Value = string | number | boolean | Bare | Fields | readonly Value[];

/** A word that NATS wants without quotes: sizes and keywords. */
interface Bare {
  readonly bare: string;
}
const bare = (word: string): Bare => ({ bare: word });
const isBare = (value: object): value is Bare => "bare" in value;

function render(title: string, fields: Fields): string {
  const lines = Object.entries(fields).map(([key, value]) => `${key}: ${renderValue(value, "")}\n`);
  return `# ${title} Made by Heliograph from the topology file; it holds passwords.\n${lines.join("")}`;
}

function renderValue(value: Value, indent: string): string {
  // Quotes and backslashes are escaped there as in JSON.
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    return `[\n${value.map((item) => `${deeper}${renderValue(item, deeper)}\n`).join("")}${indent}]`;
  }
  const fields = value as Bare | Fields;
  if (isBare(fields)) return (fields as Bare).bare;
  const lines = Object.entries(fields).map(([key, item]) => `${deeper}${key}: ${renderValue(item, deeper)}\n`);
  return `{\n${lines.join("")}${indent}}`;
}
