// What is wrong with a topology file, said so that it can be mended: where, which key, what was expected, what stands there.

/** Keys and indices from the top of the file. */
export type Path = readonly (string | number)[];

export interface Problem {
  readonly severity: "error" | "warning";
  readonly file: string;
  /** Both count from 1; 0 when the problem is the file as a whole. */
  readonly line: number;
  readonly column: number;
  /** `datacenters[0].primaries[1].http.listen`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** A problem before it has its place in the file. */
export interface Finding {
  readonly severity: "error" | "warning";
  readonly path: Path;
  /** The place is that of the key rather than of its value. */
  readonly atKey?: boolean;
  readonly message: string;
}

/** The file cannot be used; `problems` has at least one error, and the warnings too. */
export class TopologyInvalid extends Error {
  override readonly name = "TopologyInvalid";
  readonly code = "topology_invalid";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[], options?: ErrorOptions) {
    super(problems.map(formatProblem).join("\n"), options);
    this.problems = problems;
  }
}

/** `topology.yaml:8:29: error: datacenters[0].name: expected …, got …` */
export function formatProblem(problem: Problem): string {
  const place = problem.line > 0 ? `${problem.file}:${problem.line}:${problem.column}` : problem.file;
  return `${place}: ${problem.severity}: ${problem.path ? `${problem.path}: ` : ""}${problem.message}`;
}

export function formatPath(path: Path): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (/^[\w-]+$/.test(part)) text += text ? `.${part}` : part;
    else text += `[${shown(part, pathPartLengthMax)}]`;
  }
  return text;
}

const pathPartLengthMax = 40;
const shownLengthMax = 60;

/** A bad value, short enough for a line, and without what may be a password in a URL. */
export function showValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "nothing (the value is empty)";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  if (typeof value === "object") return `a mapping with ${countOf(Object.keys(value).length, "key")}`;
  if (typeof value === "string") return shown(value.replace(/\/\/[^/@\s]*@/g, "//…@"), shownLengthMax);
  return `${String(value)} (a ${typeof value})`;
}

export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** JSON keeps control characters from reaching a terminal. */
function shown(text: string, lengthMax: number): string {
  return JSON.stringify(text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text);
}
