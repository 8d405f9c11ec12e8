// Where the answers are of who scrapes what: /targets for people, /api/v1/targets, /api/v1/scrape_pools and
// /api/v1/generations for programs.

import type { FastifyInstance } from "fastify";

import type { Clock } from "#/lib/clock/clock.ts";
import { scrapePoolsText, targetsText } from "#/lib/page/assigned/answer.ts";
import { generationsAnswer, generationsListed, generationsListedMax } from "#/lib/page/assigned/generations.ts";
import { assignedPage } from "#/lib/page/assigned/html.ts";
import { filterOf, select } from "#/lib/page/assigned/select.ts";
import type { AssignedSources } from "#/lib/page/assigned/source.ts";
import { sendPage, sendPieces } from "#/lib/page/document.ts";
import { pageRowsMax, parameter } from "#/lib/page/filter.ts";
import { asksFor, errorText } from "#/lib/page/target.ts";

type Query = Readonly<Record<string, unknown>>;

const json = "application/json; charset=utf-8";

/** Beyond every list of targets that could be. */
const offsetMax = 1e9;

export function registerAssignedPages(app: FastifyInstance, sources: AssignedSources, clock: Clock): void {
  app.get<{ Querystring: Query }>("/api/v1/targets", async ({ query }, reply) => {
    reply.type(json);
    const incomplete = sources.incomplete();
    if (incomplete !== undefined) return reply.code(503).send(errorText("unavailable", incomplete));
    const filter = filterOf(query);
    const fault =
      unknownDatacenter(sources, filter.datacenter) ?? badNumber(query, "limit") ?? badNumber(query, "offset");
    if (fault !== undefined) return reply.code(400).send(errorText("bad_data", fault));
    const { active, dropped } = asksFor(parameter(query, "state"));
    const offset = Number(parameter(query, "offset") || 0);
    const limit = Number(parameter(query, "limit") || offsetMax);
    const nowMs = clock.nowMs();
    const rowsMax = active ? limit : 0;
    const selection = await select(sources.list(), { filter, from: offset, rowsMax, nowMs });
    return sendPieces(reply, targetsText({ server: sources.server, selection, offset, withDropped: dropped, nowMs }));
  });
  app.get<{ Querystring: Query }>("/api/v1/scrape_pools", async ({ query }, reply) => {
    reply.type(json);
    const incomplete = sources.incomplete();
    if (incomplete !== undefined) return reply.code(503).send(errorText("unavailable", incomplete));
    const filter = filterOf({ datacenter: parameter(query, "datacenter") });
    const { jobs } = await select(sources.list(), { filter, from: 0, rowsMax: 0, nowMs: clock.nowMs() });
    return reply.send(scrapePoolsText(jobs));
  });
  app.get<{ Querystring: Query }>("/api/v1/generations", async ({ query }, reply) => {
    reply.type(json);
    const incomplete = sources.incomplete();
    if (incomplete !== undefined) return reply.code(503).send(errorText("unavailable", incomplete));
    const datacenter = parameter(query, "datacenter");
    const fault = unknownDatacenter(sources, datacenter) ?? badNumber(query, "limit");
    if (fault !== undefined) return reply.code(400).send(errorText("bad_data", fault));
    const limit = Math.min(generationsListedMax, Number(parameter(query, "limit") || generationsListed));
    const asked = sources.list().filter((source) => datacenter === "" || source.datacenter === datacenter);
    return reply.send(JSON.stringify(generationsAnswer(sources.server, asked, limit)));
  });
  app.get<{ Querystring: Query }>("/targets", async ({ query }, reply) => {
    const filter = filterOf(query);
    const nowMs = clock.nowMs();
    const listed = sources.list();
    const ask = (page: number) =>
      select(listed, { filter, from: (page - 1) * pageRowsMax, rowsMax: pageRowsMax, nowMs });
    let selection = await ask(filter.page);
    // Beyond the last page is the last.
    const pages = Math.max(1, Math.ceil(selection.found / pageRowsMax));
    if (filter.page > pages) selection = await ask(pages);
    const datacenters = listed.map(({ datacenter }) => datacenter);
    const incomplete = sources.incomplete();
    return sendPage(reply, assignedPage({ server: sources.server, filter, selection, datacenters, incomplete, nowMs }));
  });
}

function unknownDatacenter(sources: AssignedSources, datacenter: string): string | undefined {
  const known = sources.list().map((source) => source.datacenter);
  if (datacenter === "" || known.includes(datacenter)) return undefined;
  return `datacenter: expected one of ${known.join(", ")}, got ${JSON.stringify(datacenter)}`;
}

function badNumber(query: Query, name: "limit" | "offset"): string | undefined {
  const text = parameter(query, name);
  if (text === "" || (/^\d+$/.test(text) && Number(text) <= offsetMax)) return undefined;
  return `${name}: expected a whole number up to ${offsetMax}, got ${JSON.stringify(text)}`;
}
