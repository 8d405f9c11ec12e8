// The processes of a benchmark: each logs to a file, none outlives the benchmark, and what each costs is read from /proc. Where that
// is allowed (as root) they go before other work on the machine, all of them alike.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setprivPath } from "#/cli/demo/child.ts";
import { cleanEnv } from "#/test/support/command.ts";

export interface Member {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Undefined while it runs, else how it ended. */
  ended(): string | undefined;
  /** The next message that it sends over its channel. */
  message<T>(word?: string): Promise<T>;
  /** Asks it to end, and ends it when it does not within some seconds. May be called twice. */
  end(): Promise<void>;
}

export interface Crew {
  readonly dir: string;
  start(
    name: string,
    program: string,
    args: readonly string[],
    options?: { readonly env?: Readonly<Record<string, string>>; readonly ipc?: boolean },
  ): Member;
  /** Ends all, the last one first. */
  close(): Promise<void>;
}

const endMsMax = 12_000;
const messageMsMax = 60_000;

export function openCrew(dir: string): Crew {
  const members: Member[] = [];
  return {
    dir,
    start(name, program, args, { env = {}, ipc = false } = {}) {
      const member = startMember(join(dir, `${name}.log`), name, program, args, env, ipc);
      members.push(member);
      return member;
    },
    async close() {
      for (const member of members.splice(0).reverse()) await member.end();
    },
  };
}

function startMember(
  logFile: string,
  name: string,
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  ipc: boolean,
): Member {
  const log = openSync(logFile, "a");
  // Should the benchmark be killed, the kernel ends what it started (util-linux' setpriv execs the program).
  const guarded = existsSync(setprivPath) ? [setprivPath, "--pdeathsig", "KILL", "--"] : [];
  const [first, ...others] = [...guarded, "nice", "-n", `${niceness}`, program, ...args];
  const child: ChildProcess = spawn(first!, others, {
    stdio: ["ignore", log, log, ...(ipc ? (["ipc"] as const) : [])],
    env: { ...cleanEnv(), ...env },
    serialization: "advanced",
    // A session of its own: Linux shares the processors out among sessions first (sched(7), autogroup).
    detached: true,
  });
  putFirst(child.pid);
  let ended: string | undefined;
  const gone = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      ended = error.message;
      resolve();
    });
    child.once("exit", (code, signal) => {
      ended = signal ? `ended by ${signal}` : `ended with code ${code}`;
      resolve();
    });
  });
  return {
    name,
    pid: child.pid ?? 0,
    logFile,
    ended: () => ended,
    async message<T>(word?: string): Promise<T> {
      const { promise, reject, resolve } = Promise.withResolvers<T>();
      const failed = () => reject(new Error(`${name} ${ended ?? "said nothing"}: ${tailOf(logFile)}`));
      const timer = setTimeout(failed, messageMsMax);
      child.once("message", (message) => resolve(message as T));
      child.once("exit", failed);
      if (word !== undefined) child.send(word);
      try {
        return await promise;
      } finally {
        clearTimeout(timer);
        child.off("exit", failed);
      }
    },
    async end() {
      if (ended !== undefined) return;
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), endMsMax);
      await gone;
      clearTimeout(timer);
    },
  };
}

const niceness = -10;

/** The session before other sessions, beside the process before others in its session. Needs root, and is done without. */
function putFirst(pid: number | undefined): void {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, `${niceness}`);
  } catch {
    // Not allowed, or this kernel has no such groups: then what is measured competes with other work.
  }
}

/** The last lines of a log, for an error. */
export function tailOf(logFile: string): string {
  return readFileSync(logFile, "utf8").trim().split("\n").slice(-5).join("\n");
}

export interface ProcessCost {
  /** User and system time of all threads since the start, also of those that ended. */
  readonly cpuUs: number;
  readonly systemUs: number;
  /** Of the main thread. */
  readonly mainUs: number;
  /** Of each thread, by its id. */
  readonly threadsUs: ReadonlyMap<number, number>;
  readonly residentBytes: number;
  /** The most that it ever had. */
  readonly residentBytesMax: number;
  readonly threads: number;
}

/** Linux counts in hundredths of a second there (proc(5), USER_HZ). */
const tickUs = 10_000;

export function costOf(pid: number): ProcessCost {
  const all = timesOf(`/proc/${pid}/stat`);
  const main = timesOf(`/proc/${pid}/task/${pid}/stat`);
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const number = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? Number.NaN);
  const threads = readdirSync(`/proc/${pid}/task`).flatMap((id) => {
    try {
      const { systemUs, userUs } = timesOf(`/proc/${pid}/task/${id}/stat`);
      return [[Number(id), userUs + systemUs] as const];
    } catch {
      // It has ended since.
      return [];
    }
  });
  return {
    cpuUs: all.userUs + all.systemUs,
    systemUs: all.systemUs,
    mainUs: main.userUs + main.systemUs,
    threadsUs: new Map(threads),
    residentBytes: number("VmRSS") * 1024,
    residentBytesMax: number("VmHWM") * 1024,
    threads: number("Threads"),
  };
}

function timesOf(file: string): { readonly userUs: number; readonly systemUs: number } {
  const stat = readFileSync(file, "latin1");
  // Fields 14 and 15, counted from behind the name, which may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { userUs: Number(fields[11]) * tickUs, systemUs: Number(fields[12]) * tickUs };
}
