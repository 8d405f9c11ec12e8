// The demo's own HTTP address: its state for scripts, its metrics, and the same ways to hurt and heal as the keys have.

import type { Child } from "#/cli/demo/child.ts";
import { cutDirections } from "#/cli/demo/network.ts";
import type { Supervisor } from "#/cli/demo/supervisor.ts";
import type { Watch } from "#/cli/demo/watch.ts";
import { createHttpServer, type HttpServer } from "#/lib/http/server.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { nearest } from "#/topology/suggest.ts";

export function demoControl(options: {
  readonly supervisor: Supervisor;
  readonly watch: Watch;
  readonly metrics: Registry;
  readonly log: Logger;
}): HttpServer {
  const { supervisor, watch, metrics, log } = options;
  const { plan } = supervisor;
  const server = createHttpServer({
    listen: `127.0.0.1:${plan.controlPort}`,
    metrics,
    health: {
      healthy: () => undefined,
      ready() {
        const { readyAfterMs, waitingFor } = watch.view();
        return readyAfterMs === undefined ? `waiting for ${waitingFor.join(", ")}` : undefined;
      },
    },
    log,
  });
  metrics.onCollect(() => {
    for (const { name, pid, starts, memoryBytes } of watch.view().processes) {
      metrics.set("heliograph_demo_process_running", pid === undefined ? 0 : 1, { process: name });
      metrics.set("heliograph_demo_process_starts_total", starts, { process: name });
      metrics.set("heliograph_demo_process_resident_memory_bytes", memoryBytes, { process: name });
    }
  });

  server.app.get("/", async (_request, reply) => {
    const { processes, status } = watch.view();
    const globals = processes.filter(({ role }) => role === "global");
    return reply.redirect(`${(globals.find(({ name }) => name === status?.leader) ?? globals[0]!).httpUrl}/`);
  });
  server.app.get("/status", async () => ({
    ...watch.view(),
    dataDir: plan.dataDir,
    interval: plan.interval,
    topologyFile: plan.topologyFile,
    datacenters: plan.datacenters,
    fleet: { ...plan.fleet, targets: plan.targets, rows: plan.rows },
  }));
  server.app.post("/cut", async (request, reply) => {
    const { datacenter = "", direction = "both" } = request.query as { datacenter?: string; direction?: string };
    const names = plan.datacenters.map(({ name }) => name);
    if (!names.includes(datacenter)) return refuse(reply, "data centre", datacenter, names);
    const known = cutDirections.find((one) => one === direction);
    if (!known) return refuse(reply, "direction", direction, cutDirections);
    supervisor.network.cut(datacenter, known);
    return { cutOff: supervisor.network.cutOff() };
  });
  server.app.post("/heal", async () => {
    supervisor.heal();
    return { cutOff: supervisor.network.cutOff() };
  });
  server.app.post("/kill", async (request, reply) => {
    const { process: name = "", hold } = request.query as { process?: string; hold?: string };
    const names = [...supervisor.children.keys()];
    if (!names.includes(name)) return refuse(reply, "process", name, names);
    return { killed: supervisor.kill(name, { hold: hold === "true" }) };
  });
  const actions: Readonly<Record<string, (child: Child) => unknown>> = {
    start: (child) => child.release(),
    pause: (child) => child.pause(),
    resume: (child) => child.resume(),
  };
  for (const [action, act] of Object.entries(actions)) {
    server.app.post(`/${action}`, async (request, reply) => {
      const { process: name = "" } = request.query as { process?: string };
      const child = supervisor.children.get(name);
      if (!child) return refuse(reply, "process", name, [...supervisor.children.keys()]);
      act(child);
      return { state: child.state };
    });
  }
  return server;
}

function refuse(
  reply: { code(status: number): { send(body: unknown): unknown } },
  what: string,
  got: string,
  known: readonly string[],
): unknown {
  const meant = nearest(got, known);
  const hint = meant ? `did you mean ${meant}?` : `known: ${known.join(", ")}`;
  return reply.code(400).send({ error: `there is no ${what} "${got}"; ${hint}` });
}
