// How the drill's lines and tables look.

/** Wall time in UTC, as the logs of the processes have it. */
export function clockText(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(11, 19);
}

/** The first column to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "))
    .join("\n");
}
