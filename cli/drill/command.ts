// `heliograph drill`: hurts a demo in every way once, and proves afterwards that nothing was lost.

import type { Command } from "#/cli/command.ts";

export const drill: Command = {
  name: "drill",
  summary: "Kills each process of a demo once, cuts a link, and compares every sample with what it must be.",
  usage: "[--kills all|NAMES] [--cut D] [--short] [--attach URL]",
  examples: [
    { command: "drill", does: "everything: about 5 minutes" },
    { command: "drill --short", does: "one process of each kind: about 2 minutes" },
    { command: "drill --kills ams-secondary-1,global-1 --cut 0s", does: "only these" },
    { command: "drill --attach http://127.0.0.1:9402", does: "hurt a demo that runs already" },
  ],
  description: `
Starts a demo of its own on free ports, ends each process with kill -9 (the supervisor starts it
again), cuts the first data centre's link, heals it and waits until everything has arrived. Then it reads
every sample of the simulated fleet back through both globals and compares each value with its
known function, and each target's slots with the clock:
  a killed secondary may cost each of its targets as many slots as it was down for;
  any other kill, and the cut, may cost none; nothing may be there twice or be wrong.`,
  options: {
    kills: { value: "NAMES", help: "Processes to kill, separated by commas; all, or none.", default: "all" },
    cut: { value: "D", help: "How long to cut the first data centre off; 0s not at all.", default: "60s" },
    short: { help: "One process of each kind, and a cut of 15 s." },
    attach: { value: "URL", help: "Control address of a running demo." },
    targets: { value: "N", help: "Simulated servers.", default: "200" },
    rows: { value: "N", help: "Series of each.", default: "100" },
    interval: { value: "D", help: "Scrape interval.", default: "5s" },
    data: { value: "DIR", help: "Keep the demo's data and logs there." },
  },
  exits: [{ code: 1, means: "a sample is missing, double or wrong, or a process did not come back" }],
  run: async (options) => (await import("#/cli/drill/drill.ts")).runDrill(options),
};
