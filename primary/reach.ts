// The streams over which secondaries and this primary speak of who reaches what; primary/verdict.ts decides.

import { encodeGeneration } from "#/lib/codec/generation.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { reachSampleMax } from "#/lib/model/reach.ts";
import { type ReachOrder, type ReachReport, type Session, WireError } from "#/lib/wire/session.ts";
import type { Door, Verdicts } from "#/primary/verdict.ts";

/** An id of a target. */
const idPattern = /^[0-9a-f]{32}$/;

export interface ReachStreamParts {
  readonly datacenter: string;
  readonly primary: string;
  readonly secondaries: () => readonly string[];
  readonly generation: () => Generation | undefined;
  readonly verdicts: Pick<Verdicts, "join" | "leave" | "suspects" | "probed">;
}

/** Serves one stream until it ends. */
export async function serveReach(
  parts: ReachStreamParts,
  session: Session<ReachOrder, ReachReport>,
  peer: string | undefined,
): Promise<void> {
  const { verdicts } = parts;
  let secondary: string | undefined;
  const say = (order: ReachOrder) => void session.send(order).catch(() => {}); // The stream is over, and says so where it is read.
  const door: Door = {
    verdict: (verdict, sinceMs) => say({ verdict: { verdict, sinceMs } }),
    probe(id, targets) {
      const generation = parts.generation();
      if (!generation) return;
      const part = { ...generation, causes: [], targets: targets.map((target) => ({ target, owner: "" })) };
      say({ probe: { id, targets: Buffer.from(encodeGeneration(part)) } });
    },
  };
  try {
    for await (const { hello, result, suspicion } of session.incoming) {
      if (hello) {
        secondary ??= admitted(parts, hello, peer);
        verdicts.join(secondary, door);
      } else if (secondary === undefined) {
        throw new WireError("refused", `${parts.primary}: expected hello as the first message of a reach stream`);
      } else if (suspicion) {
        const { failed, of, sinceMs } = suspicion;
        const sample = idsOf(suspicion.sample);
        verdicts.suspects(secondary, of === 0 ? undefined : { failed, of, sinceMs, sample });
      } else if (result) verdicts.probed(result.id, idsOf(result.reached));
    }
  } finally {
    if (secondary !== undefined) verdicts.leave(secondary, door);
  }
}

function idsOf(ids: readonly string[]): readonly string[] {
  return ids.filter((id) => idPattern.test(id)).slice(0, reachSampleMax);
}

function admitted(
  { datacenter, primary, secondaries }: ReachStreamParts,
  hello: NonNullable<ReachReport["hello"]>,
  peer: string | undefined,
): string {
  const { secondary } = hello;
  if (hello.datacenter !== datacenter || !secondaries().includes(secondary)) {
    throw new WireError(
      "refused",
      `${primary}: no secondary "${secondary}" of data centre "${hello.datacenter}" in the topology file`,
    );
  }
  if (peer !== undefined && peer.split("/").at(-1) !== secondary) {
    throw new WireError("refused", `${primary}: the certificate is of "${peer}", got a report of "${secondary}"`);
  }
  return secondary;
}
