// One replay from its beginning to its end: both scrape for a while, and what they have is compared.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Comparison, comparePlay } from "#/test/replay/compare.ts";
import { makePlays } from "#/test/replay/plays.ts";
import { type Scraping, startOurs, startTheirs } from "#/test/replay/scrapers.ts";
import { serveReplay } from "#/test/replay/server.ts";

export interface ReplayOptions {
  readonly program: string;
  readonly forMs: number;
  readonly seed: number;
  readonly say: (sentence: string) => void;
}

export async function replay({ forMs, program, say, seed }: ReplayOptions): Promise<readonly Comparison[]> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-replay-"));
  await mkdir(join(dir, "spool"));
  const plays = makePlays(seed);
  const startMs = Date.now();
  const server = await serveReplay(plays, startMs);
  const running: Scraping[] = [];
  try {
    const theirs = await startTheirs(plays, server.port, { dir, program });
    running.push(theirs);
    const ours = await startOurs(plays, server.port, dir);
    running.push(ours);
    say(`Both scrape ${plays.length} targets for ${forMs / 1000} s.`);
    await sleep(forMs);
    await server.close();
    await Promise.all(running.map((each) => each.stop()));
    const comparisons: Comparison[] = [];
    for (const play of plays) {
      const series = { ours: await ours.series(play.name), theirs: await theirs.series(play.name) };
      comparisons.push(comparePlay(play, startMs, series));
    }
    return comparisons;
  } finally {
    for (const each of running) await each.close();
    await rm(dir, { recursive: true, force: true, maxRetries: 3 });
  }
}
