// Prints the configuration of a NATS server of the topology: the hub's, or that of one data centre.

import { dirname, resolve } from "node:path";
import { complain } from "#/cli/command.ts";
import { exitCodes, type ParsedOptions, UsageError } from "#/cli/options.ts";
import { loadOrComplain } from "#/cli/topology/topology.ts";
import { NatsConfigError, readPassword, renderDatacenterConfig, renderHubConfig } from "#/topology/nats.ts";
import type { TlsFiles, Topology } from "#/topology/schema.ts";

export async function runNats(options: ParsedOptions): Promise<number> {
  const datacenter = options.text("datacenter");
  if (options.isSet("hub") === (datacenter !== undefined)) {
    throw new UsageError("say which: --hub, or --datacenter NAME");
  }
  const file = options.positionals[0]!;
  const loaded = await loadOrComplain(file);
  if (!loaded) return exitCodes.badTopology;
  try {
    const render = datacenter === undefined ? renderHub : renderDatacenter;
    process.stdout.write(await render(loaded.topology, options, dirname(resolve(file))));
    return exitCodes.ok;
  } catch (error) {
    if (!(error instanceof NatsConfigError)) throw error;
    complain(`heliograph topology nats: ${error.message}`);
    return error.code === "unknown_datacenter" ? exitCodes.usage : exitCodes.failed;
  }
}

async function renderHub(topology: Topology, options: ParsedOptions, folder: string): Promise<string> {
  const { nats } = topology.global;
  const advertise = options.text("leaf-advertise");
  const leafPasswords: Record<string, string> = {};
  for (const { name, nats: own } of topology.datacenters) {
    leafPasswords[name] = await passwordOf(
      own.leaf_password_file,
      `datacenters ${name}: nats.leaf_password_file`,
      folder,
    );
  }
  return renderHubConfig(topology, {
    ...serverOptions(options, nats.servers[0]!),
    leafListen: options.text("leaf-listen") ?? hostPortOf(nats.leaf_servers[0]!),
    ...(advertise !== undefined && { leafAdvertise: advertise }),
    globalPassword: await passwordOf(nats.password_file, "global.nats.password_file", folder),
    leafPasswords,
  });
}

async function renderDatacenter(topology: Topology, options: ParsedOptions, folder: string): Promise<string> {
  const name = options.required("datacenter");
  const datacenter = topology.datacenters.find((candidate) => candidate.name === name);
  if (!datacenter) {
    const known = topology.datacenters.map((candidate) => candidate.name).join(", ");
    throw new NatsConfigError("unknown_datacenter", `no data centre is named ${name}; known: ${known}`);
  }
  const { nats } = datacenter;
  const where = `datacenters ${name}: nats`;
  return renderDatacenterConfig(topology, name, {
    ...serverOptions(options, nats.servers[0]!),
    password: await passwordOf(nats.password_file, `${where}.password_file`, folder),
    leafPassword: await passwordOf(nats.leaf_password_file, `${where}.leaf_password_file`, folder),
  });
}

/** What both have, with what the topology says as defaults. */
function serverOptions(options: ParsedOptions, server: string) {
  const [serverName, monitor, cluster] = [
    options.text("server-name"),
    options.text("monitor"),
    options.text("cluster"),
  ];
  const routes = options.list("route");
  if ((cluster === undefined) !== (routes.length === 0)) throw new UsageError("--cluster and --route go together");
  if (cluster !== undefined && serverName === undefined) throw new UsageError("--cluster needs --server-name");
  const tls = tlsFiles(options);
  if (!tls && server.startsWith("tls://")) {
    throw new UsageError(`the topology file says ${server}: --tls-ca, --tls-cert and --tls-key are needed`);
  }
  return {
    listen: options.text("listen") ?? hostPortOf(server),
    storeDir: options.required("store"),
    knowsSync: options.isSet("knows-sync"),
    ...(serverName !== undefined && { serverName }),
    ...(monitor !== undefined && { monitor }),
    ...(cluster !== undefined && { cluster: { name: "heliograph", listen: cluster, routes } }),
    ...(tls && { tls }),
  };
}

function tlsFiles(options: ParsedOptions): TlsFiles | undefined {
  const [ca, cert, key] = [options.text("tls-ca"), options.text("tls-cert"), options.text("tls-key")];
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  if (ca === undefined || cert === undefined || key === undefined) {
    throw new UsageError("--tls-ca, --tls-cert and --tls-key go together");
  }
  return { ca_file: ca, cert_file: cert, key_file: key };
}

async function passwordOf(file: string | undefined, key: string, folder: string): Promise<string> {
  if (file === undefined) throw new NatsConfigError("missing_password", `the topology file has no ${key}`);
  return readPassword(resolve(folder, file));
}

function hostPortOf(url: string): string {
  return url.slice(url.indexOf("://") + 3);
}
