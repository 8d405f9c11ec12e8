// The drill's first form: one blow after the other, each process once, and a cut.

import { say } from "#/cli/command.ts";
import type { Blow } from "#/cli/drill/account.ts";
import { compareReplicas } from "#/cli/drill/compare.ts";
import { type DemoStatus, type Federation, targetsOwnedBy } from "#/cli/drill/federation.ts";
import { clockText } from "#/cli/drill/layout.ts";
import { comparisonText, notPromisedText, replicasText, verdictText } from "#/cli/drill/report.ts";
import { endedAlone, untilWell, wellMsMax } from "#/cli/drill/well.ts";
import { call } from "#/cli/http.ts";
import { type ParsedOptions, readDuration, UsageError } from "#/cli/options.ts";
import type { Clock } from "#/lib/clock/clock.ts";

/** A dark data centre must be seen within this (docs/start.md promises it). */
const darkMsMax = 10_000;
const pollMs = 1000;
const answerMsMax = 3000;

interface Drill {
  readonly federation: Federation;
  readonly status: DemoStatus;
  readonly names: readonly string[];
  readonly cutMs: number;
  readonly clock: Clock;
}

/** True when nothing was lost that may not be. Throws DrillError, CallError, ReadBackError. */
export async function drillOnce(
  options: ParsedOptions,
  { federation, status, clock }: Pick<Drill, "federation" | "status" | "clock">,
): Promise<boolean> {
  const isShort = options.isSet("short");
  const cutMs = isShort && !options.isSet("cut") ? 15_000 : options.durationMs("cut");
  const names = killList(options, status, isShort);
  return strikeAndCount({ federation, status, names, cutMs, clock });
}

/** In the order of the plan; of each kind the one that matters most when it is short. */
function killList(options: ParsedOptions, status: DemoStatus, isShort: boolean): readonly string[] {
  const wanted = options.required("kills");
  const all = status.processes.map(({ name }) => name);
  if (wanted === "none") return [];
  if (wanted === "all" && !isShort) return all;
  if (wanted === "all") {
    const leader = status.status?.leader;
    const primary = status.status?.datacenters[0]?.primaries.find((candidate) => candidate.leader)?.name;
    const [first] = status.datacenters;
    const chosen = ["hub-nats", `${first!.name}-nats`, "fleet", leader ?? "global-1"];
    return [...chosen, primary ?? `${first!.name}-primary-1`, `${first!.name}-secondary-1`];
  }
  const names = wanted.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !all.includes(name));
  if (unknown !== undefined) throw new UsageError(`--kills: there is no ${unknown}; known: ${all.join(", ")}`);
  return names;
}

async function strikeAndCount(drill: Drill): Promise<boolean> {
  const { federation, status, names, cutMs, clock } = drill;
  const intervalMs = readDuration(status.interval, "interval");
  // What was scraped while the demo came up is not held against it.
  const fromMs = Math.ceil(clock.nowMs()) + intervalMs;
  await clock.sleep(2 * intervalMs);
  const blows: Blow[] = [];
  for (const [index, name] of names.entries()) {
    blows.push(await kill(drill, name, intervalMs));
    const blow = blows.at(-1)!;
    const place = `${String(index + 1).padStart(2)}/${names.length}  ${clockText(blow.atMs)}`;
    say(`${place}  ${name} was killed and ready again after ${(blow.downMs / 1000).toFixed(1)} s.`);
    // Handovers and second attempts belong to this blow, not to the next one.
    await clock.sleep(2 * intervalMs);
  }
  const troubles: string[] = [];
  if (cutMs > 0) blows.push(await cutOff(drill, troubles));
  troubles.push(...(await untilWell(federation)));
  const untilMs = Math.floor(clock.nowMs()) + intervalMs;
  await clock.sleep(2 * intervalMs);

  const comparison = { status, span: { fromMs, untilMs }, intervalMs, blows, clock };
  say(`\n${comparisonText(comparison)}`);
  const replicas = await compareReplicas(comparison);
  const { account } = replicas[0]!;
  troubles.push(...endedAlone(status, await federation.status(), federation.kills));
  say(`\n${replicasText(blows, replicas)}`);
  say(`\n${notPromisedText(blows, account)}`);
  for (const trouble of troubles) say(`BREACH: ${trouble}`);
  const breaches = replicas.reduce((sum, replica) => sum + replica.account.breaches.length, troubles.length);
  say(`\n${verdictText(blows, { account, breaches })}`);
  return breaches === 0;
}

async function kill({ federation, clock }: Drill, name: string, intervalMs: number): Promise<Blow> {
  const status = await federation.status();
  const process = status.processes.find((candidate) => candidate.name === name)!;
  const owned = process.role === "secondary" ? await targetsOwnedBy(process, status) : new Set<number>();
  const atMs = clock.nowMs();
  const downMs = await federation.killAndWait(name);
  return {
    name,
    kind: "kill",
    atMs,
    downMs,
    hit: true,
    allowedTargets: owned,
    allowedSlots: owned.size > 0 ? Math.ceil(downMs / intervalMs) : 0,
    ...(owned.size > 0 && { excuse: "killed secondary" }),
    ...(process.role === "fleet" && { mayFail: new Set(Array.from({ length: status.fleet.targets }, (_, i) => i)) }),
  };
}

/** Cuts the first data centre off, and looks meanwhile whether it goes on by itself and is seen to be dark. */
async function cutOff({ federation, status, cutMs, clock }: Drill, troubles: string[]): Promise<Blow> {
  const datacenter = status.datacenters[0]!.name;
  const primaries = status.processes.filter(
    (process) => process.role === "primary" && process.datacenter === datacenter,
  );
  const atMs = clock.nowMs();
  const cutAtMs = clock.monotonicMs();
  await federation.cut(datacenter);
  let darkAfterMs: number | undefined;
  let silences = 0;
  while (clock.monotonicMs() - cutAtMs < cutMs) {
    await clock.sleep(pollMs);
    const states = await federation.statesOf(datacenter);
    const dark = states.every((state) => state === "dark");
    if (dark) darkAfterMs ??= clock.monotonicMs() - cutAtMs;
    for (const { httpUrl } of primaries) {
      const form = { query: "count(up)" };
      const answer = await call(`${httpUrl}/api/v1/query`, { form, timeoutMs: answerMsMax }).catch(() => undefined);
      if (answer?.status !== 200) silences += 1;
    }
  }
  await federation.heal();
  const healedMs = clock.monotonicMs();
  const downMs = healedMs - cutAtMs;
  const live = await federation.until(wellMsMax, async () =>
    (await federation.statesOf(datacenter)).every((state) => state === "live") ? true : undefined,
  );
  const liveAfterMs = clock.monotonicMs() - healedMs;
  say(
    `       ${datacenter} was cut off for ${(downMs / 1000).toFixed(0)} s: dark after ${seconds(darkAfterMs)}, ` +
      `live again ${seconds(live ? liveAfterMs : undefined)} after healing; its own primaries failed ${silences} queries.`,
  );
  if (darkAfterMs === undefined || darkAfterMs > darkMsMax) {
    troubles.push(`${datacenter} was called dark after ${seconds(darkAfterMs)}, allowed are ${darkMsMax / 1000} s`);
  }
  if (silences > 0)
    troubles.push(`the primaries of ${datacenter} did not answer ${silences} queries while it was cut off`);
  if (!live) troubles.push(`${datacenter} was not live again ${wellMsMax / 1000} s after healing`);
  const hit = darkAfterMs !== undefined;
  return { name: `${datacenter} cut off`, kind: "cut", atMs, downMs, hit, allowedTargets: new Set(), allowedSlots: 0 };
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? "never" : `${(ms / 1000).toFixed(1)} s`;
}
