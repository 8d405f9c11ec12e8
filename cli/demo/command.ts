// `heliograph demo`: a whole federation on this machine.

import type { Command } from "#/cli/command.ts";

export const demo: Command = {
  name: "demo",
  summary: "Runs a whole federation on this machine, with real and simulated input, to look at and to hurt.",
  usage: "[--data DIR] [--port-base N] [--targets N] [--interval D]",
  examples: [
    { command: "demo", does: "everything in a temporary directory, gone at the end" },
    { command: "demo --data ~/heliograph", does: "keep the data, and go on with it next time" },
    { command: "demo --port-base 9600", does: "beside another demo" },
    { command: "demo --targets 2000 --interval 15s", does: "a larger fleet" },
  ],
  description: `
Two data centres (ams in eu, nyc in us) with a NATS server, two primaries and two secondaries each, a
hub with its NATS server and two globals, a real node_exporter and a simulated fleet, all on
loopback. nats-server and node_exporter come from PATH, else from Debian's packages, without root.
What dies is started again. The files of it all, a topology file among them, are in the data
directory, the logs in its logs/.

Keys while it runs:
  c  cut the next data centre's link: bytes stop, connections stay   h  heal everything
  k  kill a secondary, which stays down until h                      q  end (so does Ctrl-C)
  d  drain a secondary, and let it have targets again
  g  kill the leading global, which is started again
Without a terminal: POST to the control address, for instance
  curl -X POST 'http://127.0.0.1:9402/cut?datacenter=ams', /heal, '/kill?process=global-1&hold=true'
There one can also cut one way only ('/cut?datacenter=ams&direction=out'; in), start one process that
was held down ('/start?process=global-1'), and stop one where it stands ('/pause?…', '/resume?…').`,
  options: {
    data: { value: "DIR", help: "Keep the data there, and resume from it." },
    "port-base": { value: "N", help: "First of 60 ports; 0 looks for a free range.", default: "9400" },
    targets: { value: "N", help: "Simulated servers.", default: "200" },
    rows: { value: "N", help: "Series of each.", default: "100" },
    interval: { value: "D", help: "Scrape interval.", default: "5s" },
    secondaries: { value: "N", help: "Of each data centre.", default: "2" },
    retention: { value: "D", help: "Samples stay in memory this long.", default: "30m" },
    "no-node-exporter": { help: "Do without the real node_exporter." },
  },
  exits: [{ code: 1, means: "a port is taken, a program is missing, or a process does not come up" }],
  run: async (options) => (await import("#/cli/demo/demo.ts")).runDemo(options),
};
