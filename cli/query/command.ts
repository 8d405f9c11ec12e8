// `heliograph query`: one question to a global or a primary, and its answer as a table.

import type { Command } from "#/cli/command.ts";

export const query: Command = {
  name: "query",
  summary: "Asks a global (or a primary, for its own data centre) and prints the answer.",
  usage: "EXPR [--server URL] [--start T [--end T] [--step D]] [--json]",
  examples: [
    { command: "query 'count by (datacenter) (up)'", does: "now" },
    { command: "query 'up == 0' --time 5m", does: "five minutes ago" },
    { command: "query 'sum(rate(node_cpu_seconds_total[1m]))' --start 1h", does: "over the last hour" },
    { command: "query up --server http://127.0.0.1:9420 --json", does: "a primary's answer as it comes" },
  ],
  description: `
EXPR is PromQL. With --start it is evaluated over a range and each series is drawn as a small curve
from its least to its greatest value; without, at one moment. Times are Unix seconds, RFC 3339
(2026-11-20T17:00:00Z), or a duration that means so long ago. HELIOGRAPH_SERVER in the environment
sets the server for all queries.`,
  options: {
    server: { value: "URL", help: "Where to ask; the demo's first global unless given.", short: "s" },
    time: { value: "T", help: "The moment; now unless given." },
    start: { value: "T", help: "Begin of a range." },
    end: { value: "T", help: "End of the range; now unless given." },
    step: { value: "D", help: "Time between two points; about 60 points unless given." },
    json: { help: "Print the server's JSON as it is." },
    timeout: { value: "D", help: "How long to wait for the answer.", default: "30s" },
  },
  positionals: { min: 1, max: 1, what: "EXPR" },
  exits: [{ code: 1, means: "no answer, or the server says that the expression is wrong" }],
  run: async (options) => (await import("#/cli/query/query.ts")).runQuery(options, process.env),
};
