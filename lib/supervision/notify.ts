// Telling systemd that the process is ready, how it does, and that it still lives (sd_notify(3)).
//
// The protocol is a datagram on an abstract or named unix socket, which Node cannot send without a native module. So each
// message is one run of `systemd-notify`, which every host with systemd has; at a few messages a minute the fork costs nothing
// that counts (docs/decisions/0003). The unit needs NotifyAccess=all, because the sender is a child. Watchdog messages go out
// only while the process calls itself healthy: systemd restarts what is stuck, and also what knows that it is broken.

import { execFile } from "node:child_process";
import type { Clock, Timer } from "#/lib/clock/clock.ts";
import type { Logger } from "#/lib/logger/logger.ts";

/** Runs a command to its end; rejects when it cannot be run, fails or takes too long. */
export type RunCommand = (
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
) => Promise<void>;

export interface Notifier {
  /** READY=1, and the first status line. Watchdog messages start here. */
  ready(status: string): void;
  /** The line that `systemctl status` shows. */
  status(text: string): void;
  /** STOPPING=1; no watchdog messages after it, and nothing after it but the end. Resolves when systemd was told. */
  stopping(): Promise<void>;
}

/** `systemd-notify` waits until systemd has read the message, 5 s at most; a second more is a hang. */
const commandMsMax = 6000;

/** Messages wait for the one before, so that READY and STATUS keep their order; more than this many means systemd is stuck. */
const pendingMax = 8;

export interface NotifierOptions {
  /** systemd's NOTIFY_SOCKET and WATCHDOG_USEC are read from it, and PATH is passed on. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly run: RunCommand;
  readonly clock: Clock;
  readonly log: Logger;
  /** Undefined while all is well, else why not: then the watchdog is not fed. */
  readonly healthy: () => string | undefined;
}

/** Without NOTIFY_SOCKET in the environment, every method of the result does nothing. */
export function createNotifier({ env, run, clock, log, healthy }: NotifierOptions): Notifier {
  const socket = env.NOTIFY_SOCKET;
  if (!socket) return { ready() {}, status() {}, stopping: async () => {} };

  const commandEnv = { NOTIFY_SOCKET: socket, PATH: env.PATH ?? "/usr/bin:/bin" };
  let tail = Promise.resolve();
  let pending = 0;
  let stopped = false;
  let failing = false;
  let watchdog: Timer | undefined;

  function send(args: readonly string[], must = false): Promise<void> {
    if (pending >= pendingMax && !must) return tail;
    pending++;
    tail = tail
      .then(() => run("systemd-notify", args, commandEnv))
      .then(
        () => {
          failing = false;
        },
        (error: unknown) => {
          if (!failing) log.warn({ err: error, args }, "systemd could not be told how this process does.");
          failing = true;
        },
      )
      .finally(() => {
        pending--;
      });
    return tail;
  }

  let wasHealthy = true;
  function feedWatchdog() {
    const reason = healthy();
    if (reason === undefined) void send(["WATCHDOG=1"]);
    else if (wasHealthy) log.error({ reason }, "The watchdog is not fed: systemd will restart this process.");
    wasHealthy = reason === undefined;
  }

  return {
    ready(status) {
      if (stopped) return;
      void send(["--ready", `--status=${oneLine(status)}`]);
      const periodMs = watchdogPeriodMs(env.WATCHDOG_USEC);
      if (periodMs > 0) watchdog ??= clock.every(periodMs, feedWatchdog);
    },
    status(text) {
      if (!stopped) void send([`--status=${oneLine(text)}`]);
    },
    stopping() {
      if (stopped) return tail;
      stopped = true;
      watchdog?.cancel();
      return send(["STOPPING=1"], true);
    },
  };
}

/**
 * A third of what systemd allows, so that one message may be late or lost; 0 when there is no watchdog. WATCHDOG_PID is not
 * looked at: this process' children are not given the socket unless they are systemd-notify.
 */
function watchdogPeriodMs(watchdogUsec: string | undefined): number {
  const allowedMs = Number(watchdogUsec ?? 0) / 1000;
  return Number.isFinite(allowedMs) ? Math.floor(allowedMs / 3) : 0;
}

/** A newline would begin another assignment of the protocol. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/** The real thing, for `main.ts`. */
export const runCommand: RunCommand = (command, args, env) =>
  new Promise((resolve, reject) => {
    execFile(command, args, { env: { ...env }, timeout: commandMsMax }, (error) => (error ? reject(error) : resolve()));
  });
