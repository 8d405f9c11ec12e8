// Writes down what a real node_exporter says on this machine, for the benchmarks to replay:
// `node test/bench/record.ts [name...]`, by default all (ten minutes). Let the machine have something to do meanwhile.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { findTool } from "#/cli/tools.ts";
import { type RecordingName, type RecordingPlan, recordingPlans, writeRecording } from "#/test/bench/recording.ts";
import { freePort } from "#/test/support/port.ts";

const say = (sentence: string) => void process.stdout.write(`${sentence}\n`);
const program = await findTool("prometheus-node-exporter", { onProgress: say });
const asked = process.argv.slice(2) as RecordingName[];
const names = asked.length > 0 ? asked : (Object.keys(recordingPlans) as RecordingName[]);
await Promise.all(names.map(record));

async function record(name: RecordingName): Promise<void> {
  const plan: RecordingPlan | undefined = recordingPlans[name];
  if (!plan) throw new Error(`expected one of ${Object.keys(recordingPlans).join(", ")}, got ${name}`);
  const listen = `127.0.0.1:${await freePort()}`;
  const exporter = spawn(
    program,
    [
      `--web.listen-address=${listen}`,
      "--log.level=error",
      "--collector.disable-defaults",
      ...plan.collectors.map((collector) => `--collector.${collector}`),
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const gone = once(exporter, "exit");
  try {
    const bodies: string[] = [];
    const startMs = performance.now() + 1000;
    for (let round = 0; round < plan.rounds; round++) {
      await sleep(startMs + round * plan.intervalMs - performance.now());
      bodies.push(await (await fetch(`http://${listen}/metrics`)).text());
    }
    const kept = keptHeads(bodies[0]!, plan);
    const shortened = bodies.map((body) => shorten(body, kept));
    const bytes = await writeRecording(name, shortened);
    const { length } = shortened.at(-1)!;
    say(`${name}: ${plan.rounds} bodies of ${kept.size} series, ${length} bytes the last; ${bytes} bytes on disk.`);
  } finally {
    exporter.kill();
    await gone;
  }
}

/** The heads of the series that are kept: of each family its first ones, as many as come to that many in all. */
function keptHeads(body: string, { series, without }: RecordingPlan): ReadonlySet<string> {
  const families = new Map<string, string[]>();
  for (const line of body.split("\n")) {
    if (line === "" || line.startsWith("#") || without?.test(line)) continue;
    const head = headOf(line);
    const family = head.replace(/\{.*/, "").replace(/_(sum|count)$/, "");
    families.set(family, [...(families.get(family) ?? []), head]);
  }
  const kept = new Set<string>();
  for (let nth = 0; kept.size < series; nth++) {
    const before = kept.size;
    for (const heads of families.values()) if (nth < heads.length && kept.size < series) kept.add(heads[nth]!);
    if (kept.size === before) throw new Error(`expected at least ${series} series, got ${kept.size}`);
  }
  return kept;
}

/** Families that lose all their series lose their comments too. */
function shorten(body: string, kept: ReadonlySet<string>): string {
  let text = "";
  let comments = "";
  for (const line of body.split("\n")) {
    if (line.startsWith("# HELP")) comments = "";
    if (line.startsWith("#")) comments += `${line}\n`;
    else if (line !== "" && kept.has(headOf(line))) {
      text += `${comments}${line}\n`;
      comments = "";
    }
  }
  return text;
}

function headOf(line: string): string {
  return line.slice(0, line.lastIndexOf(" "));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
