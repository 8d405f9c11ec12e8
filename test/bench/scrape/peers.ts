// The peers, as Debian has them: vmagent and Prometheus' agent, each with the same targets, rules and interval, writing to a sink
// that counts.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { call, getJson } from "#/cli/http.ts";
import { findTool } from "#/cli/tools.ts";
import { type Contender, type Course, type OwnCount, type Running, samplesOf } from "#/test/bench/scrape/contender.ts";
import { type Member, tailOf } from "#/test/bench/scrape/crew.ts";
import { scrapeConfigOf } from "#/test/bench/scrape/scenario.ts";
import type { SinkCount } from "#/test/bench/scrape/sink.ts";
import { freePort } from "#/test/support/port.ts";
import { until } from "#/test/support/world.ts";

const timeoutMs = 10_000;
const startMsMax = 60_000;

export const vmagentContender: Contender = {
  name: "vmagent",
  async start(course) {
    const program = await findTool("vmagent", { onProgress: course.say });
    const { config, listen, member, page, sink } = await prepare(course, "vmagent", program);
    const started = member([
      `-promscrape.config=${config}`,
      `-remoteWrite.url=${sink.url}`,
      `-remoteWrite.tmpDataPath=${join(course.crew.dir, "vmagent-queue")}`,
      `-httpListenAddr=${listen}`,
      "-loggerLevel=WARN",
    ]);
    await ready(started, `${page}/targets`, course);
    return running(started, sink.member, await versionOf(program, "victoria-metrics"), async () => {
      const { body } = await call(`${page}/metrics`, { timeoutMs });
      const sum = (name: string) => [...samplesOf(body, name).values()].reduce((total, value) => total + value, 0);
      const failures = {
        failed: sum("vm_promscrape_scrapes_failed_total"),
        timed_out: sum("vm_promscrape_scrapes_timed_out_total"),
        remote_write_retries: sum("vmagent_remotewrite_retries_count_total"),
      };
      return { failed: failures.failed, failures };
    });
  },
};

export const prometheusContender: Contender = {
  name: "prometheus",
  async start(course) {
    const program = await findTool("prometheus", { onProgress: course.say });
    const { config, listen, member, page, sink } = await prepare(course, "prometheus", program);
    const started = member([
      "--enable-feature=agent",
      `--config.file=${config}`,
      `--storage.agent.path=${join(course.crew.dir, "prometheus-wal")}`,
      `--web.listen-address=${listen}`,
      "--log.level=warn",
    ]);
    await ready(started, `${page}/-/ready`, course);
    return running(started, sink.member, await versionOf(program, "prometheus"), async () => {
      // What fails now; it does not count what failed before.
      const { data } = await getJson<{ data: { activeTargets: readonly { health: string; lastError: string }[] } }>(
        `${page}/api/v1/targets?state=active`,
        { timeoutMs },
      );
      const failures: Record<string, number> = {};
      for (const { health, lastError } of data.activeTargets) {
        if (health !== "down") continue;
        // What is the target's own in it would make each a reason of its own.
        const why = lastError.replace(/^Get "[^"]*": /, "").replace(/\d+(\.\d+){3}:\d+/g, "…");
        failures[why] = (failures[why] ?? 0) + 1;
      }
      return { failed: Object.values(failures).reduce((sum, count) => sum + count, 0), failures };
    });
  },
};

async function prepare({ caFile, crew, groups, scenario }: Course, name: string, program: string) {
  const sinkMember = crew.start(`${name}-sink`, process.execPath, [join(import.meta.dirname, "sink.ts")], {
    ipc: true,
  });
  const sinkPort = await sinkMember.message<number>();
  const sink = { member: sinkMember, url: `http://127.0.0.1:${sinkPort}/api/v1/write` };
  const config = join(crew.dir, `${name}.yaml`);
  const interval = `${scenario.intervalMs / 1000}s`;
  const timeout = scenario.intervalMs < 10_000 ? interval : "10s";
  const described = {
    global: {
      scrape_interval: interval,
      scrape_timeout: timeout,
      external_labels: { datacenter: "bench", region: "bench" },
    },
    scrape_configs: [{ ...scrapeConfigOf(caFile), static_configs: groups }],
    // vmagent is told by an option.
    ...(name === "prometheus" && { remote_write: [{ url: sink.url }] }),
  };
  await writeFile(config, JSON.stringify(described));
  const listen = `127.0.0.1:${await freePort()}`;
  const member = (args: readonly string[]) => crew.start(name, program, args);
  return { config, listen, member, page: `http://${listen}`, sink };
}

async function ready(member: Member, url: string, { say }: Course): Promise<void> {
  await until(`${member.name} to be ready`, startMsMax, async () => {
    const { status } = await call(url, { timeoutMs });
    return status === 200 ? true : undefined;
  }).catch((error: Error) => {
    throw new Error(`${error.message}:\n${tailOf(member.logFile)}`, { cause: error });
  });
  say(`${member.name} runs.`);
}

function running(member: Member, sink: Member, version: string, ownCount: () => Promise<OwnCount>): Running {
  return {
    version,
    pid: member.pid,
    logFile: member.logFile,
    ended: () => member.ended() ?? sink.ended(),
    async wireBytes() {
      const { bodyBytes, bytesIn, bytesOut } = await sink.message<SinkCount>("count");
      return { out: bytesIn, back: bytesOut, payload: bodyBytes };
    },
    ownCount,
    async close() {
      await member.end();
      await sink.end();
    },
  };
}

/** Of the Debian package, installed or unpacked: vmagent does not know its own. */
async function versionOf(program: string, packageName: string): Promise<string> {
  const file = join(program, "..", "..", "share", "doc", packageName, "changelog.Debian.gz");
  const packed = await readFile(file).catch(() => undefined);
  const changelog = packed ? gunzipSync(packed).toString() : "";
  return /^\S+ \(([^)]*)\)/.exec(changelog)?.[1] ?? "of unknown version";
}
