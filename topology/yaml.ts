// YAML in, a plain value out, and the way back: the line and column of every part of it.
//
// What comes in may be anybody's file, so all of it is bounded: its size, its depth, and what its aliases unfold to (nine
// lines of aliases can stand for a billion values). Keys that stand twice are an error here, not the last one's victory.

import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import type { Path } from "#/topology/problem.ts";
import { mayBeSecret } from "#/topology/secret.ts";

/** Depth of a topology file is about ten. */
const depthMax = 64;

/** Values after aliases are unfolded: ten times what the largest file we take can hold without them. */
const valuesMax = 2_000_000;

/** One broken line makes many errors of its successors; the first ones tell. */
const errorsMax = 20;

export interface YamlError {
  readonly line: number;
  readonly column: number;
  readonly path: Path;
  readonly message: string;
}

export interface YamlSource {
  /** Undefined when the text could not be read; null when it is empty. Mappings have no prototype. */
  readonly value: unknown;
  readonly errors: readonly YamlError[];
  /** The place of the value at this path (or of its key), or of the nearest thing around it that is there. */
  locate(path: Path, atKey?: boolean): { line: number; column: number };
}

/** `strings`: every scalar is its text, as Go reads YAML into strings; otherwise the types of YAML 1.2's core schema. */
export function readYaml(text: string, options?: { readonly strings?: boolean }): YamlSource {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter,
    schema: options?.strings ? "failsafe" : "core",
    stringKeys: true,
    // The library compares each key with all others, which takes hours for a file of a million keys; Reader uses sets.
    uniqueKeys: false,
    prettyErrors: false,
    resolveKnownTags: false,
    // "silent" would also keep quiet about a second document.
    logLevel: "error",
  });
  const placeOf = (offset: number) => {
    const { line, col } = lineCounter.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const contents = document.contents as Node | null;
  const locate: YamlSource["locate"] = (path, atKey) => placeOf(offsetOf(contents, path, reader.targets, atKey));
  const reader = new Reader();

  const broken = [...document.errors, ...document.warnings].slice(0, errorsMax);
  if (broken.length > 0) {
    const errors = broken.map((error) => ({ ...placeOf(error.pos[0]), path: [], message: sentenceOf(error) }));
    return { value: undefined, errors, locate };
  }
  const value = contents === null ? null : reader.read(contents, [], 0);
  const errors = reader.errors.map(({ offset, ...rest }) => ({ ...placeOf(offset), ...rest }));
  return { value: reader.stopped ? undefined : value, errors, locate };
}

function sentenceOf(error: { code: string; message: string }): string {
  if (error.code === "MULTIPLE_DOCS") return "expected one YAML document, got another one that begins here with ---";
  if (error.code === "RESOURCE_EXHAUSTION") return "nested too deeply";
  return `not valid YAML: ${withoutExcerpt(error.message)}`;
}

/** Some messages end with what stands there, which may be a password that YAML takes for something else. */
function withoutExcerpt(message: string): string {
  return message.replace(/^(.*(?:token in YAML stream|extra characters|tag)): .*$/s, "$1");
}

/** Turns nodes into values, and remembers what aliases stand for. */
class Reader {
  readonly errors: { offset: number; path: Path; message: string }[] = [];
  readonly targets = new Map<Node, Node>();
  /** A limit was hit: what was read is not the whole. */
  stopped = false;
  #values = 0;
  /** By name: the latest anchor before, what it was read as, and how many values that is. */
  readonly #anchors = new Map<string, { node: Node; value: unknown; values: number }>();

  read(node: Node, path: Path, depth: number): unknown {
    if (this.stopped) return undefined;
    if (depth > depthMax) return this.#stop(node, path, `nested too deeply: at most ${depthMax} levels are read`);
    const before = this.#values;
    this.#values += 1;
    const value = this.#valueOf(node, path, depth);
    if (this.#values > valuesMax) {
      return this.#stop(
        node,
        path,
        `too much: at most ${valuesMax} values are read, counting aliases as what they stand for`,
      );
    }
    if (!isAlias(node) && node.anchor) {
      this.#anchors.set(node.anchor, { node, value, values: this.#values - before });
    }
    return value;
  }

  #valueOf(node: Node, path: Path, depth: number): unknown {
    if (isScalar(node)) return node.value;
    if (isSeq(node)) {
      return node.items.map((item, index) =>
        item === null ? null : this.read(item as Node, [...path, index], depth + 1),
      );
    }
    if (isMap(node)) return this.#mapping(node.items as unknown as MapItem[], path, depth);
    if (!isAlias(node)) return this.#fail(node, path, "expected a plain value");
    const anchor = this.#anchors.get(node.source);
    if (!anchor) {
      const message = mayBeSecret(path)
        ? "there is no anchor of this name before this"
        : `*${node.source}: there is no anchor &${node.source} before this`;
      return this.#fail(node, path, message);
    }
    this.#values += anchor.values;
    this.targets.set(node, anchor.node);
    return anchor.value;
  }

  #mapping(items: readonly MapItem[], path: Path, depth: number): Record<string, unknown> {
    const mapping: Record<string, unknown> = Object.create(null);
    const seen = new Set<string>();
    for (const { key: keyNode, value } of items) {
      const key = keyOf(keyNode);
      if (key === undefined) {
        this.#fail(keyNode, path, "expected a plain key");
        continue;
      }
      const keyPath = [...path, key];
      if (seen.has(key)) this.#fail(keyNode, keyPath, "this key stands here a second time");
      else if (key === "<<")
        this.#fail(keyNode, keyPath, "merge keys are not supported; write the keys out, or alias a whole value");
      seen.add(key);
      const read = value === null ? null : this.read(value, keyPath, depth + 1);
      if (key !== "<<") mapping[key] = read;
    }
    return mapping;
  }

  #fail(node: Node, path: Path, message: string): undefined {
    if (this.errors.length < errorsMax) this.errors.push({ offset: node.range?.[0] ?? 0, path, message });
    return undefined;
  }

  #stop(node: Node, path: Path, message: string): undefined {
    if (!this.stopped) this.errors.push({ offset: node.range?.[0] ?? 0, path, message });
    this.stopped = true;
    return undefined;
  }
}

interface MapItem {
  readonly key: Node;
  readonly value: Node | null;
}

function keyOf(node: Node): string | undefined {
  return isScalar(node) && typeof node.value === "string" ? node.value : undefined;
}

function offsetOf(root: Node | null, path: Path, targets: ReadonlyMap<Node, Node>, atKey = false): number {
  let node = root;
  let offset = root?.range?.[0] ?? 0;
  for (const [depth, part] of path.entries()) {
    while (node && targets.has(node)) node = targets.get(node)!;
    const last = depth === path.length - 1;
    if (isMap(node)) {
      const item = (node.items as unknown as MapItem[]).find(({ key }) => keyOf(key) === part);
      if (!item) return offset;
      const place = (last && atKey) || !item.value ? item.key : item.value;
      offset = place.range?.[0] ?? offset;
      node = item.value;
    } else if (isSeq(node)) {
      node = (node.items[Number(part)] as Node | undefined) ?? null;
      if (!node) return offset;
      offset = node.range?.[0] ?? offset;
    } else return offset;
  }
  return offset;
}
