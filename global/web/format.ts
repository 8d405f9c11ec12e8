// Numbers and times as an operator reads them: short, exact enough, and the same width from one second to the next.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** `12,345` */
export function formatCount(count: number): string {
  return grouped.format(count);
}

const scales = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
] as const;

/** Three digits and a scale: `333 k`, `1.25 M`, `42`, `0.5`. */
export function formatShort(value: number): string {
  if (!Number.isFinite(value)) return formatExact(value);
  const size = Math.abs(value);
  // 999.6 reads as 1000 with three digits, so the next scale begins a little early.
  for (const [scale, unit] of scales) if (size >= scale * 0.9995) return `${digits(value / scale, 3)} ${unit}`;
  if (size !== 0 && size < 0.001) return value.toExponential(1);
  return digits(value, 3);
}

/** Samples in a table: every digit of a count, six of a fraction. */
export function formatExact(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "−Inf";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return minus(grouped.format(value));
  if (size >= 1e15 || size < 1e-4) return minus(value.toExponential(4));
  return size >= 100_000
    ? minus(new Intl.NumberFormat("en", { maximumFractionDigits: 2 }).format(value))
    : digits(value, 6);
}

function digits(value: number, count: number): string {
  return minus(String(Number(value.toPrecision(count))));
}

function minus(text: string): string {
  return text.replace("-", "−");
}

/** `0.4 s`, `12 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h` */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, ageMs) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

const two = (part: number) => String(part).padStart(2, "0");

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** `14:03:22` of the browser's time zone; `17 Nov 14:03` when that is not today, and `17 Nov 2025` when it is long ago. */
export function formatClock(timeMs: number, nowMs: number): string {
  const time = new Date(timeMs);
  if (time.toDateString() === new Date(nowMs).toDateString()) return `${formatHour(timeMs)}:${two(time.getSeconds())}`;
  if (nowMs - timeMs > 300 * 86_400_000) return `${day.format(time)} ${time.getFullYear()}`;
  return `${day.format(time)} ${formatHour(timeMs)}`;
}

/** `14:03`, for an axis. */
export function formatHour(timeMs: number): string {
  const time = new Date(timeMs);
  return `${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** `UTC+02:00` */
export function formatZone(nowMs: number): string {
  const offsetMinutes = -new Date(nowMs).getTimezoneOffset();
  const size = Math.abs(offsetMinutes);
  if (size === 0) return "UTC";
  return `UTC${offsetMinutes < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}
