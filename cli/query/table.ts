// The answer of Prometheus' API as lines for people: what the series have in common once, then a row each.

export type ApiAnswer =
  | { readonly status: "success"; readonly data: ApiData; readonly warnings?: string[]; readonly infos?: string[] }
  | { readonly status: "error"; readonly errorType: string; readonly error: string };

type ApiSample = readonly [seconds: number, value: string];
type ApiLabels = Readonly<Record<string, string>>;

export type ApiData =
  | { readonly resultType: "vector"; readonly result: readonly { metric: ApiLabels; value: ApiSample }[] }
  | { readonly resultType: "matrix"; readonly result: readonly { metric: ApiLabels; values: readonly ApiSample[] }[] }
  | { readonly resultType: "scalar" | "string"; readonly result: ApiSample };

/** Undefined when the text is not such an answer. */
export function readAnswer(text: string): ApiAnswer | undefined {
  try {
    const answer = JSON.parse(text) as ApiAnswer;
    return answer?.status === "success" || answer?.status === "error" ? answer : undefined;
  } catch {
    // Something else lives at that address: the caller says so.
    return undefined;
  }
}

export function renderAnswer(data: ApiData, { width }: { readonly width?: number } = {}): string {
  switch (data.resultType) {
    case "scalar":
    case "string":
      return data.result[1];
    case "vector":
      return table(
        data.result.map(({ metric, value }) => ({ metric, cells: [value[1]] })),
        ["value"],
      );
    case "matrix":
      return table(
        data.result.map(({ metric, values }) => ({ metric, cells: curveCells(values) })),
        ["curve", "least", "greatest", "last"],
        ...(width === undefined ? [] : [width]),
      );
    default:
      return data satisfies never;
  }
}

interface Row {
  readonly metric: ApiLabels;
  readonly cells: readonly string[];
}

function table(rows: readonly Row[], valueHeads: readonly string[], width = Number.POSITIVE_INFINITY): string {
  if (rows.length === 0) return "No series.";
  const names = [...new Set(rows.flatMap(({ metric }) => Object.keys(metric)))];
  const differing = names.filter((name) => rows.some(({ metric }) => metric[name] !== rows[0]!.metric[name]));
  const common = rows.length > 1 ? names.filter((name) => !differing.includes(name)) : [];
  const columns = rows.length > 1 ? differing : names;
  const heads = [...columns.map((name) => (name === "__name__" ? "metric" : name)), ...valueHeads];
  const lines = [heads, ...rows.map(({ metric, cells }) => [...columns.map((name) => metric[name] ?? ""), ...cells])];
  const widths = heads.map((_, column) => Math.max(...lines.map((line) => [...line[column]!].length)));
  const text = lines.map((line) =>
    line
      .map((cell, column) => {
        const padding = " ".repeat(widths[column]! - [...cell].length);
        // Numbers end at the same place, words and curves begin there.
        return column >= columns.length && heads[column] !== "curve" ? padding + cell : cell + padding;
      })
      .join("  ")
      .trimEnd(),
  );
  const head =
    common.length > 0 ? [`all with ${common.map((name) => `${name}="${rows[0]!.metric[name]}"`).join(", ")}`] : [];
  return [...head, ...text].map((line) => [...line].slice(0, width).join("")).join("\n");
}

function curveCells(values: readonly ApiSample[]): string[] {
  const numbers = values.map(([, value]) => Number(value.replace("Inf", "Infinity")));
  const finite = numbers.filter(Number.isFinite);
  const [least, greatest] = [Math.min(...finite), Math.max(...finite)];
  return [
    sparkline(numbers, least, greatest),
    finite.length === 0 ? "" : short(least),
    finite.length === 0 ? "" : short(greatest),
    values.at(-1)?.[1] ?? "",
  ];
}

const bars = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/** Longer curves are thinned to this. */
const curveLengthMax = 60;

function sparkline(numbers: readonly number[], least: number, greatest: number): string {
  const every = Math.max(1, Math.ceil(numbers.length / curveLengthMax));
  return numbers
    .filter((_, i) => i % every === 0)
    .map((number) => {
      if (!Number.isFinite(number)) return " ";
      const height = greatest === least ? 0.5 : (number - least) / (greatest - least);
      return bars[Math.min(bars.length - 1, Math.floor(height * bars.length))]!;
    })
    .join("");
}

/** Four digits are enough beside a curve. */
function short(number: number): string {
  return String(Number(number.toPrecision(4)));
}
