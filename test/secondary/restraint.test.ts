// How a target that brings too much is kept from costing the others.

import { Buffer } from "node:buffer";
import t from "tap";

import { silentLogger } from "#/lib/logger/logger.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { BodyReader } from "#/secondary/scrape/layout.ts";
import { targetReading } from "#/secondary/scrape/reading.ts";
import { Scraper } from "#/secondary/scrape/scrape.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { makeTarget } from "#/test/support/targets.ts";

const nowMs = 1_700_000_000_000;
const target = makeTarget("http://127.0.0.1:9100/metrics", { intervalMs: 15_000, timeoutMs: 10_000 });

t.test("endless lines and endless labels are refused before they cost much", (t) => {
  const cases: [string, string | Uint8Array, string, RegExp][] = [
    ["blank lines", "\n".repeat(5_000_000), "failed_sample_limit", /^line 200001: expected at most 200000 lines/],
    ["one series", "a 1\n".repeat(1_000_000), "failed_sample_limit", /^line 200001: expected at most 200000 lines/],
    ["a label", `a{x="${"y".repeat(5_000_000)}"} 1\n`, "failed_label_limit", /at most 65536 bytes of name and labels/],
    ["a comment", `a 1\n#${"y".repeat(5_000_000)}\n`, "failed_label_limit", /^line 2: .* or of a comment, got 5000002/],
    [
      "not UTF-8 at the end",
      Buffer.concat([Buffer.alloc(8_000_000, "a 1\n"), Buffer.from("b\xff 1\n", "latin1")]),
      "failed_parse",
      /^line 2000001: expected UTF-8/,
    ],
  ];
  for (const [name, body, outcome, error] of cases) {
    const beganMs = performance.now();
    const reading = new BodyReader().read(targetReading(target), Buffer.from(body), "text", nowMs);
    t.match(reading, { outcome, error }, name);
    t.ok(performance.now() - beganMs < 3000, `${name}: within 3 s, however busy the machine`);
  }
  t.end();
});

t.test("a target that brings too much rests for a minute, is not fetched meanwhile, and may come back", async (t) => {
  const clock = manualClock(nowMs);
  const outcomes: string[] = [];
  let fetched = 0;
  let body = Buffer.from("a 1\n".repeat(200_001));
  const scraper = new Scraper({
    clock,
    log: silentLogger(),
    metrics: createRegistry({ tier: "secondary" }),
    fetcher: {
      async fetch() {
        fetched++;
        return { ok: true, body, contentType: "text/plain" };
      },
      close() {},
    },
    emit: ({ facts }) => outcomes.push(facts.outcome),
  });
  const state = scraper.adopt(target, undefined);
  const { signal } = new AbortController();
  const scrape = async (slot: number) => {
    await scraper.scrape(state, { slot, generation: 1, timeoutMs: 1000 }, signal);
    await clock.advance(25_000);
  };
  await scrape(1);
  await scrape(2);
  t.match(state.last?.error, /^line 200001: expected at most 200000 lines .*; tried again in 35 s$/);
  body = Buffer.from("a 1\n");
  await scrape(3);
  t.equal(fetched, 1);
  await scrape(4);
  t.strictSame(outcomes, ["failed_sample_limit", "failed_sample_limit", "failed_sample_limit", "stored"]);
});
