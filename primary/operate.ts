// What an operator asks of a primary over HTTP: drain a secondary, take over the changed topology file. In the shape of Prometheus'
// API. What is asked of the pair is done by the one that has the say; the other one names it.

import type { FastifyInstance } from "fastify";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { type Generation, stateOf } from "#/lib/model/generation.ts";
import { leftWithout } from "#/primary/moves.ts";
import type { Standings } from "#/primary/standing.ts";

/** What is asked stands in a generation within so long, or the answer says that it does not yet. */
const doneMsMax = 10 * secondMs;
const lookMs = 50;

export interface OperateParts {
  readonly primary: string;
  readonly lease: { held(): boolean; readonly holder: string };
  /** Where a primary of the pair answers HTTP, `host:port`. */
  readonly addressOf: (primary: string) => string | undefined;
  readonly standings: Standings;
  readonly generation: () => Generation | undefined;
  readonly reload: () => Promise<ReloadAnswer>;
  readonly clock: Clock;
}

export interface ReloadAnswer {
  /** Undefined when the file was taken over; else every problem of it, a line each. */
  readonly refused?: string;
  /** Keys that were changed and wait for a restart. */
  readonly waiting: readonly string[];
}

/** The data of an answer to drain and undrain. */
export interface DrainAnswer {
  readonly secondary: string;
  readonly draining: boolean;
  /** The generation that says so. */
  readonly generation: number;
  readonly validFromMs: number;
  /** That it has from then on. */
  readonly targets: number;
  /** That no secondary has room for. */
  readonly unassigned: number;
}

export function registerOperation(app: FastifyInstance, parts: OperateParts): void {
  for (const [path, wanted] of [
    ["drain", true],
    ["undrain", false],
  ] as const) {
    app.post<{ Params: { name: string }; Querystring: { force?: string } }>(
      `/api/v1/secondaries/:name/${path}`,
      async ({ params: { name }, query }, reply) => {
        const { status, ...answer } = await drainSecondary(parts, { name, wanted, force: query.force === "true" });
        return await reply.code(status).send({ status: status === 200 ? "success" : "error", ...answer });
      },
    );
  }
  app.post("/-/reload", async (_request, reply) => {
    const { refused, waiting } = await parts.reload();
    if (refused !== undefined) return await reply.code(500).type("text/plain").send(`failed to reload: ${refused}\n`);
    const text = waiting.length === 0 ? "" : `Waits for a restart: ${waiting.join(", ")}.\n`;
    return await reply.type("text/plain").send(text);
  });
}

/** What was asked, or why it is not done, with an HTTP status. */
export type Drained =
  | { readonly status: 200; readonly data: DrainAnswer }
  | { readonly status: 404 | 409 | 503; readonly errorType: string; readonly error: string };

/** Takes all targets from a secondary, or lets it have some again; `force` also when nobody has room for them. */
export async function drainSecondary(
  parts: OperateParts,
  { name, wanted, force }: { readonly name: string; readonly wanted: boolean; readonly force: boolean },
): Promise<Drained> {
  const { clock, lease, primary, standings } = parts;
  if (!standings.isKnown(name)) {
    const error = `no secondary "${name}" in the topology file as ${primary} read it last`;
    return { status: 404, errorType: "not_found", error };
  }
  if (!lease.held()) {
    const address = parts.addressOf(lease.holder);
    const holder =
      lease.holder === "" ? "nobody does at present" : `ask ${lease.holder}${address ? ` at ${address}` : ""}`;
    const error = `${primary} does not hold the lease of its pair: ${holder}`;
    return { status: 503, errorType: "unavailable", error };
  }
  const present = parts.generation();
  const left = wanted && present && !standings.isDraining(name) ? leftWithout(present, name) : 0;
  if (left > 0 && !force) {
    const all = present!.targets.length;
    const error = `without ${name} there is no room for ${left} of ${all} targets; add a secondary, raise a capacity, or force it`;
    return { status: 409, errorType: "conflict", error };
  }
  standings.drain(name, wanted);
  for (let waitedMs = 0; waitedMs < doneMsMax; waitedMs += lookMs) {
    const generation = parts.generation();
    if (generation && isDrainedIn(generation, name) === wanted)
      return { status: 200, data: answerOf(generation, name) };
    await clock.sleep(lookMs);
  }
  const error = `no generation says so after ${doneMsMax / secondMs} s: is the log away? Ask again.`;
  return { status: 503, errorType: "unavailable", error };
}

function answerOf(generation: Generation, name: string): DrainAnswer {
  const ownerCount = (owner: string) => generation.targets.filter((each) => each.owner === owner).length;
  return {
    secondary: name,
    draining: isDrainedIn(generation, name),
    generation: generation.number,
    validFromMs: generation.validFromMs,
    targets: ownerCount(name),
    unassigned: ownerCount(""),
  };
}

function isDrainedIn({ secondaries }: Generation, name: string): boolean {
  const found = secondaries.find((secondary) => secondary.name === name);
  return found !== undefined && stateOf(found) === "draining";
}
