// The demo as a person sees it: on a terminal one picture, drawn anew in its place; without one, a line now and then.

import type { DemoView, ProcessView } from "#/cli/demo/watch.ts";
import { MiB } from "#/lib/bytes/units.ts";
import type { DatacenterStatus } from "#/lib/model/status.ts";

/** Events that stay on the picture. */
const eventsShown = 4;
/** Without a terminal a line comes this often. */
export const lineEveryMs = 10_000;

export interface Screen {
  /** What stays to be read: addresses. */
  print(text: string): void;
  /** A sentence about what just happened. */
  tell(sentence: string): void;
  draw(view: DemoView): void;
  /** Leaves the picture where it is and gives the terminal back. */
  close(): void;
}

/** What a stream like `process.stdout` has of this. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): boolean;
}

export function createScreen(options: { readonly output: Output; readonly now: () => number }): Screen {
  return options.output.isTTY ? liveScreen(options) : plainScreen(options);
}

function liveScreen({ output, now }: { readonly output: Output; readonly now: () => number }): Screen {
  const events: string[] = [];
  let height = 0;
  let last: DemoView | undefined;

  function erase(): string {
    const up = height > 0 ? `\x1b[${height}A` : "";
    height = 0;
    return `\r${up}\x1b[J`;
  }

  function paint(): void {
    if (!last) return;
    const width = output.columns ?? 80;
    // A picture that is taller than the terminal could not be drawn in its place.
    const room = Math.max(4, (output.rows ?? 40) - 1);
    const whole = last.readyAfterMs === undefined ? [oneLine(last)] : [...picture(last, width), ...events];
    const lines = whole.slice(0, room).map((line) => clipped(line, width));
    output.write(`\x1b[?25l${erase()}${lines.join("\n")}\n`);
    height = lines.length;
  }

  const screen: Screen = {
    print(text) {
      output.write(`${erase()}${text}\n`);
      paint();
    },
    tell(sentence) {
      const line = `${clockTime(now())}  ${sentence}`;
      if (last?.readyAfterMs === undefined) return screen.print(line);
      events.push(line);
      events.splice(0, events.length - eventsShown);
      return paint();
    },
    draw(view) {
      last = view;
      paint();
    },
    close() {
      if (last) output.write("\x1b[?25h");
      height = 0;
      last = undefined;
    },
  };
  return screen;
}

function plainScreen({ output, now }: { readonly output: Output; readonly now: () => number }): Screen {
  let lastLineMs = now();
  const print = (text: string) => void output.write(`${text}\n`);
  return {
    print,
    tell: (sentence) => print(`${clockTime(now())}  ${sentence}`),
    draw(view) {
      if (now() - lastLineMs < lineEveryMs) return;
      lastLineMs = now();
      print(`${clockTime(now())}  ${oneLine(view)}`);
    },
    close() {},
  };
}

/** `ams live, 109/109 up, 2,180 samples/s, lag 0.4 s; nyc …; 16 processes, 812 MB, 21 % of a core` */
export function oneLine(view: DemoView): string {
  if (view.readyAfterMs === undefined) return `Waiting for ${view.waitingFor.join(", ")}`;
  const datacenters = (view.status?.datacenters ?? []).map((datacenter) => {
    const { name, state, samplesPerSecond, lagMs } = datacenter;
    const cut = view.cutOff.includes(name) ? " (cut)" : "";
    return `${name} ${state}${cut}, ${upOf(datacenter)} up, ${grouped(samplesPerSecond)} samples/s, lag ${lag(lagMs)}`;
  });
  return [...(datacenters.length > 0 ? datacenters : ["no global answers"]), totals(view)].join("; ");
}

/** The whole picture, at most `width` columns wide. */
export function picture(view: DemoView, width: number): string[] {
  const { status } = view;
  const head = status ? `leader ${status.leader || "unknown"}, as ${status.replica} tells` : "no global answers";
  return [
    "",
    `${bold("Data centres")}  (${head})`,
    ...aligned([
      ["", "region", "link", "state", "targets up", "down", "samples/s", "lag"],
      ...(status?.datacenters ?? []).map((datacenter) => datacenterCells(datacenter, view.cutOff)),
    ]),
    "",
    `${bold("Processes")}  (${totals(view)})`,
    ...inColumns(view.processes.map(processCell), width),
    "",
    "c cut a link   k kill a secondary   d drain one   g kill the leading global   h heal   q end",
  ];
}

function datacenterCells(datacenter: DatacenterStatus, cutOff: readonly string[]): string[] {
  const { name, region, state, down, samplesPerSecond, lagMs } = datacenter;
  return [
    `  ${name}`,
    region,
    cutOff.includes(name) ? "CUT" : "open",
    state,
    upOf(datacenter),
    isHeard(datacenter) ? String(down) : "?",
    grouped(samplesPerSecond),
    lag(lagMs),
  ];
}

/** What was last heard of a data centre that is dark says nothing about its servers now. */
function upOf(datacenter: DatacenterStatus): string {
  return `${isHeard(datacenter) ? datacenter.up : "?"}/${datacenter.targets}`;
}

function isHeard({ state }: DatacenterStatus): boolean {
  return state === "live" || state === "delayed";
}

function processCell({ name, pid, state, starts, memoryBytes }: ProcessView): string {
  const again = starts > 1 ? ` ×${starts}` : "";
  const how = pid === undefined ? (state === "held" ? "DOWN" : "down") : `${(memoryBytes / MiB).toFixed(0)} MB`;
  return `  ${name} ${how}${again}`;
}

/** Of all processes and of the supervisor itself. */
function totals({ processes, own }: DemoView): string {
  const running = processes.filter(({ pid }) => pid !== undefined);
  const memoryBytes = running.reduce((sum, process) => sum + process.memoryBytes, own.memoryBytes);
  const cpuShare = running.reduce((sum, process) => sum + process.cpuShare, own.cpuShare);
  const count = `${running.length} of ${processes.length} processes`;
  return `${count}, ${(memoryBytes / MiB).toFixed(0)} MB, ${(cpuShare * 100).toFixed(0)} % of a core`;
}

function lag(lagMs: number | null): string {
  return lagMs === null ? "unknown" : `${(lagMs / 1000).toFixed(1)} s`;
}

function grouped(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** Numbers under the end of their head, words under its beginning. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < 4 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  ")
      .trimEnd(),
  );
}

function inColumns(cells: readonly string[], width: number): string[] {
  const cellWidth = Math.max(...cells.map((cell) => cell.length)) + 2;
  const columns = Math.max(1, Math.floor(width / cellWidth));
  const lines: string[] = [];
  for (let i = 0; i < cells.length; i += columns) {
    const line = cells.slice(i, i + columns).map((cell) => cell.padEnd(cellWidth));
    lines.push(line.join("").trimEnd());
  }
  return lines;
}

function bold(text: string): string {
  return `\x1b[1m${text}\x1b[0m`;
}

/** A line that wrapped would push the picture down with each drawing. */
function clipped(line: string, width: number): string {
  const styled = line.startsWith("\x1b[1m");
  const text = styled ? line.replace("\x1b[1m", "").replace("\x1b[0m", "") : line;
  if (text.length <= width) return line;
  return `${text.slice(0, width - 1)}…`;
}

function clockTime(nowMs: number): string {
  return new Date(nowMs).toTimeString().slice(0, 8);
}
