// `heliograph ledger`: what was due, what became of it, and why one sample is missing.

import type { Command } from "#/cli/command.ts";
import { primaryOptions } from "#/cli/primaries.ts";

const asked = {
  ...primaryOptions,
  json: { help: "Print the server's JSON as it is." },
  timeout: { value: "D", help: "How long to wait for an answer.", default: "30s" },
};
const exits = [
  { code: 1, means: "nobody answers, or the server has not read everything yet, or slots are unexplained" },
  { code: 3, means: "the topology file is wrong" },
];

export const ledger: Command = {
  name: "ledger",
  summary: "Accounts for every scrape that was due: stored, failed, missed, lost, and why.",
  usage: "[--topology FILE [--datacenter NAME] | --server URL] [options]",
  examples: [
    { command: "ledger --topology topology.yaml --datacenter ams1", does: "the last hour, by owner" },
    { command: "ledger --server global-1:9400", does: "every data centre, as a global has it" },
    { command: "ledger --since 15m --by minute", does: "minute by minute" },
    { command: "ledger why 10.0.0.7:9100 2026-01-31T12:00:00Z", does: "what became of one scrape" },
  ],
  description: `
What was due follows from the generations alone (who scrapes what from when on), so that nothing can be
missing unnoticed. The terms of a line are together what was due; SHARE is what was stored of it.`,
  options: {
    ...asked,
    since: { value: "T", help: "From when on: 90m (ago), or a time as 2026-01-31T12:00:00Z.", default: "1h" },
    until: { value: "T", help: "Up to when; now unless given." },
    by: { value: "WHAT", help: "owner, minute or generation.", default: "owner" },
  },
  exits,
  run: async (options) => (await import("#/cli/ledger/ledger.ts")).runLedger(options, process.env),
};

export const why: Command = {
  name: "ledger why",
  summary: "Names the cause of one missing sample.",
  usage: "TARGET TIME [--topology FILE [--datacenter NAME] | --server URL]",
  examples: [
    { command: "ledger why 10.0.0.7:9100 2026-01-31T12:00:00Z", does: "" },
    { command: "ledger why db-17 20m --server global-1:9400", does: "the scrape that was due 20 minutes ago" },
  ],
  description: `
TARGET is a target's instance, URL or id, or a part of these that no other has. TIME is a time, or how long
ago; it means the scrape that was due then, or last before. A server knows what it holds in memory:
head_retention, 2 h unless configured.`,
  options: asked,
  positionals: { min: 2, max: 2, what: "TARGET and TIME" },
  exits: [{ code: 1, means: "nobody answers, or there is no such target, or nothing was due" }, exits[1]!],
  run: async (options) => (await import("#/cli/ledger/ledger.ts")).runWhy(options, process.env),
};
