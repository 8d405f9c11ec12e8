// The text of a simulated server's exposition, made from templates: what stands still is written once for all machines of a make,
// and only the values that move are written for each scrape.

import { type FleetFamily, fleetFamilies } from "#/cli/fleet/rows.ts";
import { type FleetRow, fleetValue, isRendered, makes } from "#/cli/fleet/values.ts";

interface Template {
  /** Text before each moving value, and after the last: one more than `moving`. */
  readonly texts: readonly string[];
  readonly moving: readonly FleetRow[];
}

export interface FleetBody {
  readonly families: readonly FleetFamily[];
  readonly rows: readonly FleetRow[];
  /** The exposition of that target at that whole ms; latin1 is its encoding. */
  render(target: number, timeMs: number): string;
}

export function fleetBody(rowCount: number): FleetBody {
  const families = fleetFamilies(rowCount);
  const templates: Template[] = [];
  return {
    families,
    rows: families.flatMap((family) => family.rows),
    render(target, timeMs) {
      const make = target % makes;
      const { texts, moving } = (templates[make] ??= templateOf(families, make));
      let text = texts[0]!;
      for (let i = 0; i < moving.length; i++) text += formatGo(fleetValue(target, moving[i]!, timeMs)) + texts[i + 1]!;
      return text;
    },
  };
}

function templateOf(families: readonly FleetFamily[], make: number): Template {
  const texts: string[] = [];
  const moving: FleetRow[] = [];
  let text = "";
  for (const { name, type, help, rows } of families) {
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    for (const row of rows) {
      text += row.labels === "" ? `${row.name} ` : `${row.name}{${row.labels}} `;
      if (isRendered(row.motion)) {
        texts.push(text);
        moving.push(row);
        text = "\n";
      } else {
        text += `${formatGo(fleetValue(make, row, 0))}\n`;
      }
    }
  }
  texts.push(text);
  return { texts, moving };
}

/** As node_exporter writes it (Go's strconv with 'g' and the fewest digits that read back): 1.5e+06, 9.1e-05. */
export function formatGo(value: number): string {
  const size = Math.abs(value);
  if ((size < 1e6 && size >= 1e-4) || size === 0) return String(value);
  return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
}
