// The drill from its first process to its verdict: a demo of its own, the blows of the wanted form, and what is left behind.

import { rm } from "node:fs/promises";
import { complain, say } from "#/cli/command.ts";
import { mountSmallDisks, type SmallDisks } from "#/cli/drill/disk.ts";
import { endure } from "#/cli/drill/endure.ts";
import { DrillError, Federation, makeDataDir, type OwnDemo, startOwnDemo } from "#/cli/drill/federation.ts";
import { drillOnce } from "#/cli/drill/once.ts";
import { ReadBackError } from "#/cli/drill/readback.ts";
import { CallError } from "#/cli/http.ts";
import { exitCodes, type ParsedOptions, UsageError } from "#/cli/options.ts";
import { stopSignals } from "#/cli/stop.ts";
import { type Clock, systemClock } from "#/lib/clock/clock.ts";
import { systemRandom } from "#/lib/random/random.ts";

/** A day; whoever wants more starts it again with another seed. */
const minutesMax = 1440;
const seedMax = 2 ** 32 - 1;
/** One primary's journal and one secondary's spool, in different data centres, so that neither hides the other. */
const smallDiskNames = ["ams-primary-2", "nyc-secondary-2"];
/** What is compared must still be in memory: before the script, after it, and while it is read. */
const retentionMinutesMore = 30;

/** What the seeded form needs to know. */
export interface Length {
  readonly minutes: number;
  readonly seed: number;
}

export async function runDrill(options: ParsedOptions): Promise<number> {
  const length = readLength(options);
  const attach = options.text("attach");
  const stop = interruption();
  const clock = stoppable(systemClock(), stop.signal);
  const place = attach === undefined ? await ownPlace(options, length, clock) : undefined;
  let passed = false;
  let federation: Federation | undefined;
  const hurt = async () => {
    federation = new Federation(attach ?? (await place!.demo.control()), clock);
    const status = await federation.untilReady();
    say(`The demo is ready after ${Math.round(status.readyAfterMs! / 1000)} s.`);
    const disks = place?.disks ?? noDisks("the demo that is hurt is not the drill's own");
    return length
      ? endure({ ...length, federation, status, disks, clock })
      : drillOnce(options, { federation, status, clock });
  };
  try {
    passed = await Promise.race([hurt(), stop.asked]);
    return passed ? exitCodes.ok : exitCodes.failed;
  } catch (error) {
    const known = error instanceof DrillError || error instanceof CallError || error instanceof ReadBackError;
    if (!known) throw error;
    complain(`heliograph drill: ${error.message}`);
    return exitCodes.failed;
  } finally {
    if (place) await place.close({ passed });
    else if (!passed)
      await federation?.leave().catch(() => complain("What was hurt may be so still: it does not answer."));
  }
}

/** Ctrl-C ends the demo in its order and unmounts what is mounted; a second one does so without waiting for anybody. */
function interruption(): { readonly asked: Promise<never>; readonly signal: AbortSignal } {
  const stopping = new AbortController();
  const asked = new Promise<never>((_, reject) => {
    for (const signal of stopSignals) {
      process.on(signal, () => {
        if (stopping.signal.aborted) process.exit(exitCodes.failed);
        say("Interrupted: ending every process.");
        stopping.abort();
        reject(new DrillError("interrupted", "interrupted, and so nothing is proved"));
      });
    }
  });
  // It may come while nobody waits for it yet.
  asked.catch(() => {});
  return { asked, signal: stopping.signal };
}

/** Whoever slept when the drill was interrupted must not strike again: sleeping ends with a DrillError. */
function stoppable(clock: Clock, stopped: AbortSignal): Clock {
  return {
    ...clock,
    async sleep(delayMs, signal) {
      await clock.sleep(delayMs, signal ? AbortSignal.any([signal, stopped]) : stopped);
      if (stopped.aborted) throw new DrillError("interrupted", "the drill was interrupted");
    },
  };
}

/** Undefined for the form that hurts everything once. */
function readLength(options: ParsedOptions): Length | undefined {
  if (!options.isSet("minutes")) {
    if (options.isSet("seed")) throw new UsageError("--seed: expected --minutes beside it");
    return undefined;
  }
  const once = ["kills", "cut", "short"].find((option) => options.isSet(option));
  if (once !== undefined)
    throw new UsageError(`--${once} does not go with --minutes, whose blows follow from the seed`);
  const seed = options.isSet("seed")
    ? options.whole("seed", { min: 0, max: seedMax })
    : systemRandom().below(seedMax + 1);
  return { minutes: options.whole("minutes", { min: 1, max: minutesMax }), seed };
}

interface OwnPlace {
  readonly demo: OwnDemo;
  readonly disks: SmallDisks;
  close(options: { readonly passed: boolean }): Promise<void>;
}

async function ownPlace(options: ParsedOptions, length: Length | undefined, clock: Clock): Promise<OwnPlace> {
  const kept = options.text("data");
  const dataDir = await makeDataDir(kept);
  const disks = await mountSmallDisks(dataDir, length ? smallDiskNames : []);
  const sizes = ["targets", "rows", "interval", "port-base"].flatMap((name) => [`--${name}`, options.required(name)]);
  const more = length
    ? ["--secondaries", options.required("secondaries"), "--retention", `${length.minutes + retentionMinutesMore}m`]
    : [];
  const demo = await startOwnDemo({ dataDir, args: [...sizes, ...more], clock });
  say(`A demo of its own starts; its files and logs are in ${dataDir}.`);
  return {
    demo,
    disks,
    async close({ passed }) {
      await demo.close();
      const keepData = kept !== undefined || !passed;
      await disks.close({ keepData });
      if (!keepData) await rm(dataDir, { recursive: true, force: true });
      if (!passed) say(`What every process wrote stays in ${dataDir}: logs/NAME.log each, and demo.log.`);
    },
  };
}

function noDisks(missing: string): SmallDisks {
  return { names: [], missing, async fill() {}, async empty() {}, async close() {} };
}
