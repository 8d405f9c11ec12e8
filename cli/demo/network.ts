// The links of the demo that can be cut, a bundle a data centre: to the hub, and from the globals to its primaries. Cut only
// the first, and the globals would still reach the primaries directly, which no real cut allows.

import type { PlannedRelay } from "#/cli/demo/plan.ts";
import { type CutWay, type Relay, startRelay } from "#/cli/demo/relay.ts";

export const cutDirections = ["both", "out", "in"] as const;
export type CutDirection = (typeof cutDirections)[number];

export interface Network {
  /** Data centres that are cut off. */
  cutOff(): readonly string[];
  /** `out`: what the data centre says is not heard; `in`: it hears nothing. */
  cut(datacenter: string, direction?: CutDirection): void;
  heal(): void;
  close(): Promise<void>;
}

export async function startNetwork(planned: readonly PlannedRelay[]): Promise<Network> {
  const bundles = new Map<string, { readonly relay: Relay; readonly opens: PlannedRelay["opens"] }[]>();
  const relays: Relay[] = [];
  for (const plannedRelay of planned) {
    const relay = await startRelay(plannedRelay);
    relays.push(relay);
    bundles.set(plannedRelay.datacenter, [
      ...(bundles.get(plannedRelay.datacenter) ?? []),
      { relay, opens: plannedRelay.opens },
    ]);
  }
  return {
    cutOff: () => [...bundles].filter(([, bundle]) => bundle.some(({ relay }) => relay.isCut())).map(([name]) => name),
    cut(datacenter, direction = "both") {
      for (const { relay, opens } of bundles.get(datacenter) ?? []) relay.cut(wayOf(direction, opens));
    },
    heal() {
      for (const relay of relays) relay.heal();
    },
    async close() {
      await Promise.all(relays.map((relay) => relay.close()));
    },
  };
}

function wayOf(direction: CutDirection, opens: PlannedRelay["opens"]): CutWay {
  if (direction === "both") return "both";
  return (direction === "out") === (opens === "outward") ? "forward" : "backward";
}
