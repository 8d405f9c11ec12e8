// The processes of an end-to-end test: started into one directory, each with its own log, and ended with the test.
//
// A test that passes leaves nothing. One that fails leaves the directory, and says where the log of every process is.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { cleanEnv } from "#/test/support/command.ts";

export interface Program {
  readonly name: string;
  readonly process: ChildProcess;
  /** The exit code, or the signal. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  /** Everything that it has said. */
  log(): Promise<string>;
}

export interface World {
  readonly dir: string;
  /** `name` is that of its log, and may be used again after the process of that name has ended. */
  start(
    name: string,
    program: string,
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<Program>;
}

/** Ended by the teardown of the test. */
export async function openWorld(t: Pick<Test, "comment" | "passing" | "teardown">): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-e2e-"));
  const logs = join(dir, "logs");
  await mkdir(logs);
  const running = new Set<Program>();
  t.teardown(async () => {
    for (const { process } of running) process.kill("SIGKILL");
    await Promise.all([...running].map(({ ended }) => ended));
    if (t.passing()) await rm(dir, { recursive: true, force: true, maxRetries: 3 });
    else t.comment(`What every process said stays in ${logs}, its files in ${dir}.`);
  });
  return {
    dir,
    async start(name, program, args, env = {}) {
      const file = join(logs, `${name}.log`);
      const log = await open(file, "a");
      const child = spawn(program, args, {
        cwd: "/",
        env: { ...cleanEnv(), ...env },
        stdio: ["ignore", log.fd, log.fd],
      });
      await log.close();
      const ended = new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
        child.once("error", reject);
        child.once("exit", (code, signal) => resolve(signal ?? code));
      });
      const started: Program = { name, process: child, ended, log: () => readFile(file, "utf8") };
      running.add(started);
      void ended.finally(() => running.delete(started)).catch(() => {});
      return started;
    },
  };
}

/** Looks again and again until there is an answer; an error is none yet. Throws after that long. */
export async function until<T>(what: string, msMax: number, look: () => Promise<T | undefined>): Promise<T> {
  const endMs = performance.now() + msMax;
  for (;;) {
    const seen = await look().catch(() => undefined);
    if (seen !== undefined) return seen;
    if (performance.now() > endMs) throw new Error(`not within ${msMax / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
