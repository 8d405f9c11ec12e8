// Replacements with `$1` and `${name}`, as Go's regexp.Expand reads them.

import type { Matcher } from "re2js";

type TemplatePart = string | { readonly group: string | number };
export type Template = readonly TemplatePart[];

/**
 * `$name` takes as many letters, digits and underscores as there are, `${name}` says where it ends, `$$` is a dollar sign, and
 * one that begins none of these stands for itself.
 */
export function parseTemplate(template: string): Template {
  const parts: TemplatePart[] = [];
  let from = 0;
  for (const match of template.matchAll(/\$(?:\$|\{([\p{L}\p{Nd}_]+)\}|([\p{L}\p{Nd}_]+))/gu)) {
    if (match.index > from) parts.push(template.slice(from, match.index));
    from = match.index + match[0].length;
    const name = match[1] ?? match[2];
    // A number with a leading zero is a name, and so is one beyond all groups that there can be.
    if (name === undefined) parts.push("$");
    else parts.push({ group: /^(0|[1-9]\d{0,8})$/.test(name) ? Number(name) : name });
  }
  if (from < template.length) parts.push(template.slice(from));
  return parts;
}

/** After a match; a group that does not exist, or took no part, is empty. */
export function expand(template: Template, matched: Matcher, namedGroups: Readonly<Record<string, number>>): string {
  let text = "";
  for (const part of template) {
    if (typeof part === "string") text += part;
    else {
      const number = typeof part.group === "number" ? part.group : (namedNumber(namedGroups, part.group) ?? -1);
      if (number >= 0 && number <= matched.groupCount()) text += matched.group(number) ?? "";
    }
  }
  return text;
}

function namedNumber(namedGroups: Readonly<Record<string, number>>, name: string): number | undefined {
  return Object.hasOwn(namedGroups, name) ? namedGroups[name] : undefined;
}
