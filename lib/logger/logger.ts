// Logs are sentences with fields, one JSON object a line on standard output.
//
// Levels mean: info, an action finished; warn, odd but nothing is lost; error, data is lost or a person must act.
// Under systemd each line is prefixed with its priority, so that `journalctl -p warning` works.

import { pino } from "pino";

type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(fields: LogFields, sentence: string): void;
  info(fields: LogFields, sentence: string): void;
  warn(fields: LogFields, sentence: string): void;
  error(fields: LogFields, sentence: string): void;
  child(fields: LogFields): Logger;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

/** syslog priorities (sd-daemon(3)) of pino's numeric levels. */
const priorityOfLevel: Readonly<Record<number, string>> = { 20: "<7>", 30: "<6>", 40: "<4>", 50: "<3>", 60: "<2>" };

/** Writes synchronously to file descriptor 1, so that the last line before a crash is there. */
export function createLogger(options: {
  readonly fields: LogFields;
  readonly level: LogLevel;
  /** Set when standard output goes to the journal (systemd's `JOURNAL_STREAM`). */
  readonly journal: boolean;
}): Logger {
  const sink = pino.destination({ fd: 1, sync: true });
  const settings = { level: options.level, base: options.fields, timestamp: pino.stdTimeFunctions.isoTime };
  if (!options.journal) return pino(settings, sink);
  return pino(settings, {
    write(line: string) {
      const level = Number(/"level":(\d+)/.exec(line)?.[1] ?? 30);
      sink.write((priorityOfLevel[level] ?? "<6>") + line);
    },
  });
}

/** Says nothing: for tests and for tools whose output is for people. */
export function silentLogger(): Logger {
  const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
  return silent;
}
