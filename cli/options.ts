// What a command of the command line says of itself, and how its arguments are read: once, for all of them.
//
// A command declares its options with a sentence each. Parsing, the help text and "did you mean" follow from that, so that
// none of the three can be out of date. Exit codes are the same everywhere.

import { type ParseArgsConfig, parseArgs } from "node:util";
import { nearest } from "#/topology/suggest.ts";

/** What a command ends with. Scripts rely on these: a number is never given another meaning. */
export const exitCodes = { ok: 0, failed: 1, usage: 2, badTopology: 3 } as const;

export interface OptionDeclaration {
  /** What stands after it, for instance `FILE`; a switch has none. */
  readonly value?: string;
  /** One sentence or less, for the help. */
  readonly help: string;
  readonly default?: string;
  readonly multiple?: boolean;
  readonly short?: string;
}

export interface CommandDeclaration {
  /** As it is typed after `heliograph`. */
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** What stands after the name, for instance `FILE [options]`. */
  readonly usage: string;
  /** Each with a word why: they come first in the help. */
  readonly examples: readonly { readonly command: string; readonly does: string }[];
  /** What one has to know to use it, wrapped by hand at 100 columns. */
  readonly description?: string;
  readonly options: Readonly<Record<string, OptionDeclaration>>;
  /** How many words stand beside the options, at least and at most. */
  readonly positionals?: { readonly min: number; readonly max: number; readonly what: string };
  /** Besides 0 and 2, which every command has. */
  readonly exits?: readonly { readonly code: number; readonly means: string }[];
}

/** A command line that cannot be understood: the message says what is wrong with which argument. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export interface ParsedOptions {
  readonly positionals: readonly string[];
  /** The value given, or the default; undefined when there is neither. */
  text(option: string): string | undefined;
  /** As `text`, for what must be given. */
  required(option: string): string;
  list(option: string): readonly string[];
  isSet(option: string): boolean;
  /** A whole number within the bounds, from a text that was given or is the default. */
  whole(option: string, bounds: { readonly min: number; readonly max: number }): number;
  /** ms of a duration such as `5s` or `1m30s`. */
  durationMs(option: string): number;
}

/** Undefined when `--help` was asked for. Throws UsageError. */
export function parseOptions(command: CommandDeclaration, argv: readonly string[]): ParsedOptions | undefined {
  const declared = command.options;
  const config: NonNullable<ParseArgsConfig["options"]> = { help: { type: "boolean", short: "h" } };
  for (const [name, option] of Object.entries(declared)) {
    config[name] = {
      type: option.value === undefined ? "boolean" : "string",
      multiple: option.multiple ?? false,
      ...(option.short !== undefined && { short: option.short }),
    };
  }
  const { values, positionals } = parse(argv, config);
  if (values.help) return undefined;
  const { min, max, what } = command.positionals ?? { min: 0, max: 0, what: "" };
  if (positionals.length < min) throw new UsageError(`${what} is missing`);
  if (positionals.length > max) throw new UsageError(`"${positionals[max]}" is one word too many`);

  function text(option: string): string | undefined {
    const given = values[option];
    return typeof given === "string" ? given : declared[option]?.default;
  }
  function required(option: string): string {
    const value = text(option);
    if (value === undefined) throw new UsageError(`--${option} ${declared[option]?.value ?? ""} is missing`);
    return value;
  }
  return {
    positionals,
    text,
    required,
    list(option) {
      const given = values[option];
      return Array.isArray(given) ? given.map(String) : [];
    },
    isSet: (option) => values[option] !== undefined && values[option] !== false,
    whole(option, { min: least, max: most }) {
      const value = required(option);
      const number = Number(value);
      if (!/^\d+$/.test(value) || number < least || number > most) {
        throw new UsageError(`--${option}: expected a whole number from ${least} to ${most}, got "${value}"`);
      }
      return number;
    },
    durationMs: (option) => readDuration(required(option), `--${option}`),
  };
}

/** Every problem that parseArgs can have, in our words and with the nearest option. */
function parse(argv: readonly string[], options: NonNullable<ParseArgsConfig["options"]>) {
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true });
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const option = options[token.name];
    if (!option) {
      const known = Object.keys(options);
      const suggestion = nearest(token.name, known);
      throw new UsageError(
        `${token.rawName} is not an option here${suggestion ? `: did you mean --${suggestion}?` : ""}`,
      );
    }
    if (option.type === "boolean" && token.value !== undefined) {
      throw new UsageError(`${token.rawName} takes no value, got "${token.value}"`);
    }
    if (option.type === "string" && (token.value === undefined || looksLikeOption(token.value, options))) {
      throw new UsageError(`${token.rawName} needs a value after it`);
    }
  }
  return parseArgs({ args: [...argv], options, strict: false, allowPositionals: true });
}

/** `--data --help` forgot a value; `--start -1h` did not. */
function looksLikeOption(value: string, options: NonNullable<ParseArgsConfig["options"]>): boolean {
  return value.startsWith("--") && value.slice(2).split("=")[0]! in options;
}

/** ms of `500ms`, `5s`, `1m30s`, `1h`; a bare number is seconds. */
export function readDuration(text: string, where: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const match = /^(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/.exec(text);
  if (!match) throw new UsageError(`${where}: expected a duration such as 500ms, 5s or 1m30s, got "${text}"`);
  const [days, hours, minutes, seconds, ms] = match.slice(1).map((part) => Number(part ?? 0));
  return (((days! * 24 + hours!) * 60 + minutes!) * 60 + seconds!) * 1000 + ms!;
}

export function helpText(command: CommandDeclaration): string {
  const lines = [`${command.summary}`, ""];
  for (const { command: example, does } of command.examples) {
    lines.push(`  ${`heliograph ${example}`.padEnd(58)}  ${does}`.trimEnd());
  }
  lines.push("", `Usage: heliograph ${command.name} ${command.usage}`.trimEnd());
  if (command.description) lines.push("", command.description.trim());
  lines.push("", "Options:");
  for (const [name, option] of Object.entries({ ...command.options, help: { help: "Shows this.", short: "h" } })) {
    lines.push(optionLine(name, option));
  }
  lines.push("", "Exit codes:", `  ${exitCodes.ok}  it worked`);
  const exits = [...(command.exits ?? []), { code: exitCodes.usage, means: "the command line was not understood" }];
  for (const { code, means } of exits.sort((a, b) => a.code - b.code)) lines.push(`  ${code}  ${means}`);
  return `${lines.join("\n")}\n`;
}

function optionLine(name: string, option: OptionDeclaration): string {
  const head = `  ${option.short ? `-${option.short}, ` : ""}--${name}${option.value === undefined ? "" : ` ${option.value}`}`;
  const notes = [option.multiple && "may be repeated", option.default !== undefined && `default ${option.default}`];
  const note = notes.filter(Boolean).join("; ");
  return `${head.padEnd(26)}  ${option.help}${note ? ` (${note})` : ""}`;
}
