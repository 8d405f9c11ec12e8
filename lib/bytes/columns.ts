// Columns of numbers, a typed array a name and a place in each a row, that grow together.

type Column = Float64Array | Uint32Array | Uint16Array | Uint8Array;

/** The longer columns, with what stood in the shorter ones; both have the same names. */
export function continued<C extends Readonly<Record<string, Column>>>(longer: C, shorter: C | undefined): C {
  if (shorter) for (const [name, column] of Object.entries(longer)) column.set(shorter[name]!);
  return longer;
}
