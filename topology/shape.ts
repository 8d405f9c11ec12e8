// What zod says of a wrong shape, said in the file's own words: "expected …, got …", and for a key that nobody knows the one
// that was probably meant.

import { z } from "zod";
import { countOf, type Finding, formatPath, type Path, showValue } from "#/topology/problem.ts";
import { topologySchema } from "#/topology/schema.ts";
import { showValueAt } from "#/topology/secret.ts";
import { nearest } from "#/topology/suggest.ts";
import { unsupportedBecause } from "#/topology/unsupported.ts";

type Issue = z.core.$ZodIssue;

/** The first `countMax` of them. */
export function shapeFindings(issues: readonly Issue[], value: unknown, countMax: number): Finding[] {
  const findings: Finding[] = [];
  const wrongTypes = new Set<string>();
  for (const issue of issues) {
    const room = countMax - findings.length;
    if (room <= 0) break;
    const path = issue.path as Path;
    // zod measures the length of a text even where a list was expected.
    if (wrongTypes.has(formatPath(path))) continue;
    if (issue.code === "invalid_type") wrongTypes.add(formatPath(path));
    if (issue.code === "unrecognized_keys") {
      findings.push(...issue.keys.slice(0, room).map((key) => unknownKey(path, key)));
    } else if (issue.code === "invalid_key") {
      const message = `expected ${expectationOf(issue.issues[0]!)}, got the key ${showValue(path.at(-1))}`;
      findings.push({ severity: "error", path, atKey: true, message });
    } else {
      findings.push({ severity: "error", path, message: `expected ${expectationOf(issue)}, got ${got(path, value)}` });
    }
  }
  return findings;
}

/** A key that the mapping at this path does not have. */
function unknownKey(path: Path, key: string): Finding {
  const finding = { severity: "error", path: [...path, key], atKey: true } as const;
  const reason = unsupportedBecause(path, key);
  if (reason) return { ...finding, message: reason };
  const known = knownKeys(path);
  const meant = nearest(key, known);
  const hint = meant ? `did you mean ${meant}?` : `known here: ${known.join(", ")}`;
  return { ...finding, message: `unknown key; ${hint}` };
}

/** The keys that the schema has in the mapping at this path; none where any key may stand. */
export function knownKeys(path: Path): readonly string[] {
  let schema: unknown = topologySchema;
  for (const part of path) {
    schema = unwrapped(schema);
    if (schema instanceof z.ZodArray) schema = schema.element;
    else if (schema instanceof z.ZodRecord) schema = schema.valueType;
    else if (schema instanceof z.ZodObject) schema = schema.shape[String(part)];
    else return [];
  }
  schema = unwrapped(schema);
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function unwrapped(schema: unknown): unknown {
  let inner = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault) inner = inner.unwrap();
  return inner;
}

function got(path: Path, value: unknown): string {
  let at = value;
  for (const part of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, part)) return "nothing: the key is missing";
    at = (at as Record<string | number, unknown>)[part];
  }
  return showValueAt(path, at);
}

const typeNames: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping",
  record: "a mapping",
};

function expectationOf(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return typeNames[issue.expected] ?? issue.expected;
    case "invalid_value":
      return issue.values.length === 1 ? String(issue.values[0]) : `one of ${issue.values.join(", ")}`;
    case "too_small":
      return bound("at least", issue.origin, issue.minimum);
    case "too_big":
      return bound("at most", issue.origin, issue.maximum);
    // The rest have their expectation as their message: schema.ts words every one.
    case "invalid_format":
    case "invalid_union":
    case "invalid_key":
    case "invalid_element":
    case "not_multiple_of":
    case "unrecognized_keys":
    case "custom":
      return issue.message;
    default:
      issue satisfies never;
      return "something else";
  }
}

function bound(limit: "at least" | "at most", origin: string, count: number | bigint): string {
  if (origin === "array") return `a list of ${limit} ${count}`;
  if (origin === "string") return `a text of ${limit} ${countOf(Number(count), "character")}`;
  return `a number of ${limit} ${count}`;
}
