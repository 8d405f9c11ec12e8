// The log of generations: `/api/v1/generations`, and what moved owners in words.

import type { GenerationCause } from "#/lib/model/generation.ts";
import type { GenerationAnswer, GenerationsAnswer } from "#/lib/model/history.ts";
import type { AssignedSource } from "#/lib/page/assigned/source.ts";
import { formatCount, timeText } from "#/lib/page/text.ts";

/** Unless more are asked for. */
export const generationsListed = 100;

/** As many as a replica remembers. */
export const generationsListedMax = 1000;

/** The newest of all those data centres, newest first. */
export function generationsAnswer(
  server: string,
  sources: readonly AssignedSource[],
  limit: number,
): GenerationsAnswer {
  const all = sources.flatMap(({ datacenter, generations }) =>
    generations(limit).map((summary) => ({ datacenter, summary })),
  );
  // Of one data centre they are in order already, and a clock may have stepped between two.
  if (sources.length > 1) all.sort((a, b) => b.summary.validFromMs - a.summary.validFromMs);
  const generations = all.slice(0, limit).map(({ datacenter, summary }): GenerationAnswer => {
    const { validFromMs, ...rest } = summary;
    return { datacenter, validFrom: timeText(validFromMs), ...rest };
  });
  return { status: "success", data: { server, generations } };
}

/** As a person would say it. */
export function causeText({ count = 0, kind, subject }: GenerationCause): string {
  switch (kind) {
    case "first":
      return "the first one";
    case "joined":
      return `${subject} joined`;
    case "left":
      return `${subject} left`;
    case "drain":
      return `${subject} is drained`;
    case "undrain":
      return `${subject} is no longer drained`;
    case "cut_off":
      return `${subject} is cut off from its targets`;
    case "recovered":
      return `${subject} recovered`;
    case "damped":
      return `${subject} came and went too often`;
    case "targets":
      return `${formatCount(count)} ${count === 1 ? "target" : "targets"} of ${subject} changed`;
    case "capacity":
      return `${subject} has room for ${formatCount(count)}`;
    case "reload":
      return "the topology file was read again";
    case "periodic":
      return "written again for new readers";
    default:
      return kind satisfies never;
  }
}
