// `heliograph targets`: who scrapes what, and what became of it.

import type { Command } from "#/cli/command.ts";
import { primaryOptions } from "#/cli/primaries.ts";

export const targets: Command = {
  name: "targets",
  summary: "Lists a data centre's targets: which secondary scrapes each, and how its last slot ended.",
  usage: "[--topology FILE [--datacenter NAME] | --server URL] [options]",
  examples: [
    {
      command: "targets --topology topology.yaml --datacenter ams1",
      does: "the secondaries, and the worst targets first",
    },
    { command: "targets --find 10.0.0.7", does: "who scrapes this one?" },
    { command: "targets --show unassigned", does: "what is scraped by nobody, and why" },
    { command: "targets --owner ams1-secondary-2 --limit 0", does: "all that one secondary has" },
  ],
  description: `
It asks the data centre's primaries, and the first that answers is believed: each reads the same log.
A global can be asked with --server, too: it tells all data centres, or the one of --datacenter.
States: failing (the target is to blame), unassigned (nobody scrapes it), silent (nobody told of its
last slots), missed (it was not asked), partial (some series were refused), waiting, up.`,
  options: {
    ...primaryOptions,
    owner: { value: "NAME", help: "Only what this secondary scrapes." },
    job: { value: "NAME", help: "Only this scrape config's targets." },
    find: { value: "TEXT", help: "In address, labels (as name=value), owner or outcome." },
    show: {
      value: "STATE",
      help: "Only targets that are failing, unassigned, silent, missed, partial, waiting or up.",
    },
    sort: { value: "ORDER", help: "worst, slow, samples, name or since.", default: "worst" },
    limit: { value: "N", help: "Targets that are listed at most; 0 lists all.", default: "50" },
    json: { help: "Print the primary's JSON as it is." },
    timeout: { value: "D", help: "How long to wait for an answer.", default: "10s" },
  },
  exits: [
    { code: 1, means: "no primary answers, or it has not read everything yet" },
    { code: 3, means: "the topology file is wrong" },
  ],
  run: async (options) => (await import("#/cli/targets/targets.ts")).runTargets(options, process.env),
};
