// The rules of this repository as functions over a map of files, so that the tidy test can hold them against the tree and
// also against a tree with a planted breach.
//
// A rule looks at code with its comments blanked out (and, where a name is looked for, its strings too), and says what it
// found as sentences that name file and line.

import { dirname, join, normalize } from "node:path/posix";

/** Path from the root → text. */
export type Files = ReadonlyMap<string, string>;

/** `path:line: what is wrong` */
export type Breach = string;

// --- floors ---

/** A module imports only from lower floors, and never from a neighbour: another room on its own floor. */
export const floors: readonly (readonly string[])[] = [
  ["lib/assert", "lib/bytes", "lib/clock", "lib/logger", "lib/queue", "lib/random", "lib/regex"],
  ["lib/model", "lib/telemetry", "lib/supervision"],
  ["lib/codec", "proto"],
  ["lib/journal", "lib/store", "lib/blob", "lib/http", "lib/page", "lib/wire", "lib/promql"],
  ["lib/commitlog", "lib/pair", "lib/query", "lib/alerting", "lib/ledger", "lib/replica", "topology"],
  ["secondary", "primary", "global"],
  ["cli"],
  // Tests look into every room, and nothing looks into them.
  ["test"],
];

const floorOf = new Map(floors.flatMap((rooms, floor) => rooms.map((room) => [room, floor] as const)));

/** Every import counts: of types too, and those that happen while running. */
export function floorBreaches(files: Files): Breach[] {
  const breaches: Breach[] = [];
  for (const { from, to, line } of imports(files)) {
    if (!to.startsWith("#/")) continue;
    const path = to.slice(2);
    if (!path.includes("/")) continue; // A file of the root, like package.json.
    const here = roomOf(from);
    const there = roomOf(path);
    if (here === there) continue;
    const floorHere = floorOf.get(here);
    const floorThere = floorOf.get(there);
    if (floorHere === undefined) breaches.push(`${from}:${line}: ${here} is on no floor: put it on one in floors`);
    else if (floorThere === undefined) breaches.push(`${from}:${line}: imports ${to}, and ${there} is on no floor`);
    else if (floorThere === floorHere) {
      breaches.push(`${from}:${line}: ${here} imports its neighbour ${there} of floor ${floorHere} (${to})`);
    } else if (floorThere > floorHere) {
      breaches.push(
        `${from}:${line}: ${here} (floor ${floorHere}) imports ${there} (floor ${floorThere}) above it (${to})`,
      );
    }
  }
  return breaches;
}

function roomOf(path: string): string {
  const parts = path.split("/");
  return parts[0] === "lib" ? parts.slice(0, 2).join("/") : parts[0]!;
}

// --- imports ---

export interface Import {
  readonly from: string;
  readonly to: string;
  readonly line: number;
}

const importPatterns = [
  // import … from "x"; export … from "x"; import type … from "x"
  /\b(?:import|export)\b[^"'`;()]*?\bfrom\s*(["'])(?<to>[^"'\n]+)\1/g,
  // import "x"
  /\bimport\s*(["'])(?<to>[^"'\n]+)\1/g,
  // import("x"), also as a type
  /\bimport\s*\(\s*(["'])(?<to>[^"'\n]+)\1/g,
];

export function imports(files: Files): Import[] {
  const found: Import[] = [];
  for (const [from, text] of code(files)) {
    const bare = blank(text, { strings: false });
    // A string that merely speaks of an import (a test's planted breach, a help text) is none: where strings are blanked,
    // the keyword of a real one is still there.
    const blanked = blank(text, { strings: true });
    for (const pattern of importPatterns) {
      for (const match of bare.matchAll(pattern)) {
        if (!/^(?:import|export)/.test(blanked.slice(match.index))) continue;
        found.push({ from, to: match.groups!.to!, line: lineOf(text, match.index) });
      }
    }
  }
  return found;
}

export function computedImportBreaches(files: Files): Breach[] {
  return grep(files, /\bimport\s*\(\s*[^"'\s]/g, "imports a computed name, which no rule can follow");
}

/** Generated types import each other as their generator likes. */
export function relativeImportBreaches(files: Files): Breach[] {
  return imports(files)
    .filter(({ from, to }) => /^\.{1,2}\//.test(to) && !from.startsWith("proto/generated/"))
    .map(({ from, to, line }) => `${from}:${line}: imports ${to}: import from the root, as in "#/lib/…"`);
}

/** Packages that one file alone may import, so that replacing one is a day's work. */
const confined: Readonly<Record<string, string>> = {
  nats: "lib/wire/jetstream.ts",
  uplot: "global/web/graph.tsx",
};

export function confinedImportBreaches(files: Files): Breach[] {
  return imports(files)
    .filter(({ from, to }) => Object.hasOwn(confined, to) && confined[to] !== from)
    .map(({ from, to, line }) => `${from}:${line}: imports "${to}", which ${confined[to]} alone may`);
}

// --- cycles ---

/** Each cycle once, as the row of its files; imports of types count, because they too forbid to read one file first. */
export function importCycles(files: Files): string[][] {
  const edges = new Map<string, string[]>();
  for (const { from, to } of imports(files)) {
    if (from.startsWith("proto/generated/")) continue;
    const path = to.startsWith("#/") ? to.slice(2) : to.startsWith(".") ? join(dirname(from), to) : undefined;
    if (path !== undefined && files.has(path)) edges.set(from, [...(edges.get(from) ?? []), path]);
  }
  const done = new Set<string>();
  const way: string[] = [];
  const cycles: string[][] = [];
  function visit(file: string) {
    if (way.includes(file)) {
      cycles.push([...way.slice(way.indexOf(file)), file]);
      return;
    }
    if (done.has(file)) return;
    way.push(file);
    for (const next of edges.get(file) ?? []) visit(next);
    way.pop();
    done.add(file);
  }
  for (const file of edges.keys()) visit(file);
  return cycles;
}

// --- what only some may reach for ---

const tierMains = ["secondary/main.ts", "primary/main.ts", "global/main.ts"];
const isWorld = (path: string) =>
  tierMains.includes(path) || path.startsWith("cli/") || path.startsWith("global/web/") || path.startsWith("test/");

export function clockBreaches(files: Files): Breach[] {
  const reached =
    /\bDate\.now\b|\bnew Date\(\s*\)|\bperformance\.now\b|\bsetTimeout\s*\(|\bsetInterval\s*\(|\bAbortSignal\.timeout\b|\bMath\.random\b/g;
  const inner = only(files, (path) => !isWorld(path) && !/^lib\/(clock|random)\//.test(path));
  return grep(inner, reached, "reaches for time or chance: take a Clock or Random");
}

export function environmentBreaches(files: Files): Breach[] {
  return grep(
    only(files, (path) => !isWorld(path)),
    /\bprocess\.(?:env|argv)\b/g,
    "reads the environment, which is for main.ts and the command line",
  );
}

// --- shape ---

export const linesMax = 600;

export function lengthBreaches(files: Files): Breach[] {
  return [...code(files)]
    .map(([path, text]) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ path, lines }) => lines > linesMax && !path.startsWith("proto/generated/"))
    .map(({ path, lines }) => `${path}:${lines}: has ${lines} lines; split it (${linesMax} is the alarm)`);
}

export function defaultExportBreaches(files: Files): Breach[] {
  const bound = only(files, (path) => path !== "global/web/vite.config.ts");
  return grep(bound, /\bexport\s+default\b|\bexport\s*\{[^}]*\bas\s+default\b/g, "exports a default: name it");
}

/** Also in documents: what is to be done is an issue, not a comment. */
export function leftoverBreaches(files: Files): Breach[] {
  // Written so that this line is none itself.
  const word = /\b(?:T[O]DO|F[I]XME)\b/;
  const breaches: Breach[] = [];
  for (const [path, text] of files) {
    for (const [i, line] of text.split("\n").entries()) {
      if (word.test(line)) breaches.push(`${path}:${i + 1}: leaves something to do`);
    }
  }
  return breaches;
}

// --- documents ---

/** Links of the documents to files and headings of this repository. */
export function linkBreaches(files: Files): Breach[] {
  const breaches: Breach[] = [];
  for (const [path, text] of files) {
    if (!path.endsWith(".md")) continue;
    const prose = text.replace(/```[\s\S]*?```|`[^`\n]*`/g, (block) => block.replace(/[^\n]/g, " "));
    for (const match of prose.matchAll(/\]\((?<to>[^)\s]+)\)/g)) {
      const to = match.groups!.to!;
      if (/^[a-z]+:/.test(to)) continue;
      const [target = "", heading] = to.split("#");
      const file = target === "" ? path : normalize(join(dirname(path), target)).replace(/\/$/, "");
      const at = `${path}:${lineOf(text, match.index)}`;
      const isFolder = [...files.keys()].some((known) => known.startsWith(`${file}/`));
      if (!files.has(file) && !isFolder) breaches.push(`${at}: links to ${to}, which is not there`);
      else if (heading && !anchorsOf(files.get(file) ?? "").has(heading)) {
        breaches.push(`${at}: links to ${to}, and ${file} has no such heading`);
      }
    }
  }
  return breaches;
}

/** As the forges make them: lower case, punctuation dropped, spaces to hyphens. */
function anchorsOf(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading!);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\- _]/gu, "")
        .trim()
        .replace(/ /g, "-"),
    ),
  );
}

// --- reading code ---

function code(files: Files): Files {
  return only(files, (path) => /\.tsx?$/.test(path));
}

export function only(files: Files, keep: (path: string) => boolean): Files {
  return new Map([...files].filter(([path]) => keep(path)));
}

function grep(files: Files, pattern: RegExp, complaint: string): Breach[] {
  const breaches: Breach[] = [];
  for (const [path, text] of code(files)) {
    for (const match of blank(text, { strings: true }).matchAll(pattern)) {
      breaches.push(`${path}:${lineOf(text, match.index)}: ${complaint} (${match[0].trim()})`);
    }
  }
  return breaches;
}

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

/** A `/` after one of these begins a regular expression, else it divides. */
const beforeRegex = /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|await|yield))\s*$/;

/** The text with comments (and the insides of strings) as spaces; every other character keeps its place. */
export function blank(text: string, { strings }: { readonly strings: boolean }): string {
  let out = "";
  let i = 0;
  /** Depths of braces at which a template's `${` was opened. */
  const templates: number[] = [];
  let depth = 0;
  const hide = (from: number, until: number) => text.slice(from, until).replace(/[^\n]/g, " ");
  const keep = (from: number, until: number) => (strings ? hide(from, until) : text.slice(from, until));
  while (i < text.length) {
    const two = text.slice(i, i + 2);
    const one = text[i]!;
    if (two === "//") {
      const end = endOf(text, "\n", i);
      out += hide(i, end);
      i = end;
    } else if (two === "/*") {
      const end = Math.min(text.length, endOf(text, "*/", i + 2) + 2);
      out += hide(i, end);
      i = end;
    } else if (one === '"' || one === "'") {
      const end = stringEnd(text, i);
      out += one + keep(i + 1, end - 1) + (end > i + 1 ? one : "");
      i = end;
    } else if (one === "`" || (one === "}" && templates.at(-1) === depth)) {
      if (one === "}") templates.pop();
      const end = templateEnd(text, i + 1);
      out += one + keep(i + 1, end);
      i = end;
      if (text.startsWith("${", i)) {
        templates.push(depth);
        out += "${";
        i += 2;
      } else {
        out += text.slice(i, i + 1);
        i += 1;
      }
    } else if (one === "/" && beforeRegex.test(out.slice(-40))) {
      const end = regexEnd(text, i);
      out += one + keep(i + 1, end);
      i = end;
    } else {
      if (one === "{") depth++;
      if (one === "}") depth--;
      out += one;
      i++;
    }
  }
  return out;
}

function endOf(text: string, mark: string, from: number): number {
  const end = text.indexOf(mark, from);
  return end < 0 ? text.length : end;
}

/** After the closing quote, or at the end of the line: an apostrophe in the text of a page opens nothing. */
function stringEnd(text: string, from: number): number {
  const quote = text[from];
  for (let i = from + 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === quote) return i + 1;
    else if (text[i] === "\n") return from + 1;
  }
  return from + 1;
}

/** At the closing backtick or at the next `${`. */
function templateEnd(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "`" || text.startsWith("${", i)) return i;
  }
  return text.length;
}

function regexEnd(text: string, from: number): number {
  let inClass = false;
  for (let i = from + 1; i < text.length && text[i] !== "\n"; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "[") inClass = true;
    else if (text[i] === "]") inClass = false;
    else if (text[i] === "/" && !inClass) return i + 1;
  }
  return from + 1;
}
