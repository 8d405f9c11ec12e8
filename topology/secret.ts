// Places of a topology file where a secret stands, or would stand if somebody put it one line off. What is wrong there is told
// without what stands there.

import { type Path, showValue } from "#/topology/problem.ts";

const secretKeys: ReadonlySet<unknown> = new Set([
  "basic_auth",
  "authorization",
  "oauth2",
  "bearer_token",
  "bearer_token_file",
  "tls_config",
  "http_headers",
  "proxy_url",
  "proxy_connect_header",
]);

/** Keys within those whose values everybody may see. */
const plainKeys: ReadonlySet<unknown> = new Set([
  "type",
  "server_name",
  "insecure_skip_verify",
  "min_version",
  "max_version",
]);

export function mayBeSecret(path: Path): boolean {
  const at = path.lastIndexOf("scrape_configs");
  return at >= 0 && secretKeys.has(path[at + 2]) && !(path.length === at + 4 && plainKeys.has(path.at(-1)));
}

/** As `showValue`, but of what may be a secret the kind alone. */
export function showValueAt(path: Path, value: unknown): string {
  if (!mayBeSecret(path) || value === null || typeof value === "object" || value === undefined) return showValue(value);
  if (typeof value === "string") return "a text (not shown, because it may be secret)";
  return `a ${typeof value} (not shown, because it may be secret); put it in quotes if it is a text`;
}
