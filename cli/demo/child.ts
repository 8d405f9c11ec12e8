// One supervised process: started, logged to a file, started again after a crash with growing pauses, and surely ended.
//
// It leads a process group of its own, so that Ctrl-C reaches the supervisor alone and the order of ending is ours. Should the
// supervisor itself be killed, the kernel kills the child (PR_SET_PDEATHSIG, set by util-linux' setpriv).

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Clock, Timer } from "#/lib/clock/clock.ts";

/** Of util-linux, which every Debian has. */
export const setprivPath = "/usr/bin/setpriv";

export interface ChildCommand {
  readonly program: string;
  readonly args: readonly string[];
}

export interface ChildOptions {
  readonly name: string;
  readonly command: ChildCommand;
  /** Standard output and error are appended there. */
  readonly logFile: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Path of setpriv, when there is one. */
  readonly setpriv: string | undefined;
  readonly clock: Clock;
  /** Told what a person would want to know, in sentences. */
  readonly onEvent: (sentence: string) => void;
}

/** First pause before a restart; it doubles up to the last. */
const backoffMsMin = 200;
const backoffMsMax = 5000;
/** A process that ran this long was well: the next pause is the first one again. */
const wellAfterMs = 10_000;

export type ChildState = "running" | "waiting" | "held" | "ended";

export class Child {
  readonly name: string;
  readonly #options: ChildOptions;
  #process: ChildProcess | undefined;
  #state: ChildState = "ended";
  #starts = 0;
  #startedMs = 0;
  #backoffMs = backoffMsMin;
  #restart: Timer | undefined;
  #holding = false;
  #ending = false;
  #whenGone: (() => void)[] = [];

  constructor(options: ChildOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get state(): ChildState {
    return this.#state;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#state === "running" ? this.#process?.pid : undefined;
  }

  get starts(): number {
    return this.#starts;
  }

  start(): void {
    if (this.#state === "running" || this.#ending) return;
    this.#restart?.cancel();
    const { command, logFile, env, setpriv, clock } = this.#options;
    const withDeathSignal = setpriv ? ["--pdeathsig", "KILL", "--", command.program] : [];
    const log = openSync(logFile, "a", 0o600);
    const child = spawn(setpriv ?? command.program, [...withDeathSignal, ...command.args], {
      stdio: ["ignore", log, log],
      env: { ...env },
      detached: true,
    });
    closeSync(log);
    this.#process = child;
    this.#state = "running";
    this.#starts += 1;
    this.#startedMs = clock.monotonicMs();
    child.once("error", (error) => this.#gone(`could not be started (${error.message})`));
    child.once("exit", (code, signal) => this.#gone(signal ? `was ended by ${signal}` : `ended with code ${code}`));
  }

  /** Ends it like a crash; it is started again. False when it does not run. */
  crash(): boolean {
    return this.#signal("SIGKILL");
  }

  /** Stops it where it stands; everything stays open and silent. False when it does not run. */
  pause(): boolean {
    return this.#signal("SIGSTOP");
  }

  /** Lets a paused process go on. */
  resume(): boolean {
    return this.#signal("SIGCONT");
  }

  /** Ends it like a crash, and keeps it down until `start`. */
  hold(): void {
    this.#restart?.cancel();
    this.#holding = true;
    if (!this.#signal("SIGKILL")) this.#state = "held";
  }

  /** Lets a held process run again. */
  release(): void {
    this.#holding = false;
    if (this.#state === "held") this.start();
  }

  /** Asks it to end, and ends it when it does not within the grace. It is not started again. */
  async end(graceMs: number): Promise<void> {
    this.#ending = true;
    this.#restart?.cancel();
    if (this.#state !== "running") {
      this.#state = "ended";
      return;
    }
    const gone = new Promise<void>((resolve) => this.#whenGone.push(resolve));
    this.#signal("SIGTERM");
    this.#signal("SIGCONT");
    const timer = this.#options.clock.after(graceMs, () => this.#signal("SIGKILL"));
    await gone;
    timer.cancel();
  }

  /** To the whole group, in case it has children of its own. */
  #signal(signal: NodeJS.Signals): boolean {
    const pid = this.pid;
    if (pid === undefined) return false;
    try {
      process.kill(-pid, signal);
      return true;
    } catch (error) {
      // It ended in this moment: its exit event is on the way.
      if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
      throw error;
    }
  }

  #gone(how: string): void {
    if (this.#state !== "running") return;
    const { clock, logFile, name, onEvent } = this.#options;
    this.#state = "ended";
    for (const resolve of this.#whenGone.splice(0)) resolve();
    if (this.#ending) return;
    if (this.#holding) {
      this.#state = "held";
      onEvent(`${name} ${how} and stays down.`);
      return;
    }
    if (clock.monotonicMs() - this.#startedMs >= wellAfterMs) this.#backoffMs = backoffMsMin;
    const where = how.startsWith("ended with code") ? ` (see ${logFile})` : "";
    onEvent(`${name} ${how}${where}; it starts again in ${this.#backoffMs / 1000} s.`);
    this.#state = "waiting";
    this.#restart = clock.after(this.#backoffMs, () => this.start());
    this.#backoffMs = Math.min(this.#backoffMs * 2, backoffMsMax);
  }
}
