// Conditions on label values.

import type { Matcher, MatchOperator } from "#/lib/model/labels.ts";
import { compileTest } from "#/lib/regex/regex.ts";

/** Throws Error with RE2's reason when the expression is wrong. */
export function compileMatcher(name: string, operator: MatchOperator, value: string): Matcher {
  switch (operator) {
    case "=":
      return { name, operator, value, matches: (candidate) => candidate === value };
    case "!=":
      return { name, operator, value, matches: (candidate) => candidate !== value };
    case "=~":
      return { name, operator, value, matches: compileTest(value) };
    case "!~": {
      const test = compileTest(value);
      return { name, operator, value, matches: (candidate) => !test(candidate) };
    }
    default:
      return operator satisfies never;
  }
}
