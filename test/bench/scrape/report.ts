// What came out, for people and for programs.

import type { Measurement } from "#/test/bench/scrape/measure.ts";
import { type Scenario, wireBytesFirm, wireBytesReach } from "#/test/bench/scrape/scenario.ts";

export interface ScenarioReport {
  readonly scenario: Scenario;
  readonly targets: number;
  readonly series: number;
  readonly seriesKept: number;
  readonly bodyBytes: number;
  /** Share of the values that change from one body to the next. */
  readonly changing: number;
  readonly measurements: readonly Measurement[];
  /** Contenders that could not be measured, and why. */
  readonly failed: Readonly<Record<string, string>>;
}

export function tableOf(report: ScenarioReport): string {
  const { measurements, scenario } = report;
  const rows: (readonly string[])[] = [
    ["", ...measurements.map(({ contender }) => contender)],
    row("CPU, % of a core", (m) => (100 * m.cpuShare).toFixed(2)),
    row(
      "  kernel's part, %; other threads' part, %",
      (m) => `${(100 * m.systemShare).toFixed(0)}; ${(100 * m.otherThreadsShare).toFixed(0)}`,
    ),
    row("CPU µs a scrape", (m) => m.cpuUsPerScrape.toFixed(1)),
    row("CPU µs a sample", (m) => m.cpuUsPerSample.toFixed(3)),
    row("memory at the end, MB", (m) => (m.residentBytes / 1e6).toFixed(0)),
    row("memory at most, MB", (m) => (m.residentBytesMax / 1e6).toFixed(0)),
    row("wire bytes a sample", (m) => m.wireBytesPerSample.toFixed(3)),
    row("  of them compressed samples", (m) => m.wirePayloadBytesPerSample.toFixed(3)),
    row("  and the answers to them", (m) => m.wireBytesBackPerSample.toFixed(4)),
    row("scrapes in the window", (m) => String(m.scrapes)),
    row("later than 250 ms, as the target saw it", (m) => String(m.scrapesLate)),
    row("  by its own count", (m) => m.scrapesLateOwn?.toString() ?? ""),
    row("lateness, ms: median, most", (m) => `${m.latenessMsMedian.toFixed(1)}, ${m.latenessMsMax.toFixed(0)}`),
    row("never came", (m) => String(m.scrapesMissing)),
    row("failed", (m) => `${m.scrapesFailed}${whyOf(m.failures)}`),
    row("load average; targets' CPU, %", (m) => `${m.load.toFixed(1)}; ${(100 * m.targetsCpuShare).toFixed(1)}`),
  ];
  function row(name: string, of: (measurement: Measurement) => string): string[] {
    return [name, ...measurements.map(of)];
  }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  const lines = rows.map((cells) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "),
  );
  const what = `${scenario.name}: ${report.targets} targets × ${report.series} series (${report.seriesKept} after the rules; ${report.bodyBytes} bytes, ${(100 * report.changing).toFixed(0)} % of the values change) every ${scenario.intervalMs / 1000} s`;
  const failed = Object.entries(report.failed).map(([name, why]) => `${name} could not be measured: ${why}`);
  return [what, ...lines, ...failed, ...verdictsOf(report)].join("\n");
}

/** The commonest reasons, shortened. */
function whyOf(failures: Readonly<Record<string, number>>): string {
  const reasons = Object.entries(failures).sort(([, a], [, b]) => b - a);
  const shown = reasons
    .slice(0, reasonsShown)
    .map(([why, count]) => ` ${why.slice(0, reasonCharactersShown)} ${count}`);
  return shown.join() + (reasons.length > reasonsShown ? " …" : "");
}

const reasonsShown = 2;
const reasonCharactersShown = 40;

/** Ours against vmagent, and against what is promised. */
export function verdictsOf({ measurements, scenario }: ScenarioReport): readonly string[] {
  const ours = measurements.find(({ contender }) => contender === "heliograph");
  const theirs = measurements.find(({ contender }) => contender === "vmagent");
  if (!ours) return [];
  const verdicts = [
    `wire bytes a sample: ${ours.wireBytesPerSample.toFixed(3)} (firm ${wireBytesFirm}, reach ${wireBytesReach}) ${verdict(ours.wireBytesPerSample, wireBytesFirm, wireBytesReach)}`,
  ];
  if (!theirs) return verdicts;
  const ratio = (
    name: string,
    share: number,
    wanted: { readonly firm: number; readonly reach: number } | undefined,
  ) => {
    const inverse = (value: number) => (value < 0.6 ? `1/${(1 / value).toFixed(1)}` : value.toFixed(2));
    const text = `${name} against vmagent: ${inverse(share)}`;
    if (!wanted) return text;
    return `${text} (firm ${inverse(wanted.firm)}, reach ${inverse(wanted.reach)}) ${verdict(share, wanted.firm, wanted.reach)}`;
  };
  return [
    ratio("CPU", ours.cpuUsPerScrape / theirs.cpuUsPerScrape, scenario.cpu),
    ratio("memory", ours.residentBytes / theirs.residentBytes, scenario.memory),
    ...verdicts,
  ];
}

function verdict(value: number, firm: number, reach: number): string {
  if (value <= reach) return "reached";
  return value <= firm ? "met" : "MISSED";
}
