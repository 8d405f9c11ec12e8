// Does one step of the script to the federation and undoes it, and says what the step may cost.
//
// What it may cost follows from what the code promises today. Where that is more than nothing, the blow carries the name under
// which the report lists it.

import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Blow } from "#/cli/drill/account.ts";
import type { SmallDisks } from "#/cli/drill/disk.ts";
import { watchBlow } from "#/cli/drill/evidence.ts";
import { type Federation, targetsOwnedBy } from "#/cli/drill/federation.ts";
import { type Step, stepText } from "#/cli/drill/script.ts";
import { readFault } from "#/cli/fleet/faults.ts";
import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { presenceLeaseMs } from "#/primary/presence.ts";

/** Losses that the code does not promise away yet, by the name under which they are counted. */
export const notPromised = {
  "killed secondary":
    "what it scraped in its last second (batches are sealed once a second), and its targets' slots until it is back or others have them",
  "paused secondary":
    "its targets' slots until others have them; while it stands still when something else is hurt meanwhile",
  "all targets away for a moment":
    "their slots in it are missed rather than failed when they were back before anybody could tell whether they or their secondary had been away",
} as const;
export type NotPromised = keyof typeof notPromised;

/** From a scrape to its batch in the spool: sealed once a second, and an fsync. */
const unflushedMs = 1 * secondMs;
/** From the end of a lost secondary's lease until others scrape what it had: less than a second, on a machine with nothing else to do. */
const handoverMsMax = 5 * secondMs;

export interface Striker {
  readonly federation: Federation;
  readonly disks: SmallDisks;
  readonly intervalMs: number;
  readonly clock: Clock;
}

/** The step and what is within it; resolves when all whom it hit are ready again. Throws DrillError, CallError. */
export async function strike(striker: Striker, step: Step, name: string): Promise<readonly Blow[]> {
  const { clock } = striker;
  const outer = await begin(striker, step, { number: name, isAlone: step.within === undefined });
  if (step.within === undefined) {
    await clock.sleep(step.lengthMs);
    return [await outer.finish()];
  }
  await clock.sleep(step.lengthMs / 3);
  const inner = await begin(striker, step.within, { number: `${name}, within`, isAlone: false });
  await clock.sleep(step.within.lengthMs);
  // It may need what the outer one took away, so it is not waited for before that is back.
  const innerBlow = inner.finish().catch((error: unknown) => ({ error }));
  await clock.sleep((step.lengthMs * 2) / 3 - step.within.lengthMs);
  const outerBlow = await outer.finish();
  const blow = await innerBlow;
  if ("error" in blow) throw blow.error;
  return [outerBlow, blow];
}

interface Begun {
  /** Undoes it and waits until whoever was hit is ready. */
  finish(): Promise<Blow>;
}

/** `isAlone`: nothing else is hurt while it lasts. */
async function begin(
  { federation, disks, intervalMs, clock }: Striker,
  step: Step,
  { number, isAlone }: { readonly number: string; readonly isAlone: boolean },
): Promise<Begun> {
  const { kind, subject, direction } = step;
  const status = await federation.status();
  const allTargets = new Set(Array.from({ length: status.fleet.targets }, (_, target) => target));
  const none: ReadonlySet<number> = new Set();
  const role = status.processes.find(({ name }) => name === subject)?.role;
  const owned =
    role === "secondary" ? await targetsOwnedBy(status.processes.find(({ name }) => name === subject)!, status) : none;
  const hit = await watchBlow(federation, status, step);
  const atMs = clock.nowMs();
  const beganMs = clock.monotonicMs();

  const begun = (options: {
    readonly undo: () => Promise<void>;
    /** Asked before it is undone. */
    readonly hit?: () => Promise<boolean>;
    readonly excuse?: NotPromised;
    /** How long the targets of a secondary may miss slots, of the time that it was down. */
    readonly costMs?: (downMs: number) => number;
  }): Begun => ({
    async finish() {
      const wasHit = await (options.hit ?? hit)();
      await options.undo();
      const downMs = clock.monotonicMs() - beganMs;
      const stoodStill = kind === "pause" && role === "fleet";
      const excuse = stoodStill ? "all targets away for a moment" : options.excuse;
      const mayCost = stoodStill ? allTargets : owned;
      const costly = excuse !== undefined && mayCost.size > 0;
      const costMs = stoodStill ? downMs + intervalMs : (options.costMs?.(downMs) ?? downMs);
      const blow = {
        name: `${number} ${stepText({ ...step, within: undefined })}`,
        kind,
        atMs,
        downMs,
        hit: wasHit,
        allowedTargets: costly ? mayCost : none,
        allowedSlots: costly ? Math.ceil(costMs / intervalMs) : 0,
        ...(costly && { excuse }),
      };
      if (kind === "target") return { ...blow, ...targetsHurt(subject) };
      if (role === "fleet") return { ...blow, mayFail: allTargets };
      // The answers to its requests came while it could not read them.
      return kind === "pause" ? { ...blow, mayFail: owned } : blow;
    },
  });

  const lostMs = (downMs: number) => unscrapedMsMax({ downMs, isAlone, intervalMs });

  switch (kind) {
    case "kill": {
      const { starts } = await federation.process(subject);
      await federation.kill(subject);
      const undo = () => federation.untilBack(subject, starts + 1);
      const costMs = (downMs: number) => lostMs(downMs) + unflushedMs;
      return begun({ undo, excuse: "killed secondary", costMs });
    }
    case "pause": {
      const { starts } = await federation.process(subject);
      await federation.pause(subject);
      const undo = async () => {
        await federation.resume(subject);
        await federation.untilBack(subject, starts);
      };
      return begun({ undo, excuse: "paused secondary", costMs: lostMs });
    }
    case "cut":
    case "cut_one_way": {
      await federation.cut(subject, direction);
      return begun({ undo: () => federation.heal() });
    }
    case "wipe": {
      const server = `${subject}-nats`;
      const { starts } = await federation.process(server);
      await federation.kill(server, { hold: true });
      await federation.untilHeld(server);
      const store = join(status.dataDir, server);
      const hadFiles = (await readdir(store)).length > 0;
      await rm(store, { recursive: true });
      const undo = async () => {
        await federation.start(server);
        await federation.untilBack(server, starts + 1);
      };
      return begun({ undo, hit: async () => hadFiles });
    }
    case "disk_full": {
      await disks.fill(subject);
      return begun({ undo: () => disks.empty(subject) });
    }
    case "target": {
      await federation.setTargetFaults(status, [subject]);
      return begun({ undo: () => federation.setTargetFaults(status, []) });
    }
    default:
      return kind satisfies never;
  }
}

/** For how long a lost secondary's targets may be nobody's: others take over, unless what they need for that is hurt too. */
export function unscrapedMsMax(lost: {
  readonly downMs: number;
  readonly isAlone: boolean;
  readonly intervalMs: number;
}): number {
  return lost.isAlone ? Math.min(lost.downMs, presenceLeaseMs(lost.intervalMs) + handoverMsMax) : lost.downMs;
}

/** What a fault of simulated servers does to their scrapes: some are slow and right, one is right and lacks rows. */
function targetsHurt(subject: string): Pick<Blow, "mayFail" | "mayLackRows"> {
  const { kind, firstTarget, lastTarget } = readFault(subject);
  const targets = new Set(Array.from({ length: lastTarget - firstTarget + 1 }, (_, i) => firstTarget + i));
  return kind === "layout" ? { mayLackRows: targets } : { mayFail: targets };
}
