// What a generation costs: `make bench-assign`. 100,000 targets, 20 secondaries; a secondary joins, leaves, or targets come and go.

import { decodeGeneration, encodeDelta, encodeGeneration, readGeneration } from "#/lib/codec/generation.ts";
import { applyDelta, diffGenerations, type GenerationDelta } from "#/lib/model/delta.ts";
import type { Generation, GenerationSecondary } from "#/lib/model/generation.ts";
import { changesBetween } from "#/lib/model/history.ts";
import type { Target } from "#/lib/model/target.ts";
import { planGeneration } from "#/primary/assign.ts";
import { benchTarget } from "#/test/bench/bodies.ts";
import { cpuMs } from "#/test/bench/cpu.ts";

const targetCount = Number(process.argv[2] ?? 100_000);
const secondaryCount = Number(process.argv[3] ?? 20);
const rounds = 7;

const targets = sorted(Array.from({ length: targetCount }, (_, i) => benchTarget(i, 15_000)));
const living = Array.from({ length: secondaryCount }, (_, i) => ({ name: `ams1-secondary-${i + 1}`, capacity: 6000 }));

const changes: readonly [what: string, targets: readonly Target[], living: readonly GenerationSecondary[]][] = [
  ["a secondary joins", targets, [...living, { name: "ams1-secondary-new", capacity: 6000 }]],
  ["a secondary leaves", targets, living.slice(1)],
  ["100 targets go, 100 come", sorted([...targets.slice(100), ...fresh(100)]), living],
];

const before = plan(targets, living);
// As a replica has it: read from the log, and not what discovery made.
const base = decodeGeneration(encodeGeneration(before));
for (const change of changes) measure(...change);

function measure(what: string, nextTargets: readonly Target[], nextLiving: readonly GenerationSecondary[]): void {
  const steps = new Map<string, number[]>();
  let next: Generation = before;
  let delta: GenerationDelta | undefined;
  let deltaBytes: Uint8Array = new Uint8Array(0);
  let fullBytes: Uint8Array = new Uint8Array(0);
  for (let round = 0; round < rounds; round++) {
    const timed = <T>(name: string, step: () => T): T => {
      const startedMs = cpuMs();
      const result = step();
      steps.set(name, [...(steps.get(name) ?? []), cpuMs() - startedMs]);
      return result;
    };
    next = timed("plan", () => plan(nextTargets, nextLiving, base));
    const made = timed("diff", () => diffGenerations(base, next));
    deltaBytes = timed("encode the difference", () => encodeDelta(made));
    delta = timed("decode it", () => readGeneration(deltaBytes) as GenerationDelta);
    timed("apply it", () => applyDelta(base, delta!));
    fullBytes = timed("encode the whole", () => encodeGeneration(next));
    timed("decode the whole", () => decodeGeneration(fullBytes));
  }
  const { added, moved, removed } = changesBetween(base.targets, next.targets);
  const share = (100 * deltaBytes.length) / fullBytes.length;
  const lines = [
    `${what}: ${moved} of ${targetCount} targets move (${((100 * moved) / targetCount).toFixed(2)} %), ${added} come, ${removed} go`,
    `  ${deltaBytes.length} bytes, ${share.toFixed(2)} % of ${fullBytes.length}`,
    ...[...steps].map(([name, ms]) => `  ${name.padEnd(22)} ${shown(median(ms)).padStart(4)} ms`),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

function plan(
  of: readonly Target[],
  by: readonly GenerationSecondary[],
  previous: Generation | undefined = undefined,
): Generation {
  const number = (previous?.number ?? 0) + 1;
  const facts = { number, token: 1, primary: "ams1-primary-a", nowMs: 1_700_000_000_000, datacenter: "ams1" };
  return planGeneration({ ...facts, previous, targets: of, living: by });
}

/** As discovery gives them. */
function sorted(of: readonly Target[]): readonly Target[] {
  return of.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

function fresh(count: number): Target[] {
  return Array.from({ length: count }, (_, i) => benchTarget(targetCount + i, 15_000));
}

function shown(ms: number): string {
  return ms < 1 ? "< 1" : ms.toFixed(0);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
