// `heliograph secondary|primary|global`: one process of a tier, as systemd or the demo starts it.

import type { Command } from "#/cli/command.ts";
import type { OptionDeclaration } from "#/cli/options.ts";

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

export const secondary: Command = {
  name: "secondary",
  summary: "Pulls metrics from the targets that its data centre's primaries give it.",
  usage,
  examples: [
    { command: "secondary --topology topology.yaml --name ams-secondary-1 --data /var/lib/heliograph/s1", does: "" },
  ],
  description: `
It scrapes each target at its slots, keeps what it scraped in a spool under --data until every
global has it, and pushes to one of its data centre's two primaries. What it scrapes, and what it
refused, is on its own page, /targets, at the address that the topology file gives it.
Logs go to standard output, one JSON object a line. SIGTERM ends it in order.`,
  options,
  exits,
  run: async (_options, argv) => (await import("#/secondary/main.ts")).main([...argv]),
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
