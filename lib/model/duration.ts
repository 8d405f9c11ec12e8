// Durations as Prometheus writes them.

export const durationUnitsMs = {
  y: 31_536_000_000,
  w: 604_800_000,
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
} as const;

/** In the largest units that it is a whole number of, years and weeks only alone. */
export function durationText(ms: number): string {
  if (ms === 0) return "0s";
  let text = "";
  let restMs = ms;
  for (const [unit, unitMs] of Object.entries(durationUnitsMs)) {
    const alone = unit === "y" || unit === "w";
    if (restMs < unitMs || (alone && (restMs % unitMs !== 0 || text !== ""))) continue;
    text += `${Math.floor(restMs / unitMs)}${unit}`;
    restMs %= unitMs;
  }
  return text;
}
