// A command of the command line: what it says of itself (options.ts), and what it does.

import type { CommandDeclaration, ParsedOptions } from "#/cli/options.ts";

export interface Command extends CommandDeclaration {
  /** Resolves with the exit code. `argv` is what stood after the command's name. */
  run(options: ParsedOptions, argv: readonly string[]): Promise<number>;
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function complain(line: string): void {
  process.stderr.write(`${line}\n`);
}
