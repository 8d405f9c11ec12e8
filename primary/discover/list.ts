// The files that file_sd_configs name: a list of groups, each with targets and labels, in YAML or JSON.
//
// A file that is not such a list is refused whole, because half of one is what a write in progress looks like.

import { z } from "zod";
import { MiB } from "#/lib/bytes/units.ts";
import type { TargetGroup } from "#/primary/discover/target.ts";
import { formatPath, type Path, showValue } from "#/topology/problem.ts";
import { readYaml } from "#/topology/yaml.ts";

/** 50,000 targets, each with a dozen labels of its own, are about 16 MiB. */
export const listBytesMax = 16 * MiB;

/** YAML takes many times as long as JSON to read, and the process does nothing else meanwhile. */
const yamlBytesMax = 2 * MiB;

export type BadTargetListCode = "too_large" | "not_utf8" | "empty" | "syntax" | "shape" | "too_many" | "no_room";

export class BadTargetList extends Error {
  override readonly name = "BadTargetList";
  readonly code: BadTargetListCode;

  constructor(code: BadTargetListCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const labelName = z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, "a label name of letters, digits and underscores");
const listSchema = z.array(
  z.strictObject(
    {
      targets: z.array(z.string("a text"), "a list of host:port").default([]),
      labels: z.record(labelName, z.string("a text"), "a mapping of labels").default({}),
    },
    "a mapping with targets and labels",
  ),
  "a list of groups with targets and labels",
);

/** `fileName` tells YAML from JSON. Throws BadTargetList. */
export function parseTargetList(bytes: Uint8Array, fileName: string): readonly TargetGroup[] {
  const isJson = fileName.endsWith(".json");
  const bytesMax = isJson ? listBytesMax : yamlBytesMax;
  if (bytes.length > bytesMax) {
    const hint = isJson ? "split the file" : `split the file, or write JSON (up to ${listBytesMax / MiB} MiB)`;
    throw new BadTargetList("too_large", `expected at most ${bytesMax / MiB} MiB, got more; ${hint}`);
  }
  const text = textOf(bytes);
  // A file that was truncated to be written anew must not end the scraping of everything in it.
  if (text.trim() === "") throw new BadTargetList("empty", "expected a list, got an empty file; [] is a list of none");
  const { value, placeOf } = isJson ? readJson(text) : readYamlList(text);
  const result = listSchema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new BadTargetList("shape", `${placeOf(issue.path as Path)}${sentenceOf(issue, value)}`);
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new BadTargetList("not_utf8", "expected text in UTF-8, got other bytes", { cause });
  }
}

interface ReadList {
  readonly value: unknown;
  readonly placeOf: (path: Path) => string;
}

function readJson(text: string): ReadList {
  try {
    return { value: JSON.parse(text), placeOf: (path) => (path.length > 0 ? `${formatPath(path)}: ` : "") };
  } catch (cause) {
    throw new BadTargetList("syntax", `not valid JSON: ${(cause as Error).message}`, { cause });
  }
}

function readYamlList(text: string): ReadList {
  const source = readYaml(text, { strings: true });
  const first = source.errors[0];
  if (first) throw new BadTargetList("syntax", `${first.line}:${first.column}: ${first.message}`);
  const placeOf = (path: Path) => {
    const { line, column } = source.locate(path);
    return `${line}:${column}: ${path.length > 0 ? `${formatPath(path)}: ` : ""}`;
  };
  return { value: withoutEmpty(source.value), placeOf };
}

/** `targets:` and `labels:` with nothing after them are empty, as Go reads them; read as texts they are "". */
function withoutEmpty(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  return value.map((group: unknown) => {
    if (typeof group !== "object" || group === null || Array.isArray(group)) return group;
    const isEmpty = ([key, part]: [string, unknown]) => (key === "targets" || key === "labels") && part === "";
    return Object.fromEntries(Object.entries(group).filter((entry) => !isEmpty(entry)));
  });
}

function sentenceOf(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === "unrecognized_keys") {
    return `expected targets and labels alone, got the key ${showValue(issue.keys[0])}`;
  }
  if (issue.code === "invalid_key") {
    return `expected ${issue.issues[0]!.message}, got ${showValue(issue.path.at(-1))}`;
  }
  const got = issue.path.reduce<unknown>((at, part) => (at as Record<PropertyKey, unknown>)[part], value);
  return `expected ${issue.message}, got ${showValue(got)}`;
}
