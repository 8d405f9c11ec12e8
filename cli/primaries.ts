// How a command finds the primaries that it asks: by the topology file, or by the address of one.

import { complain } from "#/cli/command.ts";
import { type Answer, CallError, type CallOptions, call } from "#/cli/http.ts";
import { type OptionDeclaration, type ParsedOptions, UsageError } from "#/cli/options.ts";
import { loadTopology } from "#/topology/file.ts";
import { formatProblem, TopologyInvalid } from "#/topology/problem.ts";
import { addressOf, type Topology } from "#/topology/schema.ts";

export interface PrimaryAddress {
  /** "" when only the address is known. */
  readonly name: string;
  /** `http://host:port`. */
  readonly url: string;
}

/** For a command that asks primaries. */
export const primaryOptions: Readonly<Record<string, OptionDeclaration>> = {
  topology: { value: "FILE", help: "The topology file; it names the primaries. $HELIOGRAPH_TOPOLOGY unless given." },
  datacenter: { value: "NAME", help: "Whose primaries; needed when the topology has several data centres." },
  server: { value: "URL", help: "A primary's address instead of a topology file.", short: "s" },
};

/** The first pair of the demo, with its ports as they are by default. */
const demoPrimaries = ["http://127.0.0.1:9420", "http://127.0.0.1:9421"];

/**
 * The primaries of the data centre that the options mean. Without any of the options and without $HELIOGRAPH_TOPOLOGY, it is the
 * demo's first pair. `secondary` finds the data centre by one of its secondaries. Throws UsageError and TopologyInvalid.
 */
export async function primariesOf(
  options: ParsedOptions,
  env: Readonly<Record<string, string | undefined>>,
  secondary?: string,
): Promise<readonly PrimaryAddress[]> {
  const server = options.text("server");
  if (server !== undefined) return [{ name: "", url: serverUrl(server) }];
  const file = options.text("topology") ?? env.HELIOGRAPH_TOPOLOGY;
  if (file === undefined) return demoPrimaries.map((url) => ({ name: "", url }));
  const { topology } = await loadTopology(file).catch((error: unknown) => {
    if (error instanceof TopologyInvalid) for (const problem of error.problems) complain(formatProblem(problem));
    throw error;
  });
  const datacenter = datacenterOf(topology, options.text("datacenter"), secondary);
  return datacenter.primaries.map(({ http, name }) => ({ name, url: `http://${addressOf(http)}` }));
}

function datacenterOf({ datacenters }: Topology, wanted: string | undefined, secondary: string | undefined) {
  const known = datacenters.map(({ name }) => name).join(", ");
  if (wanted !== undefined) {
    const found = datacenters.find(({ name }) => name === wanted);
    if (!found) throw new UsageError(`--datacenter: expected one of ${known}, got "${wanted}"`);
    return found;
  }
  const having = datacenters.filter(({ secondaries }) => secondaries.some(({ name }) => name === secondary));
  if (having.length > 0) return having[0]!;
  if (datacenters.length > 1) throw new UsageError(`--datacenter: expected one of ${known}, because there are several`);
  return datacenters[0]!;
}

/** Whichever answers first, in order. Throws CallError when none does. */
export async function askPrimaries(
  primaries: readonly PrimaryAddress[],
  path: string,
  options: CallOptions,
): Promise<Answer & { readonly primary: PrimaryAddress }> {
  const failures: string[] = [];
  for (const primary of primaries) {
    try {
      return { ...(await call(`${primary.url}${path}`, options)), primary };
    } catch (error) {
      if (!(error instanceof CallError) || error.code !== "unreachable") throw error;
      failures.push(error.message);
    }
  }
  throw new CallError("unreachable", `${failures.join("; ")}; --topology or --server says where to ask`);
}

function serverUrl(server: string): string {
  const base = /^https?:\/\//.test(server) ? server : `http://${server}`;
  if (!URL.canParse(base)) throw new UsageError(`--server: expected http://host:port, got "${server}"`);
  return base.replace(/\/+$/, "");
}
