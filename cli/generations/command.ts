// `heliograph generations`: when targets moved between secondaries, and why.

import type { Command } from "#/cli/command.ts";
import { primaryOptions } from "#/cli/primaries.ts";

export const generations: Command = {
  name: "generations",
  summary: "Lists when a data centre's targets moved between its secondaries, why, and how many.",
  usage: "[--topology FILE [--datacenter NAME] | --server URL] [options]",
  examples: [
    { command: "generations --topology topology.yaml --datacenter ams1", does: "the last twenty, newest first" },
    { command: "generations --limit 1000", does: "all that the primary remembers" },
    { command: "generations --server global-1:9400 --datacenter ams1", does: "the same, from a global" },
  ],
  description: `
A generation is the list of who scrapes what from when on. A primary writes one when targets come or
go, when a secondary joins, leaves or is drained, and so on. It is asked as for \`targets\`. A server
remembers the last 1,000, as far back as its journal goes.`,
  options: {
    ...primaryOptions,
    limit: { value: "N", help: "Generations that are listed at most.", default: "20" },
    json: { help: "Print the primary's JSON as it is." },
    timeout: { value: "D", help: "How long to wait for an answer.", default: "10s" },
  },
  exits: [
    { code: 1, means: "no primary answers, or it has not read everything yet" },
    { code: 3, means: "the topology file is wrong" },
  ],
  run: async (options) => (await import("#/cli/generations/generations.ts")).runGenerations(options, process.env),
};
