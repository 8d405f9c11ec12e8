// One scrape config as somebody would write it, and what becomes of it on the way to a secondary's HTTP client.

import { systemClock } from "#/lib/clock/clock.ts";
import { decodeGeneration, encodeGeneration } from "#/lib/codec/generation.ts";
import type { HttpSettings } from "#/lib/model/http.ts";
import { type Fetched, httpFetcher } from "#/secondary/scrape/fetch.ts";
import type { Teardown } from "#/test/support/sockets.ts";
import { makeGeneration, makeTarget, plainScrapeOptions } from "#/test/support/targets.ts";
import { parseTopology } from "#/topology/file.ts";
import { httpOf, secretsOf } from "#/topology/http.ts";
import { formatProblem } from "#/topology/problem.ts";
import type { ScrapeConfig } from "#/topology/schema.ts";

/** A topology whose only scrape config has these lines from line 18 on, each indented by four. */
export function topologyText(lines: string): string {
  return `format_version: 1
federation: test
global:
  nats: { servers: ["nats://127.0.0.1:4222"], leaf_servers: ["nats-leaf://127.0.0.1:7422"] }
  pair: [{ name: g1, http: { listen: "127.0.0.1:9480" } }, { name: g2, http: { listen: "127.0.0.1:9481" } }]
datacenters:
  - name: fra
    region: eu
    nats: { servers: ["nats://127.0.0.1:4223"] }
    primaries:
      - { name: p1, http: { listen: "127.0.0.1:9470" }, grpc: { listen: "127.0.0.1:9471" } }
      - { name: p2, http: { listen: "127.0.0.1:9472" }, grpc: { listen: "127.0.0.1:9473" } }
    secondaries:
      - { name: s1, http: { listen: "127.0.0.1:9474" } }
      - { name: s2, http: { listen: "127.0.0.1:9475" } }
scrape_configs:
  - job_name: node
${lines.replace(/^/gm, "    ")}
    static_configs: [{ targets: ["10.0.0.1:9100"] }]
`;
}

export function scrapeConfigOf(lines: string): ScrapeConfig {
  const { problems, topology } = parseTopology(topologyText(lines), "t.yaml");
  if (!topology) throw new Error(problems.map(formatProblem).join("\n"));
  return topology.scrape_configs[0]!;
}

/** As a secondary gets them: through the bytes of a generation. */
export function settingsOf(lines: string, job = "node"): HttpSettings | undefined {
  const http = httpOf({ ...scrapeConfigOf(lines), job_name: job });
  const options = { ...plainScrapeOptions, ...(http && { http }) };
  const target = makeTarget("http://10.0.0.1:9100/metrics", { job, options });
  return decodeGeneration(encodeGeneration(makeGeneration([target]))).targets[0]!.target.options.http;
}

export type Scrape = (url: string, options?: { readonly timeoutMs?: number }) => Promise<Fetched>;

/** What fetches by such a scrape config; `options` are the fetcher's. */
export function scraping(t: Teardown, lines: string, options: Partial<Parameters<typeof httpFetcher>[0]> = {}): Scrape {
  const secrets = secretsOf(scrapeConfigOf(lines));
  const fetcher = httpFetcher({ clock: systemClock(), secrets: (_job, place) => secrets.get(place), ...options });
  t.teardown(() => fetcher.close());
  const { signal } = new AbortController();
  return (url, { timeoutMs = 5000 } = {}) =>
    fetcher.fetch({ url, timeoutMs, bodyBytesMax: 0, http: settingsOf(lines) }, signal);
}

export function textOf(fetched: Fetched): unknown {
  return fetched.ok ? Buffer.from(fetched.body).toString() : fetched;
}
