// Reads the topology file: text in, a topology out or every problem at once, each with its place, its key, what was expected
// and what stands there.
//
// Two passes: the shape (schema.ts), then what must hold between the parts (check.ts), which needs a right shape. A file
// whose only faults of shape are unknown keys goes on to the second pass without them, so that it is told everything.

import { open } from "node:fs/promises";
import { basename } from "node:path";
import type { z } from "zod";
import { MiB } from "#/lib/bytes/units.ts";
import { checkTopology } from "#/topology/check.ts";
import { type Finding, formatPath, type Problem, TopologyInvalid } from "#/topology/problem.ts";
import { type Topology, topologySchema } from "#/topology/schema.ts";
import { shapeFindings } from "#/topology/shape.ts";
import { readYaml, type YamlSource } from "#/topology/yaml.ts";

/** 200,000 static targets, a line each; more belong into files that file_sd_configs name. */
export const topologyBytesMax = 8 * MiB;

/** More would not be read by anybody. */
const problemsMax = 200;

/** Reads and checks the file. Throws TopologyInvalid, also when the file cannot be read. */
export async function loadTopology(path: string): Promise<{ topology: Topology; warnings: readonly Problem[] }> {
  const fileName = basename(path);
  const { topology, problems } = parseTopology(await readText(path, fileName), fileName);
  if (!topology) throw new TopologyInvalid(problems);
  return { topology, warnings: problems };
}

/**
 * The topology is there exactly when none of the problems is an error. Problems are in the order of the file, and at most
 * 200: when there are more, errors are told before warnings.
 */
export function parseTopology(
  text: string,
  fileName: string,
): { readonly topology?: Topology; readonly problems: readonly Problem[] } {
  const source = readYaml(text);
  const problems: Problem[] = source.errors.map(({ path, ...rest }) => ({
    severity: "error",
    file: fileName,
    path: formatPath(path),
    ...rest,
  }));
  if (source.value === undefined) return { problems };
  if (source.value === null) {
    return {
      problems: [wholeFile(fileName, "expected a topology, got an empty file; docs/topology.md shows a first one")],
    };
  }
  const { topology, findings } = judge(source.value);
  const told = findings.length > problemsMax ? errorsFirst(findings).slice(0, problemsMax) : findings;
  problems.push(...told.map((finding) => placed(finding, source, fileName)));
  problems.sort((a, b) => a.line - b.line || a.column - b.column);
  if (findings.length > told.length)
    problems.push(wholeFile(fileName, `only the first ${problemsMax} problems are shown`));
  return topology && !problems.some((problem) => problem.severity === "error") ? { topology, problems } : { problems };
}

function errorsFirst(findings: readonly Finding[]): readonly Finding[] {
  return findings.toSorted((a, b) => Number(b.severity === "error") - Number(a.severity === "error"));
}

function judge(value: unknown): { topology?: Topology; findings: readonly Finding[] } {
  const shape = topologySchema.safeParse(value);
  if (shape.success) return { topology: shape.data, findings: checkTopology(shape.data) };
  const findings = shapeFindings(shape.error.issues, value, problemsMax + 1);
  if (shape.error.issues.every((issue) => issue.code === "unrecognized_keys")) {
    const rest = topologySchema.safeParse(withoutKeys(value, shape.error.issues));
    if (rest.success) return { findings: [...findings, ...checkTopology(rest.data)] };
  }
  return { findings };
}

function withoutKeys(value: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  const copy = structuredClone(value);
  for (const issue of issues) {
    if (issue.code !== "unrecognized_keys") continue;
    const at = issue.path.reduce((node, part) => (node as Record<PropertyKey, unknown>)[part], copy);
    for (const key of issue.keys) delete (at as Record<string, unknown>)[key];
  }
  return copy;
}

function placed(finding: Finding, source: YamlSource, fileName: string): Problem {
  const { severity, path, message } = finding;
  return { severity, file: fileName, ...source.locate(path, finding.atKey), path: formatPath(path), message };
}

function wholeFile(file: string, message: string): Problem {
  return { severity: "error", file, line: 0, column: 0, path: "", message };
}

async function readText(path: string, fileName: string): Promise<string> {
  const bytes = Buffer.allocUnsafe(topologyBytesMax + 1);
  let length = 0;
  try {
    await using file = await open(path);
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length);
      length += bytesRead;
      if (bytesRead === 0 || length === bytes.length) break;
    }
  } catch (cause) {
    const message = `${path}: expected a file that can be read, got ${(cause as Error).message}`;
    throw new TopologyInvalid([wholeFile(fileName, message)], { cause });
  }
  if (length > topologyBytesMax) {
    const message = `expected at most ${topologyBytesMax / MiB} MiB, got more; put targets into files that file_sd_configs name`;
    throw new TopologyInvalid([wholeFile(fileName, message)]);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, length));
  } catch (cause) {
    throw new TopologyInvalid([wholeFile(fileName, "expected text in UTF-8, got other bytes")], { cause });
  }
}
