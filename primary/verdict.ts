// Who is cut off from its targets. A secondary says that most of them fail together; the lease holder has up to two others probe a
// sample, and what they reach decides: cut off, or the targets are down. It probes the sample too, because the targets may be back by
// then. Who is cut off gets no targets until it reaches them again.
//
// A secondary has a stream to one primary alone, so the two tell each other in their reports what they heard, what is to be probed
// and what was found: over and over, as long as it counts, so that a report that is lost costs a second and nothing has to be
// answered. The say is the lease holder's; a new one takes from the newest generation who is cut off, and hears every suspicion again.

import { secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Generation } from "#/lib/model/generation.ts";
import {
  type ReachGossip,
  type ReachVerdict,
  reachSampleMax,
  type Suspicion,
  type VerdictGiven,
} from "#/lib/model/reach.ts";
import type { Target } from "#/lib/model/target.ts";
import type { Random } from "#/lib/random/random.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

/** Two, because one may just be dying. */
const probersMax = 2;
/** From here on a sample counts as reached, or a secondary as one that reaches its targets. */
const reachedShare = 0.5;
/** A probe takes 3 s, and a second each way through the other primary. */
const probeMsMax = 5 * secondMs;
/** Who suspects itself, and reaches nothing of the sample within so long while others do, is cut off. */
const ownProbeMsMax = 1.5 * secondMs;
/** Who is cut off is tried so often, and is back after two good ones in a row. */
const recoveryEveryMs = 10 * secondMs;
const recoveriesInARow = 2;
/** Verdicts, and results for the other primary, are told for so long. */
const toldForMs = 30 * secondMs;
/** The other primary's word counts for so long. */
const peerMsMax = 5 * secondMs;
/** How often deadlines are looked at. */
export const reviewMs = secondMs;
/** Of what is kept for the other primary: far more than all secondaries of a data centre bring. */
const keptMax = 256;

export interface VerdictParts {
  readonly primary: string;
  /** The data centre's, by the topology file. */
  readonly secondaries: () => readonly string[];
  readonly lease: { held(): boolean };
  /** The newest one read. */
  readonly generation: () => Generation | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Says to the other primary what `gossip` has now. */
  readonly publish: () => void;
}

/** A secondary whose stream ends here. */
export interface Door {
  probe(id: string, targets: readonly Target[]): void;
  verdict(verdict: ReachVerdict, sinceMs: number): void;
}

interface Probe {
  readonly id: string;
  readonly prober: string;
  readonly asked: ReadonlySet<string>;
  readonly dueMs: number;
  reached: readonly string[] | undefined;
}

interface Case {
  readonly suspicion: Suspicion;
  readonly probes: readonly Probe[];
  /** Of the same sample by who suspects: the targets may be back by the time that others reach them. */
  readonly own: Probe | undefined;
}

interface CutOff {
  readonly sinceMs: number;
  /** What others reached of it; empty when an earlier lease holder found out. */
  readonly sample: readonly string[];
  inARow: number;
  nextMs: number;
  probe: Probe | undefined;
}

export class Verdicts {
  readonly #parts: VerdictParts;
  readonly #doors = new Map<string, Door>();
  readonly #suspicions = new Map<string, Suspicion>();
  /** By secondary; of the lease holder. */
  readonly #cases = new Map<string, Case>();
  readonly #cutOff = new Map<string, CutOff>();
  readonly #given = new Map<string, VerdictGiven & { readonly untilMs: number }>();
  /** Probes of the other primary that went to secondaries here, with what came of them. */
  readonly #passed = new Map<string, { readonly untilMs: number; reached: readonly string[] | undefined }>();
  readonly #onChange: (() => void)[] = [];
  #peer: { readonly heardMs: number; readonly gossip: ReachGossip } | undefined;
  #names: readonly string[] = [];
  #probes = 0;

  constructor(parts: VerdictParts) {
    this.#parts = parts;
    parts.metrics.onCollect(() => {
      for (const name of parts.secondaries()) {
        const isCutOff = this.#cutOff.has(name) ? 1 : 0;
        parts.metrics.set("heliograph_primary_secondary_cut_off", isCutOff, { secondary: name });
      }
    });
  }

  /** Those that do not reach their targets; the same array as long as nothing changed. */
  cutOff(): readonly string[] {
    return this.#names;
  }

  /** Called when somebody is cut off, or no longer is. */
  onChange(callback: () => void): void {
    this.#onChange.push(callback);
  }

  /** A secondary's stream begins here; it is greeted with what is known of it. */
  join(secondary: string, door: Door): void {
    this.#doors.set(secondary, door);
    door.verdict(this.#cutOff.has(secondary) ? "cut_off" : "reachable", 0);
  }

  /** It is over, unless another one took its place. */
  leave(secondary: string, door: Door): void {
    if (this.#doors.get(secondary) !== door) return;
    this.#doors.delete(secondary);
    this.#suspicions.delete(secondary);
  }

  /** A secondary says so, or says undefined when it is over. It says so again until it has a verdict. */
  suspects(secondary: string, suspicion: Suspicion | undefined): void {
    const before = this.#suspicions.get(secondary);
    if (!suspicion) {
      if (this.#suspicions.delete(secondary)) this.#parts.publish();
      return;
    }
    this.#suspicions.set(secondary, suspicion);
    const given = this.#cutOff.has(secondary) ? "cut_off" : this.#verdictOn(secondary, suspicion.sinceMs)?.verdict;
    if (given) {
      this.#doors.get(secondary)?.verdict(given, suspicion.sinceMs);
      return;
    }
    this.review();
    if (before?.sinceMs !== suspicion.sinceMs) this.#parts.publish();
  }

  /** What came of a probe, of a secondary here. */
  probed(id: string, reached: readonly string[]): void {
    const passed = this.#passed.get(id);
    if (passed) {
      passed.reached ??= reached.slice(0, reachSampleMax);
      this.#parts.publish();
    } else if (this.#settle(id, reached)) this.review();
  }

  /** The other primary's report. */
  hear(gossip: ReachGossip): void {
    const nowMs = this.#parts.clock.monotonicMs();
    this.#peer = { heardMs: nowMs, gossip };
    for (const { id, prober, targets } of gossip.probes) {
      const door = this.#doors.get(prober);
      if (!door || this.#passed.has(id)) continue;
      this.#passed.set(id, { untilMs: nowMs + toldForMs, reached: undefined });
      door.probe(id, this.#targetsOf(new Set(targets)));
    }
    for (const { id, reached } of gossip.results) this.#settle(id, reached);
    for (const { secondary, sinceMs, verdict } of gossip.verdicts) {
      const isKnown = this.#verdictOn(secondary, sinceMs)?.verdict === verdict;
      if (isKnown) this.#note({ secondary, sinceMs, verdict });
      else this.#give(secondary, sinceMs, verdict);
    }
    this.review();
  }

  /** For this primary's own report. */
  gossip(): ReachGossip {
    const probes: Probe[] = [];
    for (const each of this.#cases.values()) probes.push(...probesOf(each));
    for (const { probe } of this.#cutOff.values()) if (probe) probes.push(probe);
    return {
      connected: [...this.#doors.keys()],
      suspicions: [...this.#suspicions].map(([secondary, suspicion]) => ({ secondary, ...suspicion })),
      probes: probes
        .filter(({ prober, reached }) => !reached && !this.#doors.has(prober))
        .map(({ asked, id, prober }) => ({ id, prober, targets: [...asked] })),
      results: [...this.#passed].flatMap(([id, { reached }]) => (reached ? [{ id, reached }] : [])),
      verdicts: [...this.#given.values()].map(({ secondary, sinceMs, verdict }) => ({ secondary, sinceMs, verdict })),
    };
  }

  /** A generation was read. Who does not hold the lease has from it who is cut off. */
  follow({ secondaries }: Pick<Generation, "secondaries">): void {
    if (this.#parts.lease.held()) return;
    const names = new Set(secondaries.flatMap(({ name, state }) => (state === "cut_off" ? [name] : [])));
    for (const name of this.#cutOff.keys()) if (!names.has(name)) this.#cutOff.delete(name);
    for (const name of names) if (!this.#cutOff.has(name)) this.#exclude(name, 0, []);
    this.#changed();
  }

  /** To be called every `reviewMs`; whatever is heard does it too. */
  review(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    forgetOld(this.#given, nowMs);
    forgetOld(this.#passed, nowMs);
    if (!this.#parts.lease.held()) {
      this.#cases.clear();
      return;
    }
    const peerNow = this.#peer && nowMs - this.#peer.heardMs <= peerMsMax ? this.#peer.gossip : undefined;
    const elsewhere = peerNow?.suspicions.map(({ secondary, ...suspicion }) => [secondary, suspicion] as const) ?? [];
    const suspicions = new Map([...elsewhere, ...this.#suspicions]);
    for (const [secondary, suspicion] of suspicions) {
      const isOpen = this.#cases.has(secondary) || this.#verdictOn(secondary, suspicion.sinceMs);
      if (isOpen || !this.#parts.secondaries().includes(secondary)) continue;
      if (this.#cutOff.has(secondary)) this.#give(secondary, suspicion.sinceMs, "cut_off");
      else this.#open(secondary, suspicion, new Set(suspicions.keys()), peerNow?.connected ?? []);
    }
    for (const [secondary, each] of this.#cases) this.#judge(secondary, each, nowMs);
    for (const [secondary, each] of this.#cutOff) this.#recover(secondary, each, nowMs);
  }

  #open(
    secondary: string,
    suspicion: Suspicion,
    suspecting: ReadonlySet<string>,
    connectedElsewhere: readonly string[],
  ): void {
    const { failed, of, sample } = suspicion;
    const targets = this.#targetsOf(new Set(sample.slice(0, reachSampleMax)));
    const active = new Set(
      this.#parts
        .generation()
        ?.secondaries.flatMap(({ name, state = "active" }) => (state === "active" ? [name] : [])) ?? [],
    );
    const able = [...new Set([...this.#doors.keys(), ...connectedElsewhere])].filter(
      (name) => name !== secondary && active.has(name) && !suspecting.has(name) && !this.#cutOff.has(name),
    );
    const probers: string[] = [];
    while (probers.length < probersMax && able.length > 0) {
      probers.push(...able.splice(this.#parts.random.below(able.length), 1));
    }
    this.#parts.log.warn(
      { secondary, failed, of, sample: targets.length, probers },
      "Most of a secondary's scrapes fail together: others probe a sample of its targets.",
    );
    const probes = targets.length > 0 ? probers.map((prober) => this.#ask(prober, targets)) : [];
    const own = probes.length > 0 ? this.#ask(secondary, targets, ownProbeMsMax) : undefined;
    const opened = { suspicion, probes, own };
    this.#cases.set(secondary, opened);
    if (probesOf(opened).some(({ prober }) => !this.#doors.has(prober))) this.#parts.publish();
  }

  #judge(secondary: string, { own, probes, suspicion }: Case, nowMs: number): void {
    const answered = probes.filter(({ reached }) => reached);
    const best = answered.reduce<Probe | undefined>((a, b) => (a && shareOf(a) >= shareOf(b) ? a : b), undefined);
    const isOver = answered.length === probes.length || probes.every(({ dueMs }) => nowMs >= dueMs);
    if (!isOver && (!best || shareOf(best) < reachedShare)) return;
    const isReached = best !== undefined && shareOf(best) >= reachedShare;
    if (isReached && own && !own.reached && nowMs < own.dueMs) return;
    const isBack = own?.reached !== undefined && shareOf(own) >= reachedShare;
    const verdict = !best ? "unknown" : !isReached ? "targets_down" : isBack ? "unknown" : "cut_off";
    this.#cases.delete(secondary);
    this.#unanswered(probes.length - answered.length);
    const { failed, of, sinceMs } = suspicion;
    const fields = { secondary, failed, of, reached: best?.reached?.length ?? 0, asked: best?.asked.size ?? 0 };
    this.#parts.metrics.add("heliograph_primary_reach_verdicts_total", 1, { verdict });
    if (verdict === "cut_off") {
      this.#parts.log.error(
        { ...fields, prober: best!.prober },
        "A secondary is cut off from its targets, which others reach: others scrape them until it reaches them again.",
      );
      this.#exclude(secondary, sinceMs, best!.reached!);
    } else if (verdict === "unknown") {
      this.#parts.log.warn(
        fields,
        isBack
          ? "A secondary's targets are back, for it as for others: what failed meanwhile it tells as failed."
          : "Nobody else could say whether a secondary's targets are down: it tells them as failed.",
      );
    } else this.#parts.log.warn(fields, "A secondary's targets are down: others do not reach them either.");
    this.#give(secondary, sinceMs, verdict);
    this.#changed();
  }

  #recover(secondary: string, each: CutOff, nowMs: number): void {
    if (!this.#parts.secondaries().includes(secondary)) {
      this.#cutOff.delete(secondary);
      this.#changed();
      return;
    }
    const { probe } = each;
    if (!probe) {
      if (nowMs < each.nextMs) return;
      const targets = each.sample.length > 0 ? this.#targetsOf(new Set(each.sample)) : [];
      const tried = targets.length > 0 ? targets : this.#anyTargets();
      if (tried.length === 0) return;
      each.probe = this.#ask(secondary, tried);
      if (!this.#doors.has(secondary)) this.#parts.publish();
      return;
    }
    if (!probe.reached && nowMs < probe.dueMs) return;
    if (!probe.reached) this.#unanswered(1);
    each.inARow = shareOf(probe) >= reachedShare ? each.inARow + 1 : 0;
    each.nextMs = nowMs + recoveryEveryMs;
    each.probe = undefined;
    if (each.inARow < recoveriesInARow) return;
    this.#cutOff.delete(secondary);
    this.#parts.log.info({ secondary }, "A secondary that was cut off reaches its targets again.");
    this.#parts.metrics.add("heliograph_primary_reach_verdicts_total", 1, { verdict: "reachable" });
    this.#give(secondary, this.#sinceOf(secondary) ?? each.sinceMs, "reachable");
    this.#changed();
  }

  #exclude(secondary: string, sinceMs: number, sample: readonly string[]): void {
    const nextMs = this.#parts.clock.monotonicMs() + recoveryEveryMs;
    this.#cutOff.set(secondary, { sinceMs, sample, inARow: 0, nextMs, probe: undefined });
  }

  #ask(prober: string, targets: readonly Target[], msMax = probeMsMax): Probe {
    const id = `${this.#parts.primary}/${Math.floor(this.#parts.clock.nowMs())}/${this.#probes++}`;
    const asked = new Set(targets.map((target) => target.id));
    const dueMs = this.#parts.clock.monotonicMs() + msMax;
    this.#doors.get(prober)?.probe(id, targets);
    return { id, prober, asked, dueMs, reached: undefined };
  }

  /** True when somebody here waited for it. */
  #settle(id: string, reached: readonly string[]): boolean {
    const waiting = [...this.#cases.values()].flatMap(probesOf);
    for (const { probe } of this.#cutOff.values()) if (probe) waiting.push(probe);
    const probe = waiting.find((each) => each.id === id);
    if (!probe || probe.reached) return false;
    probe.reached = reached.filter((target) => probe.asked.has(target));
    const { metrics } = this.#parts;
    const unreached = probe.asked.size - probe.reached.length;
    metrics.add("heliograph_primary_reach_probes_total", probe.reached.length, { result: "reached" });
    metrics.add("heliograph_primary_reach_probes_total", unreached, { result: "unreached" });
    return true;
  }

  #unanswered(count: number): void {
    this.#parts.metrics.add("heliograph_primary_reach_probes_total", count, { result: "unanswered" });
  }

  #give(secondary: string, sinceMs: number, verdict: ReachVerdict): void {
    this.#note({ secondary, sinceMs, verdict });
    this.#doors.get(secondary)?.verdict(verdict, sinceMs);
    if (this.#parts.lease.held()) this.#parts.publish();
  }

  /** The newest of each secondary. */
  #note(given: VerdictGiven): void {
    const untilMs = this.#parts.clock.monotonicMs() + toldForMs;
    this.#given.delete(given.secondary);
    this.#given.set(given.secondary, { ...given, untilMs });
  }

  #verdictOn(secondary: string, sinceMs: number): VerdictGiven | undefined {
    const given = this.#given.get(secondary);
    return given?.sinceMs === sinceMs ? given : undefined;
  }

  /** What names its present suspicion. */
  #sinceOf(secondary: string): number | undefined {
    const elsewhere = this.#peer?.gossip.suspicions.find((each) => each.secondary === secondary);
    return (this.#suspicions.get(secondary) ?? elsewhere)?.sinceMs;
  }

  #targetsOf(ids: ReadonlySet<string>): readonly Target[] {
    const found: Target[] = [];
    for (const { target } of this.#parts.generation()?.targets ?? []) if (ids.has(target.id)) found.push(target);
    return found.slice(0, reachSampleMax);
  }

  #anyTargets(): readonly Target[] {
    const all = this.#parts.generation()?.targets ?? [];
    const from = this.#parts.random.below(Math.max(1, all.length - reachSampleMax + 1));
    // Sorted by a hash, so that neighbours have nothing to do with each other.
    return all.slice(from, from + reachSampleMax).map(({ target }) => target);
  }

  #changed(): void {
    const names = [...this.#cutOff.keys()].sort();
    if (names.length === this.#names.length && names.every((name, i) => name === this.#names[i])) return;
    this.#names = names;
    for (const callback of this.#onChange) callback();
  }
}

function probesOf({ own, probes }: Case): readonly Probe[] {
  return own ? [...probes, own] : probes;
}

function shareOf({ asked, reached = [] }: Probe): number {
  return reached.length / asked.size;
}

function forgetOld(kept: Map<string, { readonly untilMs: number }>, nowMs: number): void {
  for (const [key, { untilMs }] of kept) {
    if (untilMs > nowMs && kept.size <= keptMax) return;
    kept.delete(key);
  }
}
