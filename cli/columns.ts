// Rows of text as columns for a terminal.

/** The first row says how many columns there are. `right` are the columns that end at the same place. */
export function aligned(rows: readonly (readonly string[])[], right: ReadonlySet<number>): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => [...row[column]!].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const padding = " ".repeat(widths[column]! - [...cell].length);
          return right.has(column) ? padding + cell : cell + padding;
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
