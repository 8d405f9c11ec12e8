// What can be wrong with a simulated server, on request and for a range of them: each a way in which real ones misbehave.

import { UsageError } from "#/cli/options.ts";
import { dayMs } from "#/lib/bytes/units.ts";

export const faultKinds = {
  slow: "answers only after a delay (slow:1500ms; 2 s unless given)",
  dead: "refuses connections",
  hang: "takes the request and never answers",
  status: "answers 500",
  html: "answers 200 with a web page",
  garbage: "answers 200 with bytes that are no exposition, nor UTF-8",
  half: "ends the connection in the middle of the body",
  huge: "sends an endless-looking body of 200 MB",
  layout: "changes its series with every scrape: one new name, some missing, another order",
  duplicate: "tells one series twice, with different values",
  future: "gives one series a timestamp a year ahead",
  label: "has one label value that is not UTF-8",
} as const;

export type FaultKind = keyof typeof faultKinds;

export interface Fault {
  readonly kind: FaultKind;
  /** Both included. */
  readonly firstTarget: number;
  readonly lastTarget: number;
  readonly delayMs: number;
}

const delayMsDefault = 2000;
const yearMs = 365 * dayMs;
/** Longer than any scrape timeout that makes sense. */
const delayMsMax = 600_000;

/** `dead=5`, `slow:1500ms=10-19`. Throws UsageError. */
export function readFault(text: string): Fault {
  const match = /^([a-z]+)(?::(\d+)ms)?=(\d+)(?:-(\d+))?$/.exec(text);
  if (!match) {
    throw new UsageError(`a fault looks like dead=5, half=10-19 or slow:1500ms=0-3, got "${text}"`);
  }
  const [, kind = "", delay, first, last] = match;
  if (!(kind in faultKinds)) {
    throw new UsageError(`"${kind}" is no fault; known are ${Object.keys(faultKinds).join(", ")}`);
  }
  if (delay !== undefined && kind !== "slow") throw new UsageError(`only slow takes a delay, got "${text}"`);
  const delayMs = Math.min(Number(delay ?? delayMsDefault), delayMsMax);
  const range = { firstTarget: Number(first), lastTarget: Number(last ?? first) };
  if (range.lastTarget < range.firstTarget) throw new UsageError(`"${text}": the range ends before it begins`);
  return { kind: kind as FaultKind, ...range, delayMs };
}

/** Of several faults of one target, the last one counts. */
export function faultOf(faults: readonly Fault[], target: number): Fault | undefined {
  return faults.findLast((fault) => fault.firstTarget <= target && target <= fault.lastTarget);
}

/** The bodies of those faults that answer with something other than the true exposition. */
export function spoil(
  kind: FaultKind,
  body: string,
  scrape: { readonly number: number; readonly nowMs: number },
): string {
  switch (kind) {
    case "html":
      return "<!DOCTYPE html>\n<html><body><h1>It works!</h1></body></html>\n";
    case "garbage":
      return "\x00\xff\xfe\x80{{{ not metrics \xc3\x28\n".repeat(20);
    case "layout":
      return changedLayout(body, scrape.number);
    case "duplicate":
      return `${body}# TYPE fleet_twice gauge\nfleet_twice{a="1"} 1\nfleet_twice{a="1"} 2\n`;
    case "future":
      return `${body}# TYPE fleet_future gauge\nfleet_future 1 ${scrape.nowMs + yearMs}\n`;
    case "label":
      return `${body}# TYPE fleet_label gauge\nfleet_label{name="caf\xe9"} 1\n`;
    case "slow":
    case "dead":
    case "hang":
    case "status":
    case "half":
    case "huge":
      return body;
    default:
      return kind satisfies never;
  }
}

/** Its families begin at another place each time, every seventh line of a series is missing, and one has a name of its own. */
function changedLayout(body: string, scrape: number): string {
  const families = body.split(/^(?=# HELP )/m);
  const turn = scrape % families.length;
  const turned = [...families.slice(turn), ...families.slice(0, turn)].join("");
  const kept = turned
    .split("\n")
    .filter((line, i) => line.startsWith("#") || line.startsWith("fleet_time_ms") || (i + scrape) % 7 !== 0);
  return `${kept.join("\n").trimEnd()}\n# TYPE fleet_layout gauge\nfleet_layout{scrape="${scrape}"} ${scrape}\n`;
}
