// The command line's door: finds the command, reads its options, runs it, and turns how it ended into an exit code.
//
// A command is loaded when it is asked for, so that a small one starts fast and a tier's process carries nothing else.

import { type Command, complain, say } from "#/cli/command.ts";
import { exitCodes, helpText, parseOptions, UsageError } from "#/cli/options.ts";
import { BrokenInvariant } from "#/lib/assert/assert.ts";
import { version } from "#/lib/telemetry/version.ts";
import { nearest } from "#/topology/suggest.ts";

/** In the order of the help. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  demo: async () => (await import("#/cli/demo/command.ts")).demo,
  query: async () => (await import("#/cli/query/command.ts")).query,
  sources: async () => (await import("#/cli/sources/command.ts")).sources,
  "sources confirm": async () => (await import("#/cli/sources/command.ts")).confirm,
  targets: async () => (await import("#/cli/targets/command.ts")).targets,
  generations: async () => (await import("#/cli/generations/command.ts")).generations,
  ledger: async () => (await import("#/cli/ledger/command.ts")).ledger,
  "ledger why": async () => (await import("#/cli/ledger/command.ts")).why,
  "topology check": async () => (await import("#/cli/topology/command.ts")).check,
  "topology nats": async () => (await import("#/cli/topology/command.ts")).nats,
  "topology schema": async () => (await import("#/cli/topology/command.ts")).schema,
  secondary: async () => (await import("#/cli/tiers.ts")).secondary,
  "secondary drain": async () => (await import("#/cli/secondary/command.ts")).drain,
  "secondary undrain": async () => (await import("#/cli/secondary/command.ts")).undrain,
  primary: async () => (await import("#/cli/tiers.ts")).primary,
  global: async () => (await import("#/cli/tiers.ts")).global,
  fleet: async () => (await import("#/cli/fleet/command.ts")).fleet,
  drill: async () => (await import("#/cli/drill/command.ts")).drill,
};

/** What this process needs of Node: types stripped, and what the tiers use of the last years. */
const nodeMajorMin = 26;

// `heliograph query … | head` closes our output early: that is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE" || error.code === "EIO") process.exit(exitCodes.ok);
  throw error;
});
if (import.meta.main) process.exit(await main(process.argv.slice(2)));

export async function main(argv: readonly string[]): Promise<number> {
  if (Number.parseInt(process.versions.node, 10) < nodeMajorMin) {
    complain(`heliograph: Node ${nodeMajorMin} or newer is needed, this is ${process.versions.node}`);
    return exitCodes.failed;
  }
  const [first] = argv;
  if (first === "--version" || first === "-V" || first === "version") {
    say(`heliograph ${version}`);
    return exitCodes.ok;
  }
  if (first === "--help" || first === "-h") return showOverview(say);
  if (first === "help") return argv.length > 1 ? main([...argv.slice(1), "--help"]) : showOverview(say);
  if (first === undefined) {
    await showOverview((line) => complain(line));
    return exitCodes.usage;
  }
  const name = [argv.slice(0, 2).join(" "), first].find((candidate) => candidate in commands);
  if (name === undefined) return refuseCommand(argv);
  const command = await commands[name]!();
  return runCommand(command, argv.slice(name.split(" ").length));
}

async function runCommand(command: Command, argv: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(command, argv);
    if (!options) {
      process.stdout.write(helpText(command));
      return exitCodes.ok;
    }
    return await command.run(options, argv);
  } catch (error) {
    if (error instanceof UsageError) {
      complain(`heliograph ${command.name}: ${error.message}`);
      complain(`Usage: heliograph ${command.name} ${command.usage}`);
      complain(`More: heliograph ${command.name} --help`);
      return exitCodes.usage;
    }
    // What the world does wrong has a code and a message for people; anything else is a bug and shows where it is.
    const foreseen = error instanceof Error && "code" in error && !(error instanceof BrokenInvariant);
    complain(`heliograph ${command.name}: ${foreseen ? error.message : (error as Error).stack}`);
    return exitCodes.failed;
  }
}

function refuseCommand(argv: readonly string[]): number {
  const words = argv.filter((word) => !word.startsWith("-"));
  const families = new Set(Object.keys(commands).map((name) => name.split(" ")[0]!));
  if (words[0] !== undefined && families.has(words[0])) {
    const inFamily = Object.keys(commands).filter((name) => name.startsWith(`${words[0]} `));
    const guess = nearest(
      words[1] ?? "",
      inFamily.map((name) => name.split(" ")[1]!),
    );
    const asked = argv.some((word) => word === "--help" || word === "-h") && words.length === 1;
    const tell = asked ? say : complain;
    if (words[1] !== undefined) tell(`heliograph: there is no "${words.slice(0, 2).join(" ")}"${didYouMean(guess)}`);
    tell(`heliograph ${words[0]} takes one of:\n${inFamily.map((name) => `  heliograph ${name}`).join("\n")}`);
    return asked ? exitCodes.ok : exitCodes.usage;
  }
  const guess = nearest(argv[0]!.replace(/^-+/, ""), [...families, "--help", "--version"]);
  complain(`heliograph: there is no command "${argv[0]}"${didYouMean(guess)}`);
  complain("All commands: heliograph --help");
  return exitCodes.usage;
}

function didYouMean(guess: string | undefined): string {
  return guess === undefined ? "" : `: did you mean "${guess}"?`;
}

async function showOverview(tell: (line: string) => void): Promise<number> {
  tell("Heliograph: a monitoring federation for servers in many data centres.\n");
  tell("  heliograph demo                                      a whole federation on this machine");
  tell("  heliograph query 'count by (datacenter) (up)'        ask it something");
  tell("  heliograph topology check topology.yaml              is my own description of the world right?\n");
  tell("Usage: heliograph COMMAND [options]\n\nCommands:");
  for (const [name, load] of Object.entries(commands)) tell(`  ${name.padEnd(16)}  ${(await load()).summary}`);
  tell("\nEach has a --help with examples. `heliograph --version` tells the version.\n");
  tell("Exit codes: 0 it worked, 1 it failed, 2 the command line was not understood, 3 the topology file is wrong.");
  return exitCodes.ok;
}
