// Runs the simulated servers until it is told to stop.

import { say } from "#/cli/command.ts";
import { fleetBody } from "#/cli/fleet/body.ts";
import { fleetControl } from "#/cli/fleet/control.ts";
import { readFault } from "#/cli/fleet/faults.ts";
import { writeFileSd } from "#/cli/fleet/filesd.ts";
import { rowsMax, rowsMin } from "#/cli/fleet/rows.ts";
import { type Fleet, framings, startFleet } from "#/cli/fleet/server.ts";
import { targetsFrom } from "#/cli/fleet/values.ts";
import { exitCodes, type ParsedOptions, UsageError } from "#/cli/options.ts";
import { stopAsked } from "#/cli/stop.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import type { HttpServer } from "#/lib/http/server.ts";
import { exposeProcess, systemProcessProbe } from "#/lib/telemetry/process.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";

export async function runFleet(options: ParsedOptions): Promise<number> {
  const firstAddress = options.required("first-address");
  if (!/^127(\.(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])){3}$/.test(firstAddress)) {
    throw new UsageError(`--first-address: expected an address in 127.0.0.0/8, got "${firstAddress}"`);
  }
  const targets = options.whole("targets", { min: 1, max: targetsFrom(firstAddress) });
  const framing = framings.find((known) => known === options.text("framing"));
  if (!framing) throw new UsageError(`--framing: expected ${framings.join(", ")}, got "${options.text("framing")}"`);
  const rows = options.whole("rows", { min: rowsMin, max: rowsMax });
  const port = options.whole("port", { min: 0, max: 65_535 });
  const split = options.whole("split", { min: 1, max: targets });
  const labels = readLabels(options.list("label"));
  const faults = options.list("fault").map(readFault);
  const stop = stopAsked();

  const body = fleetBody(rows);
  const fleet = await startFleet({ targets, body, firstAddress, port, framing, clock: systemClock() });
  await fleet.setFaults(faults);
  const addresses = Array.from({ length: targets }, (_, target) => fleet.addressOf(target));
  const file = options.text("file-sd");
  if (file !== undefined) {
    const files = await writeFileSd({ file, addresses, labels, split });
    say(`The addresses are in ${files.join(", ")}.`);
  }
  const control = await startControl(fleet, options.text("control"));
  say(`${targets} servers answer, from http://${addresses[0]}/metrics to http://${addresses.at(-1)}/metrics.`);

  await stop;
  await control?.close();
  await fleet.close();
  return exitCodes.ok;
}

async function startControl(fleet: Fleet, listen: string | undefined): Promise<HttpServer | undefined> {
  if (listen === undefined) return undefined;
  const metrics = createRegistry({ tier: "tool" });
  exposeProcess(metrics, { tier: "tool", name: "fleet" }, systemProcessProbe());
  const control = fleetControl(fleet, listen, metrics);
  say(`The fleet is controlled at http://${await control.start()}/faults.`);
  return control;
}

function readLabels(pairs: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const pair of pairs) {
    const [, name, value] = /^([a-zA-Z_][a-zA-Z0-9_]*)=(.*)$/.exec(pair) ?? [];
    if (name === undefined || value === undefined) throw new UsageError(`--label: expected name=value, got "${pair}"`);
    labels[name] = value;
  }
  return labels;
}
