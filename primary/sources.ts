// Where the targets come from, for people: each list with what it has, what of it is refused, why it cannot be read, and what is
// held of it; and the confirmation that lets go what is held.
//
// Each of a pair reads its lists itself, so each answers for itself, and a confirmation has to reach both.

import type { FastifyInstance, FastifyReply } from "fastify";
import type { Clock } from "#/lib/clock/clock.ts";
import type { Discovery } from "#/primary/discover/discover.ts";
import type { FileSource } from "#/primary/discover/file.ts";
import type { Held } from "#/primary/discover/hold.ts";
import type { JobTargets } from "#/primary/discover/job.ts";
import type { RefusedTarget } from "#/primary/discover/target.ts";

export interface SourcesParts {
  readonly primary: string;
  readonly datacenter: string;
  readonly lease: { readonly holder: string };
  readonly discovery: Discovery;
  readonly clock: Clock;
}

export interface SourcesAnswer {
  readonly datacenter: string;
  readonly primary: string;
  /** The primary whose lists count; "" when nobody has the lease. */
  readonly leader: string;
  readonly nowMs: number;
  /** All, those that are held included. */
  readonly targets: number;
  readonly targetsMax: number;
  readonly sources: readonly SourceStatus[];
}

export interface SourceStatus {
  readonly job: string;
  readonly priority: number;
  /** `before`: what was scraped before and is in none of the job's lists. */
  readonly kind: "static" | "file" | "before";
  /** "" when it is no file. */
  readonly file: string;
  readonly targets: number;
  /** Left out by relabel_configs. */
  readonly dropped: number;
  readonly refused: { readonly count: number; readonly first: readonly RefusedTarget[] };
  readonly problem: { readonly message: string; readonly sinceMs: number } | null;
  readonly held: HeldStatus | null;
}

export interface HeldStatus {
  /** Targets that are kept, of so many that the source had. */
  readonly lost: number;
  readonly of: number;
  readonly sinceMs: number;
  readonly untilMs: number;
  /** The source cannot be read: what is held stays also after `untilMs`. */
  readonly waits: boolean;
  /** The command that lets them go. */
  readonly confirm: string;
}

export interface ConfirmAnswer {
  readonly primary: string;
  readonly confirmed: readonly { readonly file: string; readonly lost: number }[];
}

export function registerSources(app: FastifyInstance, parts: SourcesParts): void {
  app.get("/api/v1/sources", async () => ({ status: "success", data: sourcesOf(parts) }));
  app.post<{ Body: unknown; Querystring: Readonly<Record<string, unknown>> }>(
    "/api/v1/sources/confirm",
    async ({ body, query }, reply) => {
      const given = { ...query, ...(typeof body === "object" ? body : {}) } as Readonly<Record<string, unknown>>;
      const { file, job } = given;
      if (typeof job !== "string") return await refuse(reply, 400, 'expected the parameter "job", and perhaps "file"');
      const path = typeof file === "string" && file !== "" ? file : undefined;
      const confirmed = parts.discovery.confirm(job, path);
      if (!confirmed) return await refuse(reply, 404, `no scrape config is named ${JSON.stringify(job.slice(0, 200))}`);
      const data: ConfirmAnswer = { primary: parts.primary, confirmed };
      return { status: "success", data };
    },
  );
}

async function refuse(reply: FastifyReply, code: 400 | 404, error: string): Promise<unknown> {
  return await reply.code(code).send({ status: "error", errorType: code === 400 ? "bad_data" : "not_found", error });
}

function sourcesOf({ clock, datacenter, discovery, lease, primary }: SourcesParts): SourcesAnswer {
  return {
    datacenter,
    primary,
    leader: lease.holder,
    nowMs: clock.nowMs(),
    targets: discovery.targets().length,
    targetsMax: discovery.targetsMax,
    sources: discovery.jobs().flatMap(sourcesOfJob),
  };
}

function sourcesOfJob(job: JobTargets): readonly SourceStatus[] {
  const { name, priority } = job;
  const { dropped, refused, refusedCount, targets } = job.static;
  const nothing = { problem: undefined, held: undefined };
  const inTopology = { file: "", targets: targets.length, dropped, refused, refusedCount, ...nothing };
  const before = { file: "", targets: 0, dropped: 0, refused: [], refusedCount: 0, problem: undefined };
  const held = job.heldOfBefore();
  const rows: SourceStatus[] = job.files().map((file) => ({ kind: "file", ...common(file, name, priority) }));
  const hasStatic = targets.length + dropped + refusedCount > 0;
  if (hasStatic) rows.unshift({ kind: "static", ...common(inTopology, name, priority) });
  if (held) rows.push({ kind: "before", ...common({ ...before, held }, name, priority) });
  return rows;
}

function common(source: FileSource, job: string, priority: number): Omit<SourceStatus, "kind"> {
  const { dropped, file, held, problem, refused, refusedCount, targets } = source;
  return {
    job,
    priority,
    file,
    targets,
    dropped,
    refused: { count: refusedCount, first: refused },
    problem: problem ? { message: problem.message, sinceMs: problem.sinceMs } : null,
    held: held ? heldStatus(held, job, file) : null,
  };
}

function heldStatus({ lost, of, sinceMs, untilMs, waits }: Held, job: string, file: string): HeldStatus {
  const confirm = confirmCommand(job, file);
  return { lost, of, sinceMs: sinceMs, untilMs: untilMs, waits, confirm };
}

/** As a shell takes it. */
export function confirmCommand(job: string, file: string): string {
  const words = ["heliograph", "sources", "confirm", job, ...(file === "" ? [] : ["--file", file])];
  return words.map((word) => (/^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}
