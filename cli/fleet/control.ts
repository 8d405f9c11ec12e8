// The fleet's own HTTP address: health, /metrics, and its faults, which a test or a curious person sets while it runs.
//
//     curl -X POST 'http://127.0.0.1:9407/faults?set=dead=5&set=slow:3000ms=10-19'    replaces all faults
//     curl -X DELETE http://127.0.0.1:9407/faults                                      all well again

import { readFault } from "#/cli/fleet/faults.ts";
import type { Fleet } from "#/cli/fleet/server.ts";
import { UsageError } from "#/cli/options.ts";
import { createHttpServer, type HttpServer } from "#/lib/http/server.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

export function fleetControl(fleet: Fleet, listen: string, metrics: Registry): HttpServer {
  const server = createHttpServer({
    listen,
    metrics,
    health: { healthy: () => undefined, ready: () => undefined },
    log: silentLogger(),
  });
  metrics.onCollect(() => {
    metrics.set("heliograph_fleet_targets", fleet.targets);
    metrics.set("heliograph_fleet_scrapes_total", fleet.scrapes);
  });
  const tell = () => ({ faults: fleet.faults(), spoiled: fleet.spoiled });
  server.app.get("/faults", async () => tell());
  server.app.delete("/faults", async () => {
    await fleet.setFaults([]);
    return tell();
  });
  server.app.post("/faults", async (request, reply) => {
    const given = (request.query as Record<string, string | string[] | undefined>).set ?? [];
    try {
      await fleet.setFaults([given].flat().map(readFault));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      return reply.code(400).send({ error: error.message });
    }
    return tell();
  });
  return server;
}
