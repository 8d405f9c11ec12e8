// Test vectors that lie beside the repository, in ../shared/promql, and not in it. Where they are not, a test that needs
// them is skipped, and says so.

import { existsSync, readFileSync } from "node:fs";

const folder = new URL("../../../shared/promql/", import.meta.url);

/** Undefined when the file is not there. */
export function readVectors<T>(file: string): T | undefined {
  const url = new URL(file, folder);
  return existsSync(url) ? (JSON.parse(readFileSync(url, "utf8")) as T) : undefined;
}

export const skipReason = existsSync(folder) ? false : "../shared/promql is not there: its vectors are not run";

export interface VectorCase {
  readonly id: string;
  readonly group: string;
  readonly query: string;
  readonly status: "pass" | "fail" | "error" | "skip";
  readonly reason?: string;
  readonly annotation?: string;
}

export interface EngineAdapter {
  reset(): Promise<void>;
  load(
    series: readonly { readonly metric: Record<string, string>; readonly samples: [number, number | "stale"][] }[],
  ): Promise<void>;
  instantQuery(query: string, timeMs: number): Promise<unknown>;
  rangeQuery(query: string, startMs: number, endMs: number, stepMs: number): Promise<unknown>;
}

/** Runs a file of vectors with the runner that lies beside them. */
export async function runVectors(
  document: unknown,
  adapter: EngineAdapter,
  options: { readonly skip?: readonly string[]; readonly rangeRecheck?: boolean; readonly annotations?: boolean } = {},
): Promise<readonly VectorCase[]> {
  const runner = (await import(new URL("runner.mjs", folder).href)) as {
    runDoc(document: unknown, adapter: EngineAdapter, options: unknown): Promise<VectorCase[]>;
  };
  return runner.runDoc(document, adapter, options);
}
