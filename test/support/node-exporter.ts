// A real node_exporter, the commonest thing that anybody scrapes.

import { freePort } from "#/test/support/port.ts";
import { toolOrReason } from "#/test/support/tool.ts";
import type { World } from "#/test/support/world.ts";

export const nodeExporter = await toolOrReason("prometheus-node-exporter");

/** `host:port` of its /metrics. */
export async function startNodeExporter(world: World): Promise<string> {
  const address = `127.0.0.1:${await freePort()}`;
  // Those two look for what a machine without systemd, and without such a folder, does not have.
  const without = ["--no-collector.systemd", "--no-collector.textfile"];
  await world.start("node-exporter", nodeExporter.path, [`--web.listen-address=${address}`, ...without]);
  return address;
}
