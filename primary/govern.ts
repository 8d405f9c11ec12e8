// The lease-holding primary's duty: keep the data centre's generation true to what discovery finds and who lives.
//
// It acts only with the lease in hand, and only after it has read the log to its end, so that its generation follows the
// newest one. Changes that come close together make one generation. It is written as the difference to the one before where
// that is much shorter (primary/write.ts), and whole again from time to time.

import { BadGeneration } from "#/lib/codec/generation.ts";
import { LogError } from "#/lib/commitlog/commitlog.ts";
import type { GenerationCause, GenerationSecondary } from "#/lib/model/generation.ts";
import type { Target } from "#/lib/model/target.ts";
import { type Priorities, planGeneration, sameAssignments } from "#/primary/assign.ts";
import { aheadMsOf } from "#/primary/moves.ts";
import { GenerationWriter, type GenerationWriterParts } from "#/primary/write.ts";

/** How often what is wanted is held against what is: the time that a discovered change or a lost secondary may lie unseen. */
const reviewMs = 200;

export interface GovernorParts extends GenerationWriterParts {
  readonly targets: () => readonly Target[];
  readonly priorities: () => Priorities;
  /** Called with what is scraped at present, before this primary begins to say what is. */
  readonly remember: (scraped: readonly Target[]) => void;
  /** The same array as long as nothing changed; likewise `targets` and `priorities`. */
  readonly living: () => readonly GenerationSecondary[];
  /** How often the topology file was taken over: what changes with it is told as its doing. */
  readonly reloads: () => number;
}

/** Runs until the signal aborts. */
export async function govern(parts: GovernorParts, signal: AbortSignal): Promise<void> {
  const writer = new GenerationWriter(parts);
  let caughtUpToken = 0;
  let reviewed: readonly unknown[] = [];
  let reloadsReviewed = 0;
  while (!signal.aborted) {
    await parts.clock.sleep(reviewMs, signal);
    if (signal.aborted || !parts.lease.held()) continue;
    const token = parts.lease.token;
    let seen: readonly unknown[] = [];
    try {
      if (caughtUpToken !== token) {
        if (!(await hasReadToTheEnd(parts))) continue;
        caughtUpToken = token;
        const inForce = parts.generation();
        if (inForce) parts.remember(inForce.targets.map(({ target }) => target));
      }
      const reloads = parts.reloads();
      seen = [token, parts.generation(), parts.targets(), parts.priorities(), parts.living(), reloads];
      const isTold = await writer.isToldWhole();
      if (isTold && seen.every((each, i) => each === reviewed[i])) continue;
      const causes: readonly GenerationCause[] = reloads > reloadsReviewed ? [{ kind: "reload", subject: "" }] : [];
      const isDone = await review(parts, writer, { token, isTold, causes }, signal);
      if (isDone) reloadsReviewed = reloads;
      reviewed = isDone ? seen : [];
    } catch (error) {
      // An append that is cut short by the end of the process says so in an error of its own.
      if (signal.aborted) return;
      if (error instanceof BadGeneration) {
        // It would be no better the next time: everything stays as it was until something changes.
        reviewed = seen;
        writer.pause();
        const fields = { code: error.code, reason: error.message, targets: parts.targets().length };
        parts.logger.error(fields, "A generation cannot be written: targets stay assigned as they were.");
        continue;
      }
      // The log is away: receivers and readers say so; here the next review tries again.
      if (!(error instanceof LogError)) throw error;
      parts.logger.debug({ code: error.code }, "The generation waits for the log.");
    }
  }
}

async function hasReadToTheEnd({ log, position }: GovernorParts): Promise<boolean> {
  const { stream, lastSequence } = await log.info();
  // An empty segment says nothing of those before it; a second later this primary's own heartbeat stands in it.
  const here = position();
  return here !== undefined && here.stream === stream && here.sequence >= lastSequence;
}

/** False when it has to be done again. */
async function review(
  parts: GovernorParts,
  writer: GenerationWriter,
  {
    causes,
    isTold,
    token,
  }: { readonly token: number; readonly isTold: boolean; readonly causes: readonly GenerationCause[] },
  signal: AbortSignal,
): Promise<boolean> {
  const previous = parts.generation();
  // The peer has the lease already, and this primary has not noticed yet.
  if (previous && previous.token > token) return true;
  const planned = planGeneration({
    datacenter: parts.datacenter,
    previous,
    targets: parts.targets(),
    priorities: parts.priorities(),
    living: parts.living(),
    number: (previous?.number ?? 0) + 1,
    token,
    primary: parts.primary,
    nowMs: parts.clock.nowMs(),
    causes,
  });
  const isSame = previous !== undefined && sameAssignments(previous, planned);
  if (isSame && isTold) return true;
  const validFromMs = planned.validFromMs + aheadMsOf(previous, planned);
  if (!parts.lease.held() || parts.lease.token !== token) return true;
  if (!isSame) return await writer.write({ ...planned, validFromMs }, previous, signal);
  // Under another's token it would be refused.
  if (previous.token === token) return await writer.repeat(previous, signal);
  return await writer.write({ ...planned, causes: [{ kind: "periodic", subject: "" }] }, previous, signal);
}
