// `heliograph secondary|primary|global`: one process of a tier, as systemd or the demo starts it.

import type { Command } from "#/cli/command.ts";
import { type OptionDeclaration, UsageError } from "#/cli/options.ts";

const options: Readonly<Record<string, OptionDeclaration>> = {
  topology: { value: "FILE", help: "The topology file that describes the whole federation." },
  name: { value: "NAME", help: "Which of its processes this one is." },
  data: { value: "DIR", help: "Where it keeps its data; made when it is missing." },
  "log-level": { value: "LEVEL", help: "debug, info, warn or error.", default: "info" },
};

const exits = [
  { code: 1, means: "it could not start, or had to stop; the last lines of its log say why" },
  { code: 3, means: "the topology file is wrong; every problem is listed with line and column" },
];

const usage = "--topology FILE --name NAME --data DIR";

/** What goes with `--dry-run` alone. */
const dryRunOptions: Readonly<Record<string, OptionDeclaration>> = {
  target: { value: "WHICH", help: "One target: its URL, instance or address, or a URL that is in no list." },
  job: { value: "NAME", help: "The scrape config whose settings and rules a URL in no list gets." },
  series: { help: "Every series of every target; of one target they are shown anyway." },
  again: { help: "Scrapes twice, a second apart, to show what a scrape costs that is not the first." },
  json: { help: "Everything as JSON." },
};

export const secondary: Command = {
  name: "secondary",
  summary: "Pulls metrics from the targets that its data centre's primaries give it.",
  usage: `${usage}\n       heliograph secondary --dry-run --topology FILE --name NAME [--data DIR] [options]\n       heliograph secondary --dry-run --target URL`,
  examples: [
    { command: "secondary --topology topology.yaml --name ams-secondary-1 --data /var/lib/heliograph/s1", does: "" },
    { command: "secondary --dry-run --target http://10.0.0.7:9100/metrics", does: "scrapes it once, sends nothing" },
    { command: "secondary --dry-run --topology topology.yaml --name ams-secondary-1 --target 10.0.0.7:9100", does: "" },
  ],
  description: `
It scrapes each target at its slots, keeps what it scraped in a spool under --data until every
global has it, and pushes to one of its data centre's two primaries. What it scrapes, and what it
refused, is on its own page, /targets, at the address that the topology file gives it.
Logs go to standard output, one JSON object a line. SIGTERM ends it in order.

With --dry-run it scrapes each of its targets once, prints what it would send (series as they are
stored, with values and times; what rules dropped and what was refused; bytes, and the time of each
stage), and ends. No primary is needed, and one that runs is not disturbed. Its targets are those in
the assignment that lies in --data; without one, all that its data centre's primaries would find,
read here: lists that lie on the primaries' hosts alone are then missing.`,
  options: {
    ...options,
    "dry-run": { help: "Scrapes once, prints what would be sent, and sends nothing." },
    ...dryRunOptions,
  },
  exits: [{ code: 1, means: "it could not start, or had to stop; with --dry-run, a scrape failed" }, exits[1]!],
  run: async (parsed, argv) => {
    if (parsed.isSet("dry-run")) return (await import("#/cli/dryrun/dryrun.ts")).runDryRun(parsed);
    const alone = Object.keys(dryRunOptions).find((option) => parsed.isSet(option));
    if (alone !== undefined) throw new UsageError(`--${alone} goes with --dry-run`);
    return (await import("#/secondary/main.ts")).main([...argv]);
  },
};

export const primary: Command = {
  name: "primary",
  summary: "Keeps one data centre: discovers and assigns targets, takes batches, answers queries.",
  usage,
  examples: [
    { command: "primary --topology topology.yaml --name ams-primary-1 --data /var/lib/heliograph/p1", does: "" },
  ],
  description: `
A data centre has a pair of them. Both take batches from secondaries, write them to the data
centre's log in NATS JetStream and answer queries; the one that holds the pair's lease assigns
targets. Without NATS it waits, says so, and goes on when NATS comes.
Logs go to standard output, one JSON object a line. SIGTERM ends it in order.`,
  options,
  exits,
  run: async (_options, argv) => (await import("#/primary/main.ts")).main([...argv]),
};

export const global: Command = {
  name: "global",
  summary: "Sees every data centre: queries over all of them, and the first page.",
  usage,
  examples: [{ command: "global --topology topology.yaml --name global-1 --data /var/lib/heliograph/g1", does: "" }],
  description: `
There is a pair of them, and both hold everything: they read every data centre's log from its
mirror at the hub. The page with all data centres is at the address that the topology file gives.
Logs go to standard output, one JSON object a line. SIGTERM ends it in order.`,
  options,
  exits,
  run: async (_options, argv) => (await import("#/global/main.ts")).main([...argv]),
};
