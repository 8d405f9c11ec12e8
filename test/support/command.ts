// Runs bin/heliograph as a user would, and tells what it said and how it ended.

import { spawn } from "node:child_process";
import { join } from "node:path";

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export const projectRoot = join(import.meta.dirname, "..", "..");
export const launcher = join(projectRoot, "bin", "heliograph");

export function heliograph(
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly program?: string; readonly cwd?: string } = {},
): Promise<Ended> {
  const { env = {}, program = launcher, cwd = projectRoot } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], {
      cwd,
      env: { ...cleanEnv(), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (text) => {
      stdout += text;
    });
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** Without what tap sets for its own children, which would reach ours. */
export function cleanEnv(): Record<string, string | undefined> {
  const { NODE_OPTIONS: _options, HELIOGRAPH_SERVER: _server, ...env } = process.env;
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("TAP")));
}
