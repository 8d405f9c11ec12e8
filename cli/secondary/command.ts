// `heliograph secondary drain|undrain`: take a secondary's targets away before it is stopped, and give it some again.

import type { Command } from "#/cli/command.ts";
import { primaryOptions } from "#/cli/primaries.ts";

const options = {
  ...primaryOptions,
  timeout: { value: "D", help: "How long to wait for a primary's answer.", default: "15s" },
};
const exits = [
  { code: 1, means: "no primary answers, or it refuses, and says why" },
  { code: 3, means: "the topology file is wrong" },
];
const positionals = { min: 1, max: 1, what: "NAME" };

export const drain: Command = {
  name: "secondary drain",
  summary: "Moves all of a secondary's targets to the others, without a gap, so that it can be stopped.",
  usage: "NAME [--topology FILE|--server URL] [--force]",
  examples: [
    { command: "secondary drain ams-secondary-1 --topology topology.yaml", does: "before an upgrade" },
    { command: "secondary undrain ams-secondary-1 --topology topology.yaml", does: "and afterwards" },
  ],
  description: `
The primary that has the say of its pair writes a generation without targets for it, which rules a
second later: until then it scrapes on, and from then on the others do. No slot is missed. It stays
drained, through restarts of everything, until it is undrained. It may be stopped when this command
has ended; what it has not delivered yet waits in its spool until it is started again.

Refused when the other secondaries have no room for its targets: --force drains it all the same,
and those of the lowest priority are then scraped by nobody.`,
  options: { ...options, force: { help: "Also when targets are then scraped by nobody." } },
  positionals,
  exits,
  run: async (options) => (await import("#/cli/secondary/drain.ts")).runDrain(options, process.env, true),
};

export const undrain: Command = {
  name: "secondary undrain",
  summary: "Lets a drained secondary have targets again.",
  usage: "NAME [--topology FILE|--server URL]",
  examples: [{ command: "secondary undrain ams-secondary-1 --topology topology.yaml", does: "" }],
  description: `
It gets its share with the next generation, when it lives, and the targets that it had before, if
the secondaries are the same.`,
  options,
  positionals,
  exits,
  run: async (options) => (await import("#/cli/secondary/drain.ts")).runDrain(options, process.env, false),
};
