// Where the secondary's pages and answers are: /targets and /targets/layout for people, /api/v1/targets and
// /api/v1/targets/layout for programs.

import type { FastifyInstance } from "fastify";

import type { Clock } from "#/lib/clock/clock.ts";
import { sendPage, sendPieces } from "#/lib/page/document.ts";
import { pageRowsMax } from "#/lib/page/filter.ts";
import { asksFor, errorText } from "#/lib/page/target.ts";
import { layoutText, targetsText } from "#/secondary/page/answer.ts";
import { layoutPage, missingPage, targetsPage } from "#/secondary/page/html.ts";
import { filterOf, type PageSource } from "#/secondary/page/view.ts";

type Query = Readonly<Record<string, unknown>>;

export function registerTargetPages(app: FastifyInstance, source: PageSource, clock: Clock): void {
  app.get<{ Querystring: Query }>("/api/v1/targets", async ({ query }, reply) => {
    const filter = filterOf(query);
    const from = query.page === undefined ? 0 : (filter.page - 1) * pageRowsMax;
    const until = query.page === undefined ? Number.POSITIVE_INFINITY : from + pageRowsMax;
    const selection = await source.select({ filter, rowsMax: asksFor(String(query.state ?? "")).active ? until : 0 });
    const targets = selection.rows.slice(from);
    return sendPieces(reply, targetsText({ source, selection, targets, clock }));
  });
  app.get<{ Querystring: Query }>("/api/v1/targets/layout", async ({ query }, reply) => {
    const id = String(query.id ?? "");
    reply.type("application/json; charset=utf-8");
    if (!/^[0-9a-f]{32}$/.test(id)) {
      return reply.code(400).send(errorText("bad_data", `id: expected 32 hex digits, got ${JSON.stringify(id)}`));
    }
    const found = await source.layout(id);
    if (!found) return reply.code(404).send(errorText("not_found", noLayout(id)));
    return sendPieces(reply, layoutText(found.layout, found.targets, clock));
  });
  app.get<{ Querystring: Query }>("/targets", async ({ query }, reply) => {
    const filter = filterOf(query);
    const selection = await source.select({ filter, rowsMax: filter.page * pageRowsMax });
    return sendPage(reply, targetsPage(source, filter, selection, clock.nowMs()));
  });
  app.get<{ Querystring: Query }>("/targets/layout", async ({ query }, reply) => {
    const id = String(query.id ?? "");
    const found = await source.layout(id);
    if (!found) return sendPage(reply.code(404), missingPage(source, noLayout(id)));
    return sendPage(reply, layoutPage(source, filterOf(query), found));
  });
}

function noLayout(id: string): string {
  return `No target's last stored scrape has the layout ${id}. Layouts change when an exposition does.`;
}
