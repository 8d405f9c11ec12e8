// Puts together what a global knows of each data centre: its state, what the replica of its log holds, and what its primaries'
// heartbeats said.

import type { FederationView } from "#/global/state.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { standingIn } from "#/lib/model/generation.ts";
import type { Heartbeat } from "#/lib/model/heartbeat.ts";
import type { DatacenterStatus, FederationStatus, SecondaryStatus } from "#/lib/model/status.ts";
import { type AssignedSources, secondaryFacts } from "#/lib/page/assigned/source.ts";
import { type HeardByPrimary, LastWords } from "#/lib/page/assigned/words.ts";
import type { Replica } from "#/lib/replica/replica.ts";
import { addressOf, type Datacenter, type Topology } from "#/topology/schema.ts";

/** The newest heartbeat of each primary of a data centre. */
export interface Heard {
  readonly heartbeats: Map<string, { readonly sentMs: number; readonly payload: Heartbeat }>;
  /** What they said of secondaries, also earlier. */
  readonly words: LastWords;
}

export function heardOf({ secondaries }: Datacenter, clock: Clock): Heard {
  const heartbeats: Heard["heartbeats"] = new Map();
  const words = new LastWords({
    clock,
    known: () => secondaries.map(({ name }) => name),
    heard: () => heardByPrimaries(heartbeats, clock.nowMs()),
  });
  return { heartbeats, words };
}

export function statusOf(known: {
  readonly topology: Topology;
  readonly replica: string;
  readonly leader: string;
  readonly nowMs: number;
  readonly view: FederationView;
  readonly replicas: ReadonlyMap<string, Replica>;
  readonly heard: ReadonlyMap<string, Heard>;
}): FederationStatus {
  const { nowMs, view, topology } = known;
  return {
    federation: topology.federation,
    replica: known.replica,
    leader: known.leader,
    nowMs,
    blind: view.blind,
    datacenters: topology.datacenters.map((datacenter) => {
      const seen = view.datacenters.find(({ name }) => name === datacenter.name)!;
      const heard = known.heard.get(datacenter.name)!;
      return {
        name: datacenter.name,
        region: datacenter.region,
        state: seen.state,
        sinceMs: seen.sinceMs,
        reason: seen.reason,
        lagMs: seen.lagMs,
        ...contentOf(known.replicas.get(datacenter.name)),
        primaries: primariesOf(datacenter, heard, seen.reachable),
        secondaries: secondariesOf(datacenter, heard, known.replicas.get(datacenter.name)),
      };
    }),
  };
}

type Content = Pick<DatacenterStatus, "targets" | "up" | "down" | "samplesPerSecond" | "lastSampleMs">;

function contentOf(replica: Replica | undefined): Content {
  const summary = replica?.summary();
  return {
    targets: summary?.targets ?? 0,
    up: summary?.up ?? 0,
    down: summary?.down ?? 0,
    samplesPerSecond: summary?.samplesPerSecond ?? 0,
    lastSampleMs: summary?.lastSampleMs ?? null,
  };
}

function primariesOf(
  datacenter: Datacenter,
  heard: Heard,
  reachable: readonly { readonly primary: string; readonly reachable: boolean | null }[],
): DatacenterStatus["primaries"] {
  const tokens = [...heard.heartbeats.values()].map(({ payload }) => payload.leaseToken);
  const highest = Math.max(0, ...tokens);
  return datacenter.primaries.map(({ name }) => {
    const heartbeat = heard.heartbeats.get(name)?.payload;
    return {
      name,
      reachable: reachable.find(({ primary }) => primary === name)?.reachable ?? null,
      leader: heartbeat !== undefined && highest > 0 && heartbeat.leaseToken === highest,
      lagMs: heartbeat?.lagMs ?? null,
    };
  });
}

function secondariesOf(datacenter: Datacenter, heard: Heard, replica: Replica | undefined): readonly SecondaryStatus[] {
  const targets = new Map<string, number>();
  for (const { owner } of replica?.generation?.targets ?? []) targets.set(owner, (targets.get(owner) ?? 0) + 1);
  const words = heard.words.words();
  return datacenter.secondaries.map(({ name }) => ({
    name,
    ageMs: words.get(name)?.ageMs ?? null,
    targets: targets.get(name) ?? 0,
    state: standingIn(replica?.generation, name),
  }));
}

/** As each primary's newest heartbeat says. */
function heardByPrimaries(heartbeats: Heard["heartbeats"], nowMs: number): readonly HeardByPrimary[] {
  return [...heartbeats.values()].map(({ payload: { replica, secondaries }, sentMs }) => ({
    primary: replica,
    ageMs: Math.max(0, nowMs - sentMs),
    secondaries,
  }));
}

/** Who scrapes what, in every data centre. */
export function assignedSourcesOf(known: {
  readonly topology: Topology;
  readonly server: string;
  readonly replicas: ReadonlyMap<string, Replica>;
  readonly heard: ReadonlyMap<string, Heard>;
  readonly incomplete: () => string | undefined;
}): AssignedSources {
  return {
    server: known.server,
    incomplete: known.incomplete,
    list: () =>
      known.topology.datacenters.map(({ name, secondaries }) => ({
        datacenter: name,
        generation: () => known.replicas.get(name)?.generation,
        last: (id) => known.replicas.get(name)?.lastOutcome(id),
        generations: (limit) => known.replicas.get(name)?.generations(limit) ?? [],
        secondaries: () =>
          secondaryFacts(
            secondaries.map((each) => ({
              name: each.name,
              capacity: each.capacity,
              url: `http://${addressOf(each.http)}`,
            })),
            known.heard.get(name)!.words.words(),
            known.replicas.get(name)?.generation,
          ),
        dropped: () => ({}),
      })),
  };
}
