// The drill's second form: a script of faults by seed, for as long as was asked, and at the end the account of every sample.

import { say } from "#/cli/command.ts";
import { type Blow, reportText } from "#/cli/drill/account.ts";
import { compareGlobals } from "#/cli/drill/compare.ts";
import type { SmallDisks } from "#/cli/drill/disk.ts";
import { type DemoStatus, DrillError, type Federation } from "#/cli/drill/federation.ts";
import { kindsText, notPromisedText } from "#/cli/drill/report.ts";
import { type Step, stepText, writeScript } from "#/cli/drill/script.ts";
import { strike } from "#/cli/drill/strike.ts";
import { readDuration } from "#/cli/options.ts";
import type { Clock } from "#/lib/clock/clock.ts";

/** After everything is healed, for the last process to be ready. */
const healMsMax = 120_000;

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
    say(`${String(index + 1).padStart(3)}/${script.length}  ${stepText(step)}`);
    blows.push(...(await strikeAndRest({ federation, disks, intervalMs, clock }, step, String(index + 1))));
  }
  say("Everything is healed; what is on its way may arrive.");
  await federation.heal();
  await federation.setTargetFaults(status, []);
  for (const { name } of status.processes) await federation.untilBack(name, 1, healMsMax);
  const span = { fromMs, untilMs: Math.floor(clock.nowMs()) + intervalMs };
  await clock.sleep(2 * intervalMs);

  let breaches = 0;
  for await (const { name, account } of compareGlobals({ status, span, intervalMs, blows, clock })) {
    say(`\n${reportText(name, blows, account)}`);
    say(`\n${kindsText(blows, account)}`);
    say(`\n${notPromisedText(blows, account)}`);
    breaches += account.breaches.length;
  }
  if (disks.missing !== undefined) say(`Not drilled: disk_full, because ${disks.missing}.`);
  say("Not drilled by this form: power cuts (the page cache survives kill -9), a wiped hub, clock steps.");
  const verdict = breaches === 0 ? "nothing is lost or double beyond what is promised" : `${breaches} breaches`;
  say(`\nSeed ${seed}, ${minutes} min: ${verdict}.`);
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
