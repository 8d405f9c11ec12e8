// Debian's Prometheus, the one that results are held against.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "#/test/support/port.ts";
import { toolOrReason } from "#/test/support/tool.ts";

export const prometheus = await toolOrReason("prometheus");

/** What is kept of its log, for an error. */
const saidLengthMax = 4000;

export interface RunningPrometheus {
  readonly url: string;
  /** The end of its log. */
  said(): string;
  /** Its data is gone then. */
  close(): Promise<void>;
}

/** It may not listen yet. `config` is the text of its prometheus.yml, which is written to `dir`, beside its data. */
export async function startPrometheus(dir: string, config: string, program: string): Promise<RunningPrometheus> {
  const file = join(dir, "prometheus.yml");
  const data = join(dir, "prometheus");
  await writeFile(file, config);
  const address = `127.0.0.1:${await freePort()}`;
  const args = [`--config.file=${file}`, `--storage.tsdb.path=${data}`, `--web.listen-address=${address}`];
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => {
    said = `${said}${text}`.slice(-saidLengthMax);
  });
  const ended = once(child, "exit");
  return {
    url: `http://${address}`,
    said: () => said,
    async close() {
      child.kill("SIGKILL");
      await ended;
      await rm(data, { recursive: true, force: true });
    },
  };
}
