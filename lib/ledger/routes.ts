// `/api/v1/ledger`: what was due and what became of it, and `/api/v1/ledger/why`: what became of one slot.

import type { FastifyInstance, FastifyReply } from "fastify";
import { hourMs } from "#/lib/bytes/units.ts";
import {
  accountOf,
  type LedgerAnswer,
  type LedgerOfDatacenter,
  type LedgerSource,
  type Step,
  steps,
} from "#/lib/ledger/account.ts";
import { findTarget, type WhyAnswer, whyOf } from "#/lib/ledger/why.ts";
import { durationUnitsMs } from "#/lib/model/duration.ts";
import { parameter } from "#/lib/page/filter.ts";
import { errorText } from "#/lib/page/target.ts";

type Query = Readonly<Record<string, unknown>>;

export interface LedgerSources {
  /** Who answers. */
  readonly server: string;
  list(): readonly LedgerSource[];
  /** Why they do not know everything yet; undefined when they do. */
  incomplete(): string | undefined;
  readonly nowMs: () => number;
}

/** Asked for unless said otherwise: the last hour. */
const askedMs = hourMs;

export function registerLedger(app: FastifyInstance, sources: LedgerSources): void {
  app.get<{ Querystring: Query }>("/api/v1/ledger", async ({ query }, reply) => {
    const asked = ready(sources, query, reply);
    if (!asked) return reply;
    const nowMs = sources.nowMs();
    const step = (parameter(query, "step") || "total") as Step;
    const fromMs = timeOf(parameter(query, "since"), nowMs, nowMs - askedMs);
    const untilMs = timeOf(parameter(query, "until"), nowMs, nowMs);
    if (!steps.includes(step))
      return refuse(reply, `step: expected one of ${steps.join(", ")}, got ${JSON.stringify(step)}`);
    if (fromMs === undefined) return refuse(reply, badTime("since", query));
    if (untilMs === undefined) return refuse(reply, badTime("until", query));
    const datacenters: LedgerOfDatacenter[] = [];
    for (const source of asked) datacenters.push(await accountOf(source, { fromMs, untilMs, step }));
    const answer: LedgerAnswer = { status: "success", data: { server: sources.server, datacenters } };
    return reply.send(JSON.stringify(answer));
  });
  app.get<{ Querystring: Query }>("/api/v1/ledger/why", async ({ query }, reply) => {
    const asked = ready(sources, query, reply);
    if (!asked) return reply;
    const nowMs = sources.nowMs();
    const text = parameter(query, "target");
    const atMs = timeOf(parameter(query, "time"), nowMs, undefined);
    if (text === "") return refuse(reply, "target: expected an id, a URL, an instance or a part of these, got nothing");
    if (atMs === undefined) return refuse(reply, badTime("time", query));
    const found = findTarget(asked, text);
    if ("error" in found) return refuse(reply, found.error);
    const why = whyOf(found.source, found.row, atMs);
    if (typeof why === "string") return refuse(reply, why);
    const answer: WhyAnswer = { status: "success", data: { server: sources.server, ...why } };
    return reply.send(JSON.stringify(answer));
  });
}

/** Those that are asked; undefined when the answer was given. */
function ready(sources: LedgerSources, query: Query, reply: FastifyReply): readonly LedgerSource[] | undefined {
  reply.type("application/json; charset=utf-8");
  const incomplete = sources.incomplete();
  if (incomplete !== undefined) {
    reply.code(503).send(errorText("unavailable", incomplete));
    return undefined;
  }
  const listed = sources.list();
  const wanted = parameter(query, "datacenter");
  const asked = listed.filter(({ book }) => wanted === "" || book.datacenter === wanted);
  if (asked.length > 0) return asked;
  const known = listed.map(({ book }) => book.datacenter).join(", ");
  refuse(reply, `datacenter: expected one of ${known}, got ${JSON.stringify(wanted)}`);
  return undefined;
}

function refuse(reply: FastifyReply, error: string): FastifyReply {
  return reply.code(400).send(errorText("bad_data", error));
}

function badTime(name: string, query: Query): string {
  const expected = "a time as 2026-01-31T12:00:00Z or in seconds since 1970, or how long ago, as 90m";
  return `${name}: expected ${expected}, got ${JSON.stringify(parameter(query, name))}`;
}

/** RFC 3339, seconds since the epoch, or a duration before now; undefined when it is none of them. */
export function timeOf<T>(text: string, nowMs: number, otherwise: T): number | T | undefined {
  if (text === "") return otherwise;
  if (/^\d{9,}(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const units = [...text.matchAll(/(\d+)(ms|[ywdhms])/g)];
  if (units.length > 0 && units.map(([whole]) => whole).join("") === text) {
    return (
      nowMs -
      units.reduce(
        (sum, [, count, unit]) => sum + Number(count) * durationUnitsMs[unit as keyof typeof durationUnitsMs],
        0,
      )
    );
  }
  const ms = /^\d{4}-\d{2}-\d{2}T/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}
