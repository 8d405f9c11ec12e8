// What every long-running process of ours does around its tier: reads its arguments, logs, tells systemd, ends in order.
//
// A signal closes the service once; a second signal, or a close that hangs, ends the process at once: what is on disk is
// enough to go on from, because kill -9 must be survived anyway.

import { parseArgs } from "node:util";
import { type Clock, systemClock } from "#/lib/clock/clock.ts";
import { createLogger, type Logger, type LogLevel } from "#/lib/logger/logger.ts";
import { type Random, systemRandom } from "#/lib/random/random.ts";
import { createNotifier, runCommand } from "#/lib/supervision/notify.ts";

/** How long a service may take to close in order before the process ends all the same. */
const closeMsMax = 10_000;

/** How often readiness is looked at until it is there, and the status line after that. */
const readyLookMs = 100;
const statusMs = 10_000;

const logLevels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

export interface ProcessContext {
  /** Path of the topology file. */
  readonly topologyFile: string;
  readonly name: string;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** When the process started, wall clock. */
  readonly startedMs: number;
}

export interface Service {
  /** Undefined while fine, else the reason. Not healthy means: restart it. */
  healthy(): string | undefined;
  /** Undefined once it can do its work, else what it waits for. */
  ready(): string | undefined;
  /**
   * Reads the topology file again and goes on by it, as far as that needs no restart; never rejects, and logs what came of it.
   * Absent where everything needs one.
   */
  reload?(): Promise<void>;
  /** Gives up what it holds, writes what it has. */
  close(): Promise<void>;
}

/** The problem is the caller's, with its own exit code: a wrong topology file, say. */
export class StartRefused extends Error {
  override readonly name = "StartRefused";
  readonly code: "bad_topology" | "unknown_name" | "bad_data_directory";

  constructor(code: StartRefused["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const exitCodes = { bad_topology: 3, unknown_name: 3, bad_data_directory: 1 } as const;

/** Runs until a signal or a failure. The exit code: 0 ended in order, 1 failed, 2 wrong arguments, 3 wrong topology. */
export async function runService(options: {
  readonly tier: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly start: (context: ProcessContext) => Promise<Service>;
}): Promise<number> {
  const parsed = readArguments(options.tier, options.argv);
  if (typeof parsed === "string") {
    process.stderr.write(`heliograph ${options.tier}: ${parsed}\n`);
    return 2;
  }
  const clock = systemClock();
  const startedMs = clock.nowMs();
  const journal = options.env.JOURNAL_STREAM !== undefined;
  const log = createLogger({ fields: { tier: options.tier, name: parsed.name }, level: parsed.logLevel, journal });
  const ended = new Promise<number>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => resolve(0));
    process.on("uncaughtException", (error) => {
      log.error({ err: error }, "A bug ends this process; its supervisor should start it again.");
      resolve(1);
    });
    process.on("unhandledRejection", (error) => {
      log.error({ err: error }, "A bug ends this process; its supervisor should start it again.");
      resolve(1);
    });
  });

  let service: Service | undefined;
  // As daemons do: the file was changed. What has no terminal is never told by it that the terminal is gone.
  process.on("SIGHUP", () => {
    if (service?.reload) void service.reload();
    else log.warn({}, "SIGHUP: this process takes a changed topology file at its next start.");
  });
  const notifier = createNotifier({
    env: options.env,
    run: runCommand,
    clock,
    log,
    healthy: () => service?.healthy(),
  });
  const starting = options
    .start({
      topologyFile: parsed.topology,
      name: parsed.name,
      dataDir: parsed.data,
      clock,
      random: systemRandom(),
      log,
      startedMs,
    })
    .then((started) => {
      service = started;
    });
  const failed = await Promise.race([starting.then(() => undefined), ended.then(() => undefined)]).catch(
    (error: unknown) => error,
  );
  if (failed !== undefined) return sayRefused(options.tier, failed, log);

  let wasReady = false;
  const look = clock.every(readyLookMs, () => {
    if (wasReady || !service || service.ready() !== undefined) return;
    wasReady = true;
    look.cancel();
    log.info({ afterMs: Math.round(clock.nowMs() - startedMs) }, "Ready.");
    notifier.ready("Ready.");
  });
  const status = clock.every(statusMs, () => notifier.status(service?.ready() ?? "Ready."));
  const code = await ended;
  look.cancel();
  status.cancel();
  log.info({}, "Ending.");
  await notifier.stopping();
  const closed = await Promise.race([
    (service?.close() ?? Promise.resolve()).then(
      () => true,
      (error: unknown) => {
        log.error({ err: error }, "The process did not end in order.");
        return false;
      },
    ),
    clock.sleep(closeMsMax).then(() => false),
  ]);
  if (!closed) log.warn({ closeMsMax }, "Not everything was closed in time; what is on disk is enough to go on from.");
  return closed ? code : Math.max(code, 1);
}

function sayRefused(tier: string, error: unknown, log: Logger): number {
  if (error instanceof StartRefused) {
    process.stderr.write(`heliograph ${tier}: ${error.message}\n`);
    return exitCodes[error.code];
  }
  log.error({ err: error }, "The process could not start.");
  process.stderr.write(`heliograph ${tier}: ${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
}

interface Arguments {
  readonly topology: string;
  readonly name: string;
  readonly data: string;
  readonly logLevel: LogLevel;
}

/** The arguments, or what is wrong with them. */
function readArguments(tier: string, argv: readonly string[]): Arguments | string {
  let values: Readonly<Record<string, string | boolean | undefined>>;
  try {
    values = parseArgs({
      args: [...argv],
      options: {
        topology: { type: "string" },
        name: { type: "string" },
        data: { type: "string" },
        "log-level": { type: "string", default: "info" },
      },
    }).values;
  } catch (error) {
    return (error as Error).message;
  }
  for (const name of ["topology", "name", "data"]) {
    if (!values[name]) return `--${name} is missing; see "heliograph ${tier} --help"`;
  }
  const logLevel = values["log-level"] as LogLevel;
  if (!logLevels.includes(logLevel)) return `--log-level: expected ${logLevels.join(", ")}, got ${logLevel}`;
  return { topology: values.topology as string, name: values.name as string, data: values.data as string, logLevel };
}
