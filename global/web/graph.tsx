// The graph: uPlot with this page's colours. A gap in a line is a gap in what is known, so it is never bridged, and a sample
// that stands alone between two gaps is drawn as a dot.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { formatHour, formatShort } from "#/global/web/format.ts";
import { type Answer, ranges, type Series } from "#/global/web/query.ts";

/** `--series-0` and so on in style.css. */
export const seriesColours = 10;

interface GraphProps {
  readonly answer: Answer;
  /** With values, in the order of their colours. */
  readonly series: readonly Series[];
  /** The key of the one to draw; undefined for all. */
  readonly alone: string | undefined;
  readonly onPoint: (step: number | undefined) => void;
}

export function Graph({ answer, series, alone, onPoint }: GraphProps) {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const chosen = series.some(({ key }) => key === alone) ? alone : undefined;
  const columns = [
    answer.timesS as number[],
    ...series.map(({ values }) => values as (number | null)[]),
  ] as uPlot.AlignedData;
  // A new plot is needed only when other series are drawn; a refresh hands the same plot new columns.
  const shape = JSON.stringify([series.map(({ key }) => key), chosen ?? null]);
  const latest = useRef(columns);
  latest.current = columns;

  useEffect(() => {
    const element = frame.current!;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(element, series, chosen, onPoint), latest.current, element);
    };
    const resized = new ResizeObserver(() => plot.current?.setSize(sizeOf(element)));
    draw();
    resized.observe(element);
    dark.addEventListener("change", draw);
    return () => {
      dark.removeEventListener("change", draw);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [shape]);

  useEffect(() => {
    plot.current?.setData(columns);
  }, [answer]);

  const words = ranges.find(({ name }) => name === answer.range)?.words;
  return (
    <div
      ref={frame}
      class="graph"
      role="img"
      aria-label={`${series.length} series of ${answer.expr} over the last ${words}; the table beside it has their values.`}
    />
  );
}

function sizeOf(element: HTMLElement) {
  return { width: Math.max(200, element.clientWidth), height: Math.max(160, element.clientHeight) };
}

function optionsOf(
  element: HTMLElement,
  series: readonly Series[],
  chosen: string | undefined,
  onPoint: GraphProps["onPoint"],
): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const font = `11px ${style.fontFamily}`;
  const axis = {
    stroke: colour("--axis"),
    font,
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { stroke: colour("--grid"), width: 1, size: 4 },
  };
  return {
    ...sizeOf(element),
    legend: { show: false },
    padding: [10, 22, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { x: { time: true }, y: { range: rangeOf } },
    axes: [
      {
        ...axis,
        size: 28,
        space: 64,
        values: (_, times) => times.map((timeS) => formatHour(timeS * 1000)),
        incrs: timeStepsS,
      },
      { ...axis, size: widthOf, values: (_, values) => values.map(formatShort) },
    ],
    series: [
      {},
      ...series.map(({ key }, i) => ({
        show: chosen === undefined || chosen === key,
        stroke: colour(`--series-${i % seriesColours}`),
        width: 1.5,
        spanGaps: false,
        points: { show: true, size: 4, filter: lonelyPoints },
      })),
    ],
    hooks: { setCursor: [(self) => onPoint(self.cursor.idx ?? undefined)] },
  };
}

/** Whole minutes, because the axis shows no seconds. */
const timeStepsS = [60, 120, 300, 600, 900, 1200, 1800, 3600];

/** Counts look honest from zero; a narrow band far from zero is looked at closely. A flat line stands in the middle. */
function rangeOf(_: uPlot, min: number | null, max: number | null): [number, number] {
  if (min === null || max === null) return [0, 1];
  if (min === max) return min === 0 ? [0, 1] : [Math.min(0, min * 2), Math.max(0, max * 2)];
  const room = (max - min) * 0.08;
  const low = min >= 0 && min < (max - min) * 2 ? 0 : min - room;
  return [low, max <= 0 && max > (min - max) * 2 ? 0 : max + room];
}

function widthOf(_: uPlot, values: readonly string[] | null): number {
  const longest = Math.max(2, ...(values ?? []).map((text) => text.length));
  return 16 + longest * 6.5;
}

function lonelyPoints(self: uPlot, seriesIndex: number): number[] {
  const values = self.data[seriesIndex]!;
  const lonely: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) lonely.push(i);
  }
  return lonely;
}
