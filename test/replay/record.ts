// Writes down what real exporters say, for the replay and the fuzzers: `node test/replay/record.ts [name...]`, all by default.
//
// Each is a Debian package, fetched and unpacked where it is not installed, on a free port of this machine; something happens to
// it between two bodies, so that values move and series come and go. Names of this machine are replaced.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { findTool, type ToolName } from "#/cli/tools.ts";
import { packRecording } from "#/test/replay/recording.ts";
import { freePort } from "#/test/support/port.ts";
import { until } from "#/test/support/world.ts";

const rounds = 20;
const roundMs = 1000;
const startMsMax = 20_000;

interface Exporter {
  /** What answers with the metrics. */
  readonly url: (round: number) => string;
  /** Before it is asked for that round. */
  readonly stir?: (round: number) => Promise<unknown>;
}

interface Place {
  readonly dir: string;
  start(tool: ToolName, args: readonly string[]): Promise<void>;
}

const plans: Readonly<Record<string, (place: Place) => Promise<Exporter>>> = {
  "node-exporter": async ({ start }) => {
    const listen = `127.0.0.1:${await freePort()}`;
    await start("prometheus-node-exporter", [
      `--web.listen-address=${listen}`,
      ...["systemd", "textfile", "dmi", "os"].map((name) => `--no-collector.${name}`),
    ]);
    return { url: () => `http://${listen}/metrics` };
  },

  /** A server that is well, breaks, and is away; over two modules. */
  "blackbox-exporter": async ({ dir, start }) => {
    const listen = `127.0.0.1:${await freePort()}`;
    const config = join(dir, "blackbox.yml");
    await writeFile(
      config,
      "modules:\n  http: {prober: http, timeout: 2s, http: {preferred_ip_protocol: ip4}}\n  tcp: {prober: tcp, timeout: 2s}\n",
    );
    await start("prometheus-blackbox-exporter", [`--web.listen-address=${listen}`, `--config.file=${config}`]);
    const server = createServer((_request, answer) => {
      answer.statusCode = probed++ % 7 === 5 ? 503 : 200;
      answer.end("well\n");
    });
    let probed = 0;
    server.listen(0, "127.0.0.1").unref();
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const away = await freePort();
    return {
      url(round) {
        const target = round % 6 === 4 ? `127.0.0.1:${away}` : `127.0.0.1:${port}`;
        const module = round % 10 >= 8 ? "tcp" : "http";
        return `http://${listen}/probe?module=${module}&target=${target}`;
      },
    };
  },

  /** Batch jobs push, push again, and are forgotten. */
  pushgateway: async ({ start }) => {
    const listen = `127.0.0.1:${await freePort()}`;
    await start("prometheus-pushgateway", [`--web.listen-address=${listen}`]);
    const stir = async (round: number) => {
      const group = `http://${listen}/metrics/job/backup/instance/db${round % 4}`;
      if (round % 9 === 8) await fetch(group, { method: "DELETE" });
      else {
        const body = `# TYPE backup_bytes gauge\nbackup_bytes{volume="/srv/${round % 3}"} ${round * 1.5e9}
# TYPE backup_duration_seconds summary
backup_duration_seconds{quantile="0.5"} ${round ? 12.25 / round : "NaN"}
backup_duration_seconds_sum ${round * 3.1}
backup_duration_seconds_count ${round}\nbackup_errors ${round % 5 === 0 ? "+Inf" : -round}\n`;
        await fetch(group, { method: round % 2 ? "POST" : "PUT", body });
      }
    };
    return { url: () => `http://${listen}/metrics`, stir };
  },

  /** It scrapes itself, and a target that is not there. */
  prometheus: async ({ dir, start }) => {
    const listen = `127.0.0.1:${await freePort()}`;
    const config = join(dir, "prometheus.yml");
    const scrape = `{job_name: self, static_configs: [{targets: ["${listen}", "127.0.0.1:1"]}]}`;
    await writeFile(config, `global: {scrape_interval: 1s}\nscrape_configs: [${scrape}]\n`);
    const storage = `--storage.tsdb.path=${join(dir, "data")}`;
    await start("prometheus", [`--config.file=${config}`, storage, `--web.listen-address=${listen}`]);
    const stir = (round: number) => fetch(`http://${listen}/api/v1/query?query=rate(up[${round + 1}m])`);
    return { url: () => `http://${listen}/metrics`, stir };
  },

  etcd: async ({ dir, start }) => {
    const [client, peer] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
    await start("etcd", [
      ...["--name", "etcd", "--data-dir", join(dir, "etcd"), "--initial-cluster", `etcd=${peer}`],
      ...["--listen-client-urls", client, "--advertise-client-urls", client],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
    ]);
    const stir = async (round: number) => {
      const key = Buffer.from(`key-${round % 5}`).toString("base64");
      const value = Buffer.alloc(100 * round, "x").toString("base64");
      await fetch(`${client}/v3/kv/put`, { method: "POST", body: JSON.stringify({ key, value }) });
    };
    return { url: () => `${client}/metrics`, stir };
  },
};

const say = (sentence: string) => void process.stdout.write(`${sentence}\n`);
const asked = process.argv.slice(2);
for (const name of asked.length > 0 ? asked : Object.keys(plans)) {
  if (!plans[name]) throw new Error(`expected one of ${Object.keys(plans).join(", ")}, got ${name}`);
  await record(name, plans[name]);
}

async function record(name: string, plan: (typeof plans)[string]): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-record-"));
  const children: ChildProcess[] = [];
  try {
    const start = async (tool: ToolName, args: readonly string[]) => {
      const program = await findTool(tool, { onProgress: say });
      children.push(spawn(program, args, { stdio: "ignore", cwd: dir }));
    };
    const { stir, url } = await plan({ dir, start });
    await until(`${name} to answer`, startMsMax, async () => ((await fetch(url(0))).ok ? true : undefined));
    const bodies: string[] = [];
    let contentType = "";
    for (let round = 0; round < rounds; round++) {
      await stir?.(round);
      const answer = await fetch(url(round));
      contentType = answer.headers.get("content-type") ?? "";
      bodies.push(nameless(await answer.text(), dir));
      await new Promise((resolve) => setTimeout(resolve, roundMs));
    }
    const { bytes, file } = packRecording({ name, exporter: versionIn(bodies[0]!) || name, contentType, bodies });
    await writeFile(file, bytes);
    const lines = bodies.at(-1)!.split("\n").length;
    say(`${name}: ${rounds} bodies, ${lines} lines the last; ${bytes.length} bytes on disk.`);
  } finally {
    for (const child of children) {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }
    await rm(dir, { recursive: true, force: true });
  }
}

/** Without what is this machine's own: its name, its kernel's, and the hardware addresses of its network. */
function nameless(body: string, dir: string): string {
  return body
    .replaceAll(dir, "/var/lib/recorded")
    .replaceAll(`"${hostname()}"`, '"recorded"')
    .replaceAll(/\brelease="[^"]*"/g, 'release="6.1.0"')
    .replaceAll(/(?:[0-9a-f]{2}:){5}[0-9a-f]{2}/g, "02:00:00:00:00:01");
}

/** As its build information has it; empty when it has none. */
function versionIn(body: string): string {
  const [, name, labels] = /^(\w+)_build_info\{(.*)\} 1$/m.exec(body) ?? [];
  const version = /\bversion="([^"]*)"/.exec(labels ?? "")?.[1] ?? /^etcd_server_version\{.*"(.*)"\}/m.exec(body)?.[1];
  return [name ?? "", version ?? ""].join(" ").trim();
}
