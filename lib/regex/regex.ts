// Regular expressions as Prometheus has them: RE2's, anchored at both ends, a dot matches a newline too. They run in time linear
// in the text, whatever they look like, which JavaScript's own do not.
//
// Most that people write need no automaton: literals, alternations of literals (Grafana's variables), prefixes, "anything".
// Those are recognised and run as string operations.

import { RE2JS } from "re2js";

/** Answers of one automaton that are remembered: label values repeat far more often than they differ. */
const rememberedMax = 4096;

/** Compiled, for who wants its groups. Throws Error with RE2's reason. */
export function compileAnchored(expression: string): RE2JS {
  try {
    return RE2JS.compile(expression, RE2JS.DOTALL);
  } catch (error) {
    const reason = (error as Error).message.replace(/^.*?error parsing regexp/, "error parsing regexp");
    // The library quotes the flag that it put in front itself.
    throw new Error(reason.replaceAll("`(?s)", "`"), { cause: error });
  }
}

/** Whether a text matches as a whole. Throws Error with RE2's reason when the expression is wrong. */
export function compileTest(expression: string): (candidate: string) => boolean {
  return fastTest(expression) ?? remember(compileAnchored(expression));
}

function remember(compiled: RE2JS): (candidate: string) => boolean {
  const known = new Map<string, boolean>();
  return (candidate) => {
    const before = known.get(candidate);
    if (before !== undefined) return before;
    const answer = compiled.matches(candidate);
    if (known.size < rememberedMax) known.set(candidate, answer);
    return answer;
  };
}

/** Undefined when it needs the automaton. */
function fastTest(expression: string): ((candidate: string) => boolean) | undefined {
  if (expression === ".*") return () => true;
  if (expression === ".+") return (candidate) => candidate !== "";

  const edges = /^(\.[*+])?(.*?)(\.[*+])?$/s.exec(expression)!;
  const [, before, middle, after] = edges;
  if (before === undefined && after === undefined) {
    const alternatives = literalAlternatives(expression);
    if (!alternatives) return undefined;
    if (alternatives.length === 1) {
      const only = alternatives[0]!;
      return (candidate) => candidate === only;
    }
    const set = new Set(alternatives);
    return (candidate) => set.has(candidate);
  }

  const text = literalText(middle!);
  if (text === undefined || text === "") return undefined;
  const roomBefore = before === ".+" ? 1 : 0;
  const roomAfter = after === ".+" ? 1 : 0;
  if (before === undefined) {
    return (candidate) => candidate.startsWith(text) && candidate.length >= text.length + roomAfter;
  }
  if (after === undefined) {
    return (candidate) => candidate.endsWith(text) && candidate.length >= text.length + roomBefore;
  }
  return (candidate) => {
    const at = candidate.indexOf(text, roomBefore);
    return at >= 0 && at + text.length + roomAfter <= candidate.length;
  };
}

/** `a|b\.c` or `(a|b)` as the list of what it matches; undefined when it is more than that. */
function literalAlternatives(expression: string): string[] | undefined {
  const group = /^\((?:\?:)?([^()]*)\)$/.exec(expression);
  const alternatives: string[] = [];
  for (const part of splitAlternatives(group ? group[1]! : expression)) {
    const text = literalText(part);
    if (text === undefined) return undefined;
    alternatives.push(text);
  }
  return alternatives;
}

/** Splits at bars that no backslash precedes. */
function splitAlternatives(expression: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let i = 0; i < expression.length; i++) {
    if (expression[i] === "|") {
      parts.push(part);
      part = "";
    } else {
      part += expression[i] === "\\" ? expression.slice(i, ++i + 1) : expression[i];
    }
  }
  return [...parts, part];
}

/** The text that the expression matches when it matches but one; escaped punctuation stands for itself. */
function literalText(expression: string): string | undefined {
  let text = "";
  for (let i = 0; i < expression.length; i++) {
    const character = expression[i]!;
    if (character === "\\") {
      const escaped = expression[++i];
      if (escaped === undefined || !/[!-/:-@[-`{-~]/.test(escaped)) return undefined;
      text += escaped;
    } else if ("^$.|?*+()[]{}".includes(character)) {
      return undefined;
    } else {
      text += character;
    }
  }
  return text;
}
