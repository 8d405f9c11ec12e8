// The lease-holding primary's duty: keep the data centre's generation true to what discovery finds and who lives.
//
// It acts only with the lease in hand, and only after it has read the log to its end, so that its generation follows the
// newest one. Changes that come close together make one generation.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { BadGeneration, encodeGeneration } from "#/lib/codec/generation.ts";
import { LogError, type LogReader, type LogWriter } from "#/lib/commitlog/commitlog.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Generation, GenerationSecondary } from "#/lib/model/generation.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { Target } from "#/lib/model/target.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { type Priorities, planGeneration, sameAssignments } from "#/primary/assign.ts";
import { aheadMsOf } from "#/primary/moves.ts";

/** How often what is wanted is held against what is: the time that a discovered change or a lost secondary may lie unseen. */
const reviewMs = 200;

/** A generation that was written and is not read back within so long was lost with the log's tail: it is written again. */
const readBackMsMax = 10 * secondMs;

export interface GovernorParts {
  readonly datacenter: string;
  readonly primary: string;
  readonly lease: { readonly token: number; held(): boolean };
  readonly log: Pick<LogWriter, "append"> & Pick<LogReader, "info">;
  readonly targets: () => readonly Target[];
  readonly priorities: () => Priorities;
  /** The same array as long as nothing changed; likewise `targets` and `priorities`. */
  readonly living: () => readonly GenerationSecondary[];
  /** The newest generation read from the log, and how far this primary has read. */
  readonly generation: () => Generation | undefined;
  readonly position: () => LogPosition | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Registry;
}

/** Runs until the signal aborts. */
export async function govern(parts: GovernorParts, signal: AbortSignal): Promise<void> {
  let caughtUpToken = 0;
  let reviewed: readonly unknown[] = [];
  while (!signal.aborted) {
    await parts.clock.sleep(reviewMs, signal);
    if (signal.aborted || !parts.lease.held()) continue;
    const token = parts.lease.token;
    let seen: readonly unknown[] = [];
    try {
      if (caughtUpToken !== token) {
        if (!(await hasReadToTheEnd(parts))) continue;
        caughtUpToken = token;
      }
      seen = [token, parts.generation(), parts.targets(), parts.priorities(), parts.living()];
      if (seen.every((each, i) => each === reviewed[i])) continue;
      reviewed = (await review(parts, token, signal)) ? seen : [];
    } catch (error) {
      // An append that is cut short by the end of the process says so in an error of its own.
      if (signal.aborted) return;
      if (error instanceof BadGeneration) {
        // It would be no better the next time: everything stays as it was until something changes.
        reviewed = seen;
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
async function review(parts: GovernorParts, token: number, signal: AbortSignal): Promise<boolean> {
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
  });
  if (previous && sameAssignments(previous, planned)) return true;
  const validFromMs = planned.validFromMs + aheadMsOf(previous, planned);
  if (!parts.lease.held() || parts.lease.token !== token) return true;
  await parts.log.append(
    {
      kind: "generation",
      origin: parts.primary,
      id: `generation/${parts.datacenter}/${planned.number}/${token}`,
      payload: encodeGeneration({ ...planned, validFromMs }),
    },
    signal,
  );
  parts.logger.info(
    {
      generation: planned.number,
      targets: planned.targets.length,
      secondaries: planned.secondaries.map(({ name }) => name),
    },
    "A new generation stands in the log.",
  );
  // The next plan must follow this one: wait until the replica has read it back.
  const writtenMs = parts.clock.monotonicMs();
  while (!signal.aborted && (parts.generation()?.number ?? 0) < planned.number && parts.lease.held()) {
    if (parts.clock.monotonicMs() - writtenMs > readBackMsMax) return false;
    await parts.clock.sleep(20, signal);
  }
  return true;
}
