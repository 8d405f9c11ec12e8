// `heliograph topology …`: is my description of the world right, what does its NATS need, and what may stand in it?

import type { Command } from "#/cli/command.ts";

export const check: Command = {
  name: "topology check",
  summary: "Reads a topology file and says everything that is wrong with it, with line and column.",
  usage: "FILE",
  examples: [
    { command: "topology check topology.yaml", does: "right or not?" },
    { command: "topology check topology.yaml --strict", does: "warnings count as errors" },
  ],
  description: `
All problems are told at once, one a line, on standard error:
  topology.yaml:8:29: error: datacenters[0].name: expected …, got …
Warnings (a pair of one, no headroom for a lost secondary) do not make the file wrong.`,
  options: { strict: { help: "Warnings make the file wrong, too." } },
  positionals: { min: 1, max: 1, what: "FILE" },
  exits: [{ code: 3, means: "the file is wrong, or cannot be read" }],
  run: async (options) => (await import("#/cli/topology/topology.ts")).runCheck(options),
};

export const nats: Command = {
  name: "topology nats",
  summary: "Prints the configuration of the hub's NATS servers, or of a data centre's.",
  usage: "FILE --hub|--datacenter NAME --store DIR [options]",
  examples: [
    { command: "topology nats topology.yaml --hub --store /var/lib/nats > nats.conf", does: "the hub's" },
    { command: "topology nats topology.yaml --datacenter ams --store /var/lib/nats", does: "a data centre's" },
  ],
  description: `
The accounts, users and permissions follow from the topology file, and so do the addresses unless
they are given. Passwords are read from the password files that it names. The output holds them:
keep it from other users' eyes (umask 077).`,
  options: {
    hub: { help: "For the hub." },
    datacenter: { value: "NAME", help: "For that data centre's own servers." },
    store: { value: "DIR", help: "Where JetStream keeps its files." },
    listen: { value: "HOST:PORT", help: "Where clients connect; the topology's first server unless given." },
    "leaf-listen": { value: "HOST:PORT", help: "Hub: where data centres join; the first leaf server unless given." },
    "leaf-advertise": { value: "HOST:PORT", help: "Hub: where they are told to come back to." },
    monitor: { value: "HOST:PORT", help: "Health and figures over HTTP, without a password: loopback." },
    "server-name": { value: "NAME", help: "Unique in a cluster, and needed there." },
    cluster: { value: "HOST:PORT", help: "For three servers: where this one takes routes." },
    route: { value: "URL", help: "Another server of the cluster, nats://host:port.", multiple: true },
    "tls-ca": {
      value: "FILE",
      help: "Authorities that clients must be signed by. Needed, with the next two, for tls:// servers.",
    },
    "tls-cert": { value: "FILE", help: "The server's certificate." },
    "tls-key": { value: "FILE", help: "Its private key." },
    "knows-sync": { help: "The server is 2.10 or newer: fsync as it should." },
  },
  positionals: { min: 1, max: 1, what: "FILE" },
  exits: [
    { code: 1, means: "a password file is missing or cannot be read" },
    { code: 3, means: "the topology file is wrong" },
  ],
  run: async (options) => (await import("#/cli/topology/nats.ts")).runNats(options),
};

export const schema: Command = {
  name: "topology schema",
  summary: "Prints the JSON schema of the topology file, with which an editor completes and checks it.",
  usage: "",
  examples: [{ command: "topology schema > topology.schema.json", does: "for yaml-language-server" }],
  description: `
Begin the topology file with
  # yaml-language-server: $schema=./topology.schema.json`,
  options: {},
  run: async () => (await import("#/cli/topology/topology.ts")).runSchema(),
};
