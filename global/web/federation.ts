// What the page knows of the federation: asked for every two seconds, with the age of every fact kept true in between.
//
// When the server stops answering, the last answer stays on the page and the page says how old it is: a view that stands
// still must never look like a world that does.

import { computed, signal } from "@preact/signals";
import type { FederationStatus, StatusAnswer } from "#/lib/model/status.ts";

const pollMs = 2000;
/** Two polls: an answer that takes longer is none. */
const answerMsMax = 4000;
/** Three minutes of trend. */
const trendPointsMax = 90;

interface Answer {
  readonly status: FederationStatus;
  /** This browser's clock at arrival, so that the server's clock can be told without trusting this one. */
  readonly arrivedMs: number;
}

const answer = signal<Answer | undefined>(undefined);
const tickMs = signal(Date.now());

/** Why the last question had no answer; empty while the server answers. */
export const lostReason = signal("");
export const federation = computed(() => answer.value?.status);
/** The server's wall clock, going on between answers. */
export const serverNowMs = computed(() => {
  const last = answer.value;
  return last ? last.status.nowMs + Math.max(0, tickMs.value - last.arrivedMs) : tickMs.value;
});
/** The time to which the shown facts hold: it stands still when the server is lost, so that no age grows on a guess. */
export const shownNowMs = computed(() =>
  lostReason.value !== "" && federation.value ? federation.value.nowMs : serverNowMs.value,
);
/** How old what is shown is. */
export const answerAgeMs = computed(() => (answer.value ? Math.max(0, tickMs.value - answer.value.arrivedMs) : 0));
/** Samples a second of each data centre, oldest first, as seen by this page. */
export const trends = signal<ReadonlyMap<string, readonly number[]>>(new Map());

export function startPolling(): void {
  setInterval(() => {
    tickMs.value = Date.now();
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) void ask();
  });
  setInterval(() => {
    if (!document.hidden) void ask();
  }, pollMs);
  void ask();
}

let asking = false;

async function ask(): Promise<void> {
  if (asking) return;
  asking = true;
  try {
    const response = await fetch("/api/v1/datacenters", {
      cache: "no-store",
      signal: AbortSignal.timeout(answerMsMax),
    });
    if (!response.ok) throw new Error(`it answered ${response.status} ${response.statusText}`.trim());
    const body = (await response.json()) as StatusAnswer;
    answer.value = { status: body.data, arrivedMs: Date.now() };
    tickMs.value = Date.now();
    trends.value = extended(trends.value, body.data);
    lostReason.value = "";
  } catch (error) {
    lostReason.value = reasonOf(error);
    tickMs.value = Date.now();
  } finally {
    asking = false;
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof DOMException && error.name === "TimeoutError") return `no answer within ${answerMsMax / 1000} s`;
  if (error instanceof TypeError) return "no connection";
  if (error instanceof SyntaxError) return "its answer is not JSON";
  return error instanceof Error ? error.message : String(error);
}

function extended(before: ReadonlyMap<string, readonly number[]>, status: FederationStatus) {
  const after = new Map<string, readonly number[]>();
  for (const { name, samplesPerSecond } of status.datacenters) {
    after.set(name, [...(before.get(name) ?? []), samplesPerSecond].slice(-trendPointsMax));
  }
  return after;
}
