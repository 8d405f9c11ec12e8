// The links of the demo that can be cut, a bundle a data centre: to the hub, and from the globals to its primaries. Cut only
// the first, and the globals would still reach the primaries directly, which no real cut allows.

import type { PlannedRelay } from "#/cli/demo/plan.ts";
import { type Relay, startRelay } from "#/cli/demo/relay.ts";

export interface Network {
  /** Data centres that are cut off. */
  cutOff(): readonly string[];
  cut(datacenter: string): void;
  heal(): void;
  close(): Promise<void>;
}

export async function startNetwork(planned: readonly PlannedRelay[]): Promise<Network> {
  const bundles = new Map<string, Relay[]>();
  const relays: Relay[] = [];
  for (const plannedRelay of planned) {
    const relay = await startRelay(plannedRelay);
    relays.push(relay);
    bundles.set(plannedRelay.datacenter, [...(bundles.get(plannedRelay.datacenter) ?? []), relay]);
  }
  return {
    cutOff: () => [...bundles].filter(([, bundle]) => bundle.some((relay) => relay.isCut())).map(([name]) => name),
    cut(datacenter) {
      for (const relay of bundles.get(datacenter) ?? []) relay.cut();
    },
    heal() {
      for (const relay of relays) relay.heal();
    },
    async close() {
      await Promise.all(relays.map((relay) => relay.close()));
    },
  };
}
