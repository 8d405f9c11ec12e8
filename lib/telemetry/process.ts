// What every process of ours tells of itself: CPU, memory, when it started, and for how long its event loop was not free.
//
// The operating system is asked through a probe that `main.ts` makes, so that several tiers can run in one process of a
// simulation without each claiming the whole process for itself.

import { monitorEventLoopDelay, performance } from "node:perf_hooks";

import type { Registry } from "#/lib/telemetry/registry.ts";
import { version } from "#/lib/telemetry/version.ts";

export interface ProcessProbe {
  /** User and system time since the start. */
  cpuSeconds(): number;
  residentBytes(): number;
  readonly startTimeSeconds: number;
  /** The longest delay since the last call. */
  eventLoopDelaySeconds(): number;
  /** For which the main thread's event loop did not wait. */
  eventLoopBusySeconds(): number;
  close(): void;
}

/** How finely the event loop is watched: finer costs idle CPU, coarser does not see what a 10 s scrape suffers from. */
const eventLoopResolutionMs = 20;

/** The real process, for `main.ts` alone. */
export function systemProcessProbe(): ProcessProbe {
  const delay = monitorEventLoopDelay({ resolution: eventLoopResolutionMs });
  delay.enable();
  return {
    cpuSeconds() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    },
    residentBytes: () => process.memoryUsage.rss(),
    startTimeSeconds: performance.timeOrigin / 1000,
    eventLoopDelaySeconds() {
      // The histogram holds how far apart its own ticks were; what exceeds the resolution is the delay.
      const longestSeconds = Math.max(0, delay.max / 1e9 - eventLoopResolutionMs / 1000);
      delay.reset();
      return longestSeconds;
    },
    eventLoopBusySeconds: () => performance.eventLoopUtilization().active / 1000,
    close: () => delay.disable(),
  };
}

/** Sets the process gauges before each exposition, and `heliograph_build_info` once. */
export function exposeProcess(
  metrics: Registry,
  who: { readonly tier: "secondary" | "primary" | "global" | "tool"; readonly name: string },
  probe: ProcessProbe,
): void {
  metrics.set("heliograph_build_info", 1, { version, tier: who.tier, name: who.name });
  metrics.onCollect(() => {
    metrics.set("heliograph_process_cpu_seconds_total", probe.cpuSeconds());
    metrics.set("heliograph_process_resident_memory_bytes", probe.residentBytes());
    metrics.set("heliograph_process_start_time_seconds", probe.startTimeSeconds);
    metrics.set("heliograph_event_loop_delay_seconds", probe.eventLoopDelaySeconds());
    metrics.set("heliograph_event_loop_busy_seconds_total", probe.eventLoopBusySeconds(), { thread: "main" });
  });
}
