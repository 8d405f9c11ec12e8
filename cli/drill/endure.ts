// The drill's second form: a script of faults by seed, for as long as was asked, and at the end the account of every sample.

import { say } from "#/cli/command.ts";
import type { Blow } from "#/cli/drill/account.ts";
import { compareReplicas } from "#/cli/drill/compare.ts";
import type { SmallDisks } from "#/cli/drill/disk.ts";
import { type DemoStatus, DrillError, type Federation } from "#/cli/drill/federation.ts";
import { clockText } from "#/cli/drill/layout.ts";
import {
  comparisonText,
  kindsText,
  kindsThatNeverHit,
  notPromisedText,
  replicasText,
  verdictText,
} from "#/cli/drill/report.ts";
import { type Step, stepText, writeScript } from "#/cli/drill/script.ts";
import { strike } from "#/cli/drill/strike.ts";
import { endedAlone, untilWell } from "#/cli/drill/well.ts";
import { readDuration } from "#/cli/options.ts";
import type { Clock } from "#/lib/clock/clock.ts";

/** True when nothing was lost or doubled beyond what is promised. Throws DrillError, CallError, ReadBackError. */
export async function endure(options: {
  readonly seed: number;
  readonly minutes: number;
  readonly federation: Federation;
  readonly status: DemoStatus;
  readonly disks: SmallDisks;
  readonly clock: Clock;
}): Promise<boolean> {
  const { seed, minutes, federation, status, disks, clock } = options;
  const intervalMs = readDuration(status.interval, "interval");
  const script = writeScript({
    seed,
    minutes,
    world: {
      datacenters: status.datacenters.map(({ name }) => name),
      processes: status.processes,
      smallDisks: disks.names,
      targets: status.fleet.targets,
    },
  });
  say(
    `Seed ${seed}: ${script.length} steps in about ${minutes} min; --minutes ${minutes} --seed ${seed} repeats them (same sizes, same rights).`,
  );
  // What was scraped while the demo came up is not held against it.
  const fromMs = Math.ceil(clock.nowMs()) + intervalMs;
  await clock.sleep(2 * intervalMs);
  const blows: Blow[] = [];
  for (const [index, step] of script.entries()) {
    const place = `${String(index + 1).padStart(3)}/${script.length}`;
    say(`${place}  ${clockText(clock.nowMs())}  ${stepText(step)}`);
    blows.push(...(await strikeAndRest({ federation, disks, intervalMs, clock }, step, String(index + 1))));
  }
  say("Everything is healed; what is on its way may arrive.");
  await federation.leave();
  for (const { name } of status.processes) await federation.untilBack(name, 1);
  const ills = [...(await untilWell(federation)), ...kindsThatNeverHit(blows)];
  const span = { fromMs, untilMs: Math.floor(clock.nowMs()) + intervalMs };
  await clock.sleep(2 * intervalMs);

  const comparison = { status, span, intervalMs, blows, clock };
  say(`\n${comparisonText(comparison)}`);
  const replicas = await compareReplicas(comparison);
  const { account } = replicas[0]!;
  ills.push(...endedAlone(status, await federation.status(), federation.kills));
  say(`\n${replicasText(blows, replicas)}`);
  say(`\n${kindsText(blows, account)}`);
  say(`\n${notPromisedText(blows, account)}`);
  if (disks.missing !== undefined) say(`Not drilled: disk_full, because ${disks.missing}.`);
  say("Not drilled by this form: power cuts (the page cache survives kill -9), a wiped hub, clock steps.");
  for (const ill of ills) say(`BREACH: ${ill}`);
  const breaches = replicas.reduce((sum, replica) => sum + replica.account.breaches.length, ills.length);
  say(`\n${verdictText(blows, { account, breaches })} Seed ${seed}, ${minutes} min.`);
  return breaches === 0;
}

async function strikeAndRest(
  striker: Parameters<typeof strike>[0],
  step: Step,
  number: string,
): Promise<readonly Blow[]> {
  try {
    const blows = await strike(striker, step, number);
    await striker.clock.sleep(step.restMs);
    return blows;
  } catch (error) {
    if (!(error instanceof DrillError)) throw error;
    throw new DrillError(error.code, `step ${number}, ${stepText(step)}: ${error.message}`);
  }
}
