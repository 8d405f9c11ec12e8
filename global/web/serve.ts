// Serves the built page. Only the files that the build made have routes, so that every other path keeps its own answer:
// /api and /-/ theirs, and unknown ones 404 (Grafana asks for /alertmanager/… and must not be given a page).

import { existsSync } from "node:fs";
import { join } from "node:path";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance } from "fastify";
import type { Logger } from "#/lib/logger/logger.ts";

/** Where `npm run web` puts the page. */
export const pageDir = join(import.meta.dirname, "dist");

/** Everything comes from here, and nothing is inline. */
const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const headers = {
  "content-security-policy": contentSecurityPolicy,
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

export interface WebOptions {
  readonly log: Logger;
  /** `pageDir` unless a test has its own. */
  readonly dir?: string;
}

/** Call it before the app listens. A page that was not built is told of, at its address and in the log. */
export async function registerWeb(app: FastifyInstance, { log, dir = pageDir }: WebOptions): Promise<void> {
  if (!existsSync(join(dir, "index.html"))) {
    log.warn({ dir }, "The page is not built: run `npm run web`. Everything else works.");
    app.get("/", (_, reply) => reply.code(503).headers(headers).type("text/html; charset=utf-8").send(notBuilt));
    return;
  }
  await app.register(fastifyStatic, {
    root: dir,
    // A route a file, instead of one for everything.
    wildcard: false,
    cacheControl: false,
    setHeaders(reply, path) {
      // Names under /assets hold the hash of their content; the document itself is asked for anew.
      const hashed = path.startsWith(join(dir, "assets"));
      reply.header("cache-control", hashed ? "public, max-age=31536000, immutable" : "no-cache");
      for (const [name, value] of Object.entries(headers)) reply.header(name, value);
    },
  });
}

const notBuilt = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>Heliograph</title>
<h1>The page is not built</h1>
<p>This global runs, but its page was not built where it is installed. Run <code>npm run web</code> there and start it again.</p>
<p>What works meanwhile: <a href="/api/v1/datacenters">/api/v1/datacenters</a>, <a href="/metrics">/metrics</a>,
<a href="/-/ready">/-/ready</a> and the query API under <code>/api/v1</code>.</p>
</html>
`;
