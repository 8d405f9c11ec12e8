// `heliograph sources …`: where a data centre's targets come from, what is wrong with that, and what is held.

import type { Command } from "#/cli/command.ts";
import { primaryOptions } from "#/cli/primaries.ts";

const timeout = { timeout: { value: "D", help: "How long to wait for each primary.", default: "10s" } };

export const sources: Command = {
  name: "sources",
  summary: "Shows the lists that a data centre's targets come from, what is wrong with them, and what is held.",
  usage: "[--topology FILE [--datacenter NAME] | --server URL] [--json]",
  examples: [
    { command: "sources --topology topology.yaml --datacenter ams", does: "as its primaries have them" },
    { command: "sources --json", does: "everything, from the demo's first primary" },
  ],
  description: `
Each primary reads its lists itself. Shown are those of the one with the lease, whose lists count,
and of its peer what differs. A list that cannot be read keeps its last targets. One that suddenly
loses many of them keeps (holds) those for a while; the line below it says how to let them go.
docs/discovery.md has more.`,
  options: { ...primaryOptions, json: { help: "The primaries' answers as JSON, a line each." }, ...timeout },
  exits: [{ code: 1, means: "no primary answered" }],
  run: async (options) => (await import("#/cli/sources/sources.ts")).runSources(options, process.env),
};

export const confirm: Command = {
  name: "sources confirm",
  summary: "Lets go the targets that a list has lost and that are still scraped (held).",
  usage: "JOB [--file FILE] [--topology FILE [--datacenter NAME] | --server URL]",
  examples: [
    { command: "sources confirm node --topology topology.yaml", does: "all that is held of the job" },
    { command: "sources confirm node --file /etc/heliograph/targets/rack7.yml", does: "of one list alone" },
  ],
  description: `
Both primaries are asked, because each reads its lists itself and either may have the say next. One
that holds nothing says so: when its copy of the list changes later, it holds, and is confirmed, anew.`,
  options: {
    ...primaryOptions,
    file: { value: "FILE", help: "The list; relative paths start at the topology file's directory." },
    ...timeout,
  },
  positionals: { min: 1, max: 1, what: "JOB" },
  exits: [{ code: 1, means: "a primary did not answer, or there is no such job" }],
  run: async (options) => (await import("#/cli/sources/sources.ts")).runConfirm(options, process.env),
};
