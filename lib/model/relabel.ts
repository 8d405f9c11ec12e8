// Relabelling as in Prometheus (docs/relabelling.md): a list of rules that a set of labels passes through, each of which may
// change it or drop it.
//
// It is Prometheus' model/relabel of version 3 in what it does: a dot matches a newline, and a replacement that is empty takes
// away the label that the target's template names.

import { createHash } from "node:crypto";
import type { RE2JS } from "re2js";
import { contentId } from "#/lib/bytes/hash.ts";
import { compileAnchored, compileTest } from "#/lib/regex/regex.ts";
import { expand, parseTemplate, type Template } from "#/lib/regex/template.ts";

/** The position is the number in our formats: append, never renumber. */
export const relabelActions = [
  "replace",
  "keep",
  "drop",
  "keepequal",
  "dropequal",
  "hashmod",
  "labelmap",
  "labeldrop",
  "labelkeep",
  "lowercase",
  "uppercase",
] as const;
export type RelabelAction = (typeof relabelActions)[number];

/** Rules of one list: ten times the longest that is usual, and each is applied to every target or series. */
export const relabelRulesMax = 500;
/** Source labels of one rule. */
export const relabelSourcesMax = 100;

export interface RelabelRule {
  readonly action: RelabelAction;
  readonly sourceLabels: readonly string[];
  readonly separator: string;
  readonly regex: string;
  /** Of `hashmod`, else 0. */
  readonly modulus: number;
  /** A template for `replace`; "" where the action has none. */
  readonly targetLabel: string;
  readonly replacement: string;
}

/** What a scrape config says of the series of its targets. */
export interface MetricRelabel {
  /** Equal for equal content, and only then. */
  readonly id: string;
  readonly rules: readonly RelabelRule[];
  /** Names of the labels that carry data centre and region, sorted: rules neither see nor change them. */
  readonly placeLabels: readonly string[];
}

export function metricRelabelOf(rules: readonly RelabelRule[], placeLabels: readonly string[]): MetricRelabel {
  const id = contentId(JSON.stringify([placeLabels, rules.map((rule) => Object.entries(rule).sort())]));
  return { id, rules, placeLabels };
}

/** What a scrape config leaves out. */
export const relabelDefaults = {
  action: "replace",
  separator: ";",
  regex: "(.*)",
  replacement: "$1",
} as const satisfies Partial<RelabelRule>;

export const labelNamePattern = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
export const metricNamePattern = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** Answers of one rule that are remembered: the values of most labels repeat from series to series. */
const rememberedMax = 4096;

/** Labels by name, sorted at the start; none has an empty value. */
export type LabelMap = Map<string, string>;

type Step = (labels: LabelMap) => boolean;

export class Relabelling {
  readonly rules: readonly RelabelRule[];
  readonly #steps: readonly Step[];
  readonly #nameTests: readonly ((name: string) => boolean)[];

  /** Throws Error with RE2's reason when an expression is wrong. */
  constructor(rules: readonly RelabelRule[]) {
    this.rules = rules;
    this.#steps = rules.map(stepOf);
    this.#nameTests = rules.filter(({ action }) => action === "labelmap").map(({ regex }) => compileTest(regex));
  }

  /** Changes the labels; the number of the rule that drops them, and undefined when they are kept. */
  apply(labels: LabelMap): number | undefined {
    for (const [i, step] of this.#steps.entries()) if (!step(labels)) return i;
    return undefined;
  }

  /**
   * Of these names, those whose values can make a difference to what `apply` makes of the other labels, and those that it may
   * write. The others it passes on unread, or takes away for their names.
   */
  touches(names: readonly string[]): string[] {
    const literal = new Set<string>();
    for (const { action, replacement, sourceLabels, targetLabel } of this.rules) {
      for (const name of sourceLabels) literal.add(name);
      const written = action === "labelmap" ? replacement : targetLabel;
      // A name that is made of what is read can be any.
      if ((action === "labelmap" || action === "replace") && written.includes("$")) return [...names];
      literal.add(written);
    }
    return names.filter((name) => literal.has(name) || this.#nameTests.some((test) => test(name)));
  }
}

function stepOf(rule: RelabelRule): Step {
  const { action, modulus, replacement, separator, sourceLabels, targetLabel } = rule;
  const source = (labels: LabelMap) => joined(labels, sourceLabels, separator);
  switch (action) {
    case "replace":
      return replaceStep(rule);
    case "keep":
    case "drop": {
      const test = compileTest(rule.regex);
      return (labels) => test(source(labels)) === (action === "keep");
    }
    case "keepequal":
    case "dropequal":
      return (labels) => ((labels.get(targetLabel) ?? "") === source(labels)) === (action === "keepequal");
    case "hashmod":
      return (labels) => set(labels, targetLabel, hashModulo(source(labels), modulus));
    case "lowercase":
      return (labels) => set(labels, targetLabel, lowerCase(source(labels)));
    case "uppercase":
      return (labels) => set(labels, targetLabel, upperCase(source(labels)));
    case "labelmap": {
      const rename = replacerOf(rule.regex, replacement);
      return (labels) => {
        // What is mapped was there before the rule, whatever it writes.
        for (const [name, value] of [...labels]) {
          const renamed = rename(name);
          if (renamed !== undefined) set(labels, renamed, value);
        }
        return true;
      };
    }
    case "labeldrop":
    case "labelkeep": {
      const test = compileTest(rule.regex);
      return (labels) => {
        for (const name of labels.keys()) if (test(name) === (action === "labeldrop")) labels.delete(name);
        return true;
      };
    }
    default:
      return action satisfies never;
  }
}

function replaceStep({ regex, replacement, separator, sourceLabels, targetLabel }: RelabelRule): Step {
  const value = replacerOf(regex, replacement);
  if (!targetLabel.includes("$")) {
    return (labels) => {
      const result = value(joined(labels, sourceLabels, separator));
      return result === undefined || set(labels, targetLabel, result);
    };
  }
  const target = replacerOf(regex, targetLabel);
  return (labels) => {
    const source = joined(labels, sourceLabels, separator);
    const name = target(source);
    return name === undefined || !labelNamePattern.test(name) || set(labels, name, value(source) ?? "");
  };
}

/** What the template makes of a text that the expression matches as a whole; undefined when it does not. */
function replacerOf(regex: string, template: string): (text: string) => string | undefined {
  if (!template.includes("$")) {
    const test = compileTest(regex);
    return (text) => (test(text) ? template : undefined);
  }
  if (regex === relabelDefaults.regex && template === relabelDefaults.replacement) return (text) => text;
  const compiled = compileAnchored(regex);
  const test = compileTest(regex);
  const parts = parseTemplate(template);
  const known = new Map<string, string | undefined>();
  return (text) => {
    if (known.has(text)) return known.get(text);
    const result = test(text) ? expanded(compiled, parts, text) : undefined;
    if (known.size < rememberedMax) known.set(text, result);
    return result;
  };
}

function expanded(compiled: RE2JS, template: Template, text: string): string | undefined {
  const matcher = compiled.matcher(text);
  return matcher.matches() ? expand(template, matcher, compiled.namedGroups()) : undefined;
}

function joined(labels: LabelMap, names: readonly string[], separator: string): string {
  if (names.length === 1) return labels.get(names[0]!) ?? "";
  return names.map((name) => labels.get(name) ?? "").join(separator);
}

/** An empty value takes the label away. */
function set(labels: LabelMap, name: string, value: string): true {
  if (value === "") labels.delete(name);
  else labels.set(name, value);
  return true;
}

/** The last 8 bytes of the MD5, as a big-endian number. */
function hashModulo(text: string, modulus: number): string {
  const hash = createHash("md5").update(text).digest();
  return String(hash.readBigUInt64BE(8) % BigInt(modulus));
}

// Go maps each character by itself to one other (the simple mappings of UnicodeData); JavaScript knows of a final sigma, and makes
// two of some letters.

const beyondAscii = /[^ -~]/;

function lowerCase(text: string): string {
  if (!beyondAscii.test(text)) return text.toLowerCase();
  return Array.from(text, (letter) => (letter === "İ" ? "i" : letter.toLowerCase())).join("");
}

function upperCase(text: string): string {
  if (!beyondAscii.test(text)) return text.toUpperCase();
  return Array.from(text, upperCaseLetter).join("");
}

function upperCaseLetter(letter: string): string {
  const upper = letter.toUpperCase();
  const code = letter.codePointAt(0)!;
  if (upper.length === String.fromCodePoint(upper.codePointAt(0)!).length) return upper;
  // Greek letters with an iota below have a capital with an iota beside it.
  if (code >= 0x1f80 && code <= 0x1faf) return String.fromCodePoint(code | 8);
  if (code === 0x1fb3 || code === 0x1fc3 || code === 0x1ff3) return String.fromCodePoint(code + 9);
  return letter;
}
