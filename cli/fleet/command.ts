// `heliograph fleet`: the simulated servers as a command.

import type { Command } from "#/cli/command.ts";
import { faultKinds } from "#/cli/fleet/faults.ts";

export const fleet: Command = {
  name: "fleet",
  summary: "Simulates servers to scrape: many targets in one process, every value known in advance.",
  usage: "[--targets N] [--rows N] [--port N] [options]",
  examples: [
    { command: "fleet --targets 200", does: "200 servers on 127.64.0.1:9100 and the next 199 addresses" },
    { command: "fleet --targets 5000 --rows 1000", does: "a full secondary's load" },
    { command: "fleet --file-sd fleet.json --label job=web", does: "tell Prometheus where they are" },
    { command: "fleet --fault dead=5 --fault slow:3000ms=10-19", does: "one refuses, ten are slow" },
  ],
  description: `
Each target answers on its own address of 127.0.0.0/8 and one port with what a node_exporter
says: real names, HELP and TYPE, about 37 % of the values changing from scrape to scrape. Every value
is a known function of target, series and time (cli/fleet/values.ts), and the body tells its own
time in fleet_time_ms, so that samples can be checked wherever they arrive.

Faults are KIND=TARGET or KIND=FIRST-LAST, targets counting from 0:
${Object.entries(faultKinds)
  .map(([kind, does]) => `  ${kind.padEnd(10)}${does}`)
  .join("\n")}
With --control they can be changed while it runs: POST /faults?set=dead=5, DELETE /faults.`,
  options: {
    targets: { value: "N", help: "How many.", default: "200" },
    rows: { value: "N", help: "Series of each.", default: "100" },
    port: { value: "N", help: "The one port of all addresses; 0 takes a free one.", default: "9100" },
    "first-address": { value: "IP", help: "Address of target 0.", default: "127.64.0.1" },
    framing: { value: "KIND", help: "Bodies chunked, with their length, or mixed.", default: "mixed" },
    fault: { value: "FAULT", help: "A fault from the start.", multiple: true },
    "file-sd": { value: "FILE", help: "Write the addresses there as file_sd JSON." },
    label: { value: "K=V", help: "A label for that file.", multiple: true },
    split: { value: "N", help: "Write N files, FILE-1 to FILE-N, with a share of the targets each.", default: "1" },
    control: { value: "HOST:PORT", help: "Health, /metrics and /faults there." },
  },
  exits: [{ code: 1, means: "an address is taken, or a file cannot be written" }],
  run: async (options) => (await import("#/cli/fleet/fleet.ts")).runFleet(options),
};
