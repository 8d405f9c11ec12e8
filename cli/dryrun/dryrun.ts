// `heliograph secondary --dry-run`: scrapes once, shows what would be sent, and sends nothing.

import { complain, say } from "#/cli/command.ts";
import { perSample, renderDryRun } from "#/cli/dryrun/table.ts";
import { type Chosen, chooseTargets, type Place, placeOf } from "#/cli/dryrun/targets.ts";
import { exitCodes, type ParsedOptions, UsageError } from "#/cli/options.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import { createLogger } from "#/lib/logger/logger.ts";
import { labelsRecord } from "#/lib/model/labels.ts";
import { isStored } from "#/lib/model/outcome.ts";
import { StartRefused } from "#/lib/supervision/process.ts";
import { type DryBatches, type DryRun, type DryScrape, dryRun } from "#/secondary/dryrun.ts";
import { httpFetcher } from "#/secondary/scrape/fetch.ts";
import { proxyEnvironmentOf } from "#/secondary/scrape/http/proxy.ts";
import { findSecondary } from "#/topology/find.ts";
import { secretsOfAll } from "#/topology/http.ts";
import { loadForProcess } from "#/topology/process.ts";

export async function runDryRun(options: ParsedOptions): Promise<number> {
  const file = options.text("topology");
  const target = options.text("target");
  const json = options.isSet("json");
  let place: Place | undefined;
  if (file === undefined) {
    if (target === undefined) throw new UsageError("--topology FILE and --name NAME are missing, or --target URL");
    if (options.text("job") !== undefined) throw new UsageError("--job needs --topology FILE and --name NAME");
  } else {
    const found = await findPlace(file, options.required("name"));
    if (!found) return exitCodes.badTopology;
    place = found;
  }
  const secondary = options.text("name") ?? "dry-run";
  const wanted = { target, job: options.text("job") };
  const chosen = await chooseTargets({ secondary, place, dataDir: options.text("data"), wanted });
  for (const note of chosen.notes) complain(note);
  const full = chosen.targets.length === 1 || options.isSet("series");
  const clock = systemClock();
  const fetching = {
    clock,
    ...(place && { secrets: secretsOfAll(place.configs), baseDir: place.dir }),
    environment: proxyEnvironmentOf(process.env),
  };
  if (!json) say(`${heading(chosen, secondary, place)}\n`);
  const run = await dryRun(chosen.targets, {
    datacenter: place?.datacenter.name ?? "dry-run",
    secondary,
    generation: chosen.generation,
    clock,
    fetcherOf: (meter) => httpFetcher({ ...fetching, meter }),
    rounds: options.isSet("again") ? 2 : 1,
    keepSeries: full || json,
  });
  if (json) process.stdout.write(`${jsonText(run, chosen, secondary, place)}\n`);
  else say(renderDryRun(run, { full }));
  return run.targets.every(({ outcome }) => isStored(outcome)) ? exitCodes.ok : exitCodes.failed;
}

async function findPlace(file: string, name: string): Promise<Place | undefined> {
  const log = createLogger({ fields: {}, level: "error", journal: false });
  try {
    const loaded = await loadForProcess({ topologyFile: file, log }, (topology) => findSecondary(topology, name));
    return placeOf(file, loaded.topology, loaded.found.datacenter);
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    complain(`heliograph secondary: ${error.message}`);
    return undefined;
  }
}

function heading(chosen: Chosen, secondary: string, place: Place | undefined): string {
  const targets = `${chosen.targets.length.toLocaleString("en-US")} ${chosen.targets.length === 1 ? "target" : "targets"}`;
  switch (chosen.from) {
    case "assignment":
      return `${targets} of ${secondary}, as generation ${chosen.generation} assigns them.`;
    case "topology":
      return `${targets} of ${place!.datacenter.name}, as the topology file and what it names say.`;
    case "url":
      return "A target that is in no list.";
    default:
      return chosen.from satisfies never;
  }
}

function jsonText(run: DryRun, chosen: Chosen, secondary: string, place: Place | undefined): string {
  const answer = {
    secondary,
    datacenter: place?.datacenter.name ?? null,
    targets_from: chosen.from,
    generation: chosen.generation,
    targets: run.targets.map(scrapeJson),
    rounds: run.rounds.map(roundJson),
  };
  return JSON.stringify(answer, undefined, 2);
}

function scrapeJson(scrape: DryScrape) {
  const { bytes, dropped, refused, series, stages, target } = scrape;
  return {
    job: target.job,
    url: target.url,
    labels: labelsRecord(target.labels),
    outcome: scrape.outcome,
    error: scrape.error,
    stage_ms: {
      name: msJson(stages.nameMs),
      connect: msJson(stages.connectMs),
      first_byte: msJson(stages.firstByteMs),
      fetch: msJson(stages.fetchMs),
      read: msJson(stages.readMs),
      relabel: msJson(stages.relabelMs),
      encode: msJson(stages.encodeMs),
    },
    requests: scrape.requests,
    sent_bytes: bytes.sent,
    received_bytes: bytes.received,
    body_bytes: bytes.body,
    samples_scraped: scrape.samplesScraped,
    samples: scrape.samples,
    layout: scrape.layout || null,
    series: series.map(({ help, labels, timestampMs, type, unit, value }) => ({
      labels: labelsRecord(labels),
      value,
      timestamp_ms: timestampMs,
      type,
      unit,
      help,
    })),
    dropped: {
      count: dropped.count,
      series: dropped.series.map(({ action, labels, rule }) => ({
        labels: labelsRecord(labels),
        rule: rule ?? null,
        action: action ?? null,
      })),
    },
    refused: refused.map(({ count, reason, series: named }) => ({ reason, count, series: named.map(labelsRecord) })),
  };
}

function roundJson(round: DryBatches) {
  return {
    batches: round.batches,
    scrapes: round.scrapes,
    samples: round.samples,
    raw_bytes: round.rawBytes,
    bytes: round.bytes,
    bytes_per_sample: perSample(round) ?? null,
    compress_ms: msJson(round.compressMs),
  };
}

/** To the µs; null where there is none. */
function msJson(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms * 1000) / 1000;
}
