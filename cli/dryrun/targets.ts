// Which targets a dry run scrapes: the secondary's own when its data directory says what they are, else all of its data centre
// as its primaries would discover them, or one that is named, which may be none of these.
//
// The lists that primaries read may lie on their hosts alone; then the secondary's data directory is the only place here that
// knows what they found.

import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { systemClock } from "#/lib/clock/clock.ts";
import { BadGeneration, decodeGeneration } from "#/lib/codec/generation.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { partOf } from "#/lib/model/generation.ts";
import { labelsOf, labelValue } from "#/lib/model/labels.ts";
import { type Target, targetId } from "#/lib/model/target.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { Discovery } from "#/primary/discover/discover.ts";
import { systemDisk } from "#/primary/discover/disk.ts";
import { jobOf, targetOf } from "#/primary/discover/target.ts";
import { assignmentFile } from "#/secondary/assignment.ts";
import { showValue } from "#/topology/problem.ts";
import { type Datacenter, type ScrapeConfig, sizeBytes, type Topology } from "#/topology/schema.ts";
import { nearest } from "#/topology/suggest.ts";

export type DryRunErrorCode = "unknown_target" | "unknown_job" | "bad_target" | "no_targets" | "bad_assignment";

export class DryRunError extends Error {
  override readonly name = "DryRunError";
  readonly code: DryRunErrorCode;

  constructor(code: DryRunErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Where a list of targets comes from: `assignment`, the data directory; `topology`, discovery; `url`, the command line alone. */
export type TargetsFrom = "assignment" | "topology" | "url";

export interface Chosen {
  readonly targets: readonly Target[];
  readonly from: TargetsFrom;
  /** 0 where there is none. */
  readonly generation: number;
  /** What people should know of how the list came to be, as sentences. */
  readonly notes: readonly string[];
}

export interface Place {
  readonly topology: Topology;
  /** Of the topology file: relative paths start there. */
  readonly dir: string;
  readonly datacenter: Datacenter;
  /** Everything that is scraped there. */
  readonly configs: readonly ScrapeConfig[];
}

export interface Wanted {
  /** A URL, `instance`, id, or host and port; undefined for all. */
  readonly target: string | undefined;
  /** The scrape config for a target that is in none. */
  readonly job: string | undefined;
}

/** Throws DryRunError. */
export async function chooseTargets(options: {
  readonly secondary: string;
  readonly place: Place | undefined;
  readonly dataDir: string | undefined;
  readonly wanted: Wanted;
}): Promise<Chosen> {
  const { dataDir, place, secondary, wanted } = options;
  const known = place && (await knownTargets(place, secondary, dataDir));
  if (wanted.target === undefined) {
    if (known && known.targets.length > 0) return known;
    const why = known?.notes.join(" ") || "the scrape configs name none";
    throw new DryRunError("no_targets", `there is nothing to scrape: ${why}`);
  }
  const found = known ? matching(known.targets, wanted.target).filter(({ job }) => job === (wanted.job ?? job)) : [];
  if (known && found.length > 0) return { ...known, targets: found };
  const url = urlOf(wanted.target);
  if (url !== undefined) {
    const target = place ? targetAt(place, url, wanted.target, wanted.job) : plainTarget(url);
    return { targets: [target], from: "url", generation: 0, notes: [] };
  }
  const names = (known?.targets ?? []).map(({ labels }) => labelValue(labels, "instance"));
  const meant = nearest(wanted.target, names);
  const hint = meant ? `; did you mean ${meant}?` : ". Anything can be given as a URL, http://host:port/path.";
  throw new DryRunError("unknown_target", `no target is called ${showValue(wanted.target)}${hint}`);
}

async function knownTargets(place: Place, secondary: string, dataDir: string | undefined): Promise<Chosen> {
  const assigned = dataDir === undefined ? undefined : await readAssignment(dataDir, place.datacenter.name, secondary);
  if (assigned) return assigned;
  const note =
    dataDir === undefined ? [] : [`No assignment is in ${dataDir}: these are all targets of the data centre.`];
  return discover(place, note);
}

/** The copy that a running secondary keeps; undefined when there is none. */
async function readAssignment(dataDir: string, datacenter: string, secondary: string): Promise<Chosen | undefined> {
  const path = join(dataDir, assignmentFile);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new DryRunError("bad_assignment", `${path} cannot be read: ${code}`, { cause: error });
  }
  try {
    const generation = decodeGeneration(bytes);
    if (generation.datacenter !== datacenter) {
      const got = `one of ${generation.datacenter}`;
      throw new DryRunError("bad_assignment", `${path}: expected an assignment of ${datacenter}, got ${got}`);
    }
    const targets = partOf(generation, secondary).targets.map(({ target }) => target);
    const notes = targets.length > 0 ? [] : [`Generation ${generation.number} gives ${secondary} no targets.`];
    return { targets, from: "assignment", generation: generation.number, notes };
  } catch (error) {
    if (!(error instanceof BadGeneration)) throw error;
    throw new DryRunError("bad_assignment", `${path} is no assignment: ${error.message}`, { cause: error });
  }
}

async function discover({ configs, datacenter, dir, topology }: Place, before: readonly string[]): Promise<Chosen> {
  const metrics = createRegistry({ tier: "primary" });
  const discovery = new Discovery({
    topology,
    datacenter,
    baseDir: dir,
    clock: systemClock(),
    log: silentLogger(),
    metrics,
    disk: systemDisk,
  });
  try {
    await discovery.start();
    const notes = [...before];
    for (const { job, message } of discovery.problems()) notes.push(`${job}: ${message}.`);
    for (const { address, job, message } of discovery.refused())
      notes.push(`${job}: ${address} is refused: ${message}.`);
    for (const { job_name: job } of configs) {
      const dropped = metrics.get("heliograph_primary_dropped_targets", { job });
      if (dropped > 0) notes.push(`${job}: relabel_configs drop ${dropped} more.`);
    }
    return { targets: discovery.targets(), from: "topology", generation: 0, notes };
  } finally {
    discovery.close();
  }
}

function matching(targets: readonly Target[], wanted: string): Target[] {
  return targets.filter(
    ({ id, labels, url }) =>
      url === wanted || id === wanted || labelValue(labels, "instance") === wanted || URL.parse(url)?.host === wanted,
  );
}

/** Of a text that is one, or begins like `host:9100/path`. */
function urlOf(text: string): URL | undefined {
  const url = /^https?:\/\//i.test(text)
    ? URL.parse(text)
    : /^[^/\s]+:\d+(\/|$)/.test(text)
      ? URL.parse(`http://${text}`)
      : null;
  if (!url) return undefined;
  if (url.pathname === "/" && !/[^/]\/$/.test(text)) url.pathname = "/metrics";
  return url;
}

/** As if a scrape config had it in its list, with all that it asks of its targets. */
function targetAt(
  { configs, datacenter, topology }: Place,
  url: URL,
  text: string,
  jobName: string | undefined,
): Target {
  const config = configs.find(({ job_name }) => job_name === jobName);
  if (jobName !== undefined && !config) {
    const known = configs.map(({ job_name }) => job_name).join(", ");
    throw new DryRunError("unknown_job", `no scrape config is named ${showValue(jobName)}; known: ${known || "none"}`);
  }
  if (!config) return plainTarget(url);
  const parameters = [...url.searchParams].map(([name, value]) => [`__param_${name}`, value]);
  const made = targetOf(jobOf(topology, datacenter, config), addressOf(url, text), {
    __scheme__: url.protocol.slice(0, -1),
    __metrics_path__: url.pathname,
    ...Object.fromEntries(parameters),
  });
  if (made === undefined) {
    throw new DryRunError("bad_target", `relabel_configs of ${config.job_name} drop ${url.href}`);
  }
  if (typeof made === "string") throw new DryRunError("bad_target", `${url.href} cannot be a target: ${made}`);
  return made;
}

/** With the port as it was typed: a URL forgets the one that its scheme has anyway, but rules would see it. */
function addressOf(url: URL, text: string): string {
  const typed = /^(?:[a-z]+:\/\/)?(?:[^/?#]*@)?[^/?#]*?(:\d+)?(?:[/?#]|$)/i.exec(text)?.[1] ?? "";
  return url.port === "" ? url.host + typed : url.host;
}

/** Of no scrape config: with Prometheus' defaults, and no rules. */
function plainTarget(url: URL): Target {
  const job = "dry-run";
  const labels = labelsOf({ job, instance: url.host });
  const identity = { job, url: url.href, labels };
  return {
    id: targetId(identity),
    ...identity,
    intervalMs: 15_000,
    timeoutMs: 10_000,
    options: {
      honorLabels: false,
      honorTimestamps: true,
      sampleLimit: 0,
      labelLimit: 0,
      labelNameLengthLimit: 0,
      labelValueLengthLimit: 0,
      bodyBytesMax: sizeBytes("64MiB"),
    },
  };
}

/** Where the topology file and its secondary are, for `chooseTargets`. */
export function placeOf(file: string, topology: Topology, datacenter: Datacenter): Place {
  const configs = [...topology.scrape_configs, ...datacenter.scrape_configs];
  return { topology, datacenter, configs, dir: dirname(resolve(file)) };
}
