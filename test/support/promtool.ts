// Prometheus' own client: what it understands, Grafana and scripts understand.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { toolOrReason } from "#/test/support/tool.ts";

export const promtool = await toolOrReason("promtool");

const answerMsMax = 10_000;

/** What `promtool query instant` prints. */
export async function promtoolQuery(server: string, query: string): Promise<string> {
  const args = ["query", "instant", server, query];
  return (await promisify(execFile)(promtool.path, args, { timeout: answerMsMax })).stdout;
}
