// Who scrapes what, with real processes: what primaries, globals and the command line tell is what the secondaries do, before and
// after one of them stands still; and the pages, in a real browser.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { getJson } from "#/cli/http.ts";
import type { GenerationsAnswer } from "#/lib/model/history.ts";
import type { AssignedAnswer, AssignedSummary } from "#/lib/page/assigned/answer.ts";
import { launchBrowser, openPage, withBrowser } from "#/test/support/browser.ts";
import { heliograph } from "#/test/support/command.ts";
import { startDemo } from "#/test/support/heliograph.ts";
import { natsServer } from "#/test/support/nats.ts";
import { openWorld, until } from "#/test/support/world.ts";

const timeoutMs = 5000;

interface Answer {
  readonly data: { readonly activeTargets: readonly AssignedAnswer[]; readonly heliograph: AssignedSummary };
}

const ask = async (server: string, query = "") =>
  (await getJson<Answer>(`${server}/api/v1/targets?${query}`, { timeoutMs })).data;

/** Owners by address, sorted. */
const ownersOf = ({ activeTargets }: Answer["data"]) =>
  activeTargets.map(({ heliograph: { owner }, scrapeUrl }) => `${scrapeUrl} ${owner}`).sort();

t.test("what is told of who scrapes what is what the secondaries do", { skip: natsServer.missing }, async (t) => {
  const world = await openWorld(t);
  const dataDir = join(world.dir, "demo");
  await mkdir(dataDir);
  const demo = await startDemo(world, dataDir);
  const { processes } = await demo.status();
  const urlOf = (name: string) => processes.find((process) => process.name === name)!.httpUrl;
  const primary = urlOf("ams-primary-1");
  const secondaries = ["ams-secondary-1", "ams-secondary-2"];

  const told = await until("all 18 targets to be up", 30_000, async () => {
    const answer = await ask(primary);
    return answer.heliograph.counts.up === 18 ? answer : undefined;
  });
  const owners = ownersOf(told);
  t.same(new Set(told.activeTargets.map(({ heliograph: { owner } }) => owner)), new Set(secondaries));
  t.same(ownersOf(await ask(urlOf("ams-primary-2"))), owners, "the other primary reads the same log");
  t.same(ownersOf(await ask(urlOf("global-1"), "datacenter=ams")), owners, "and so do the globals");
  t.equal((await ask(urlOf("global-2"))).heliograph.counts.all, 32, "which know both data centres");
  const done = await Promise.all(secondaries.map((name) => ask(urlOf(name))));
  t.same(done.flatMap(ownersOf).sort(), owners, "each secondary scrapes what it is said to");
  t.ok(
    told.activeTargets.every(({ heliograph: { owner, scrapedBy, samples } }) => scrapedBy === owner && samples > 0),
    "and told the last outcome itself",
  );

  const topology = ["--topology", join(dataDir, "topology.yaml"), "--datacenter", "ams"];
  const listed = await heliograph(["targets", ...topology, "--find", "job=fleet"]);
  t.equal(listed.code, 0, listed.stderr);
  t.match(listed.stdout, /^ams: generation \d+ by ams-primary-[12], .* ago; 18 targets\n/);
  t.match(listed.stdout, /\nams-secondary-1 +active +\d+ +5,000 +█·········/);
  t.match(listed.stdout, /\n10 targets: 10 up\.\n$/);

  const accounted = await heliograph(["ledger", ...topology, "--since", "10m"]);
  t.equal(accounted.code, 0, accounted.stdout + accounted.stderr);
  t.match(accounted.stdout, /^ams, .* UTC; settled until .*\nOWNER +DUE +STORED .*\nams-secondary-1 +\d+ /);
  const { lastScrape, scrapeUrl } = told.activeTargets[0]!;
  const why = await heliograph(["ledger", "why", scrapeUrl, lastScrape, "--server", urlOf("global-1")]);
  t.match(
    why.stdout,
    /^Slot \d+ of .*, was ams-secondary-[12]'s by generation \d+: ams-secondary-[12] scraped it, and it is stored\.\n$/,
  );

  await t.test("in a real browser", withBrowser, async (t) => {
    const browser = await launchBrowser();
    t.teardown(() => browser.close());
    const { page, troubles } = await openPage(browser, primary, "/targets");
    t.equal(await page.locator("h1").innerText(), "ams");
    const [summary, list] = [page.locator("table.secondaries"), page.locator("table").last()];
    t.match(await summary.innerText(), /ams-secondary-1\s+active\s+\d+ of 5,000\s+0 %\s+–\s+ams-primary-[12]/);
    t.equal(await list.locator("tbody tr").count(), 18);
    await page.getByLabel("find").fill("job=fleet");
    await page.getByRole("button", { name: "Find" }).click();
    await page.waitForURL(/find=job%3Dfleet/);
    t.equal(await list.locator("tbody tr").count(), 10);
    await page.getByLabel("owner").selectOption("ams-secondary-1");
    await page.getByRole("button", { name: "Find" }).click();
    await page.waitForURL(/owner=ams-secondary-1/);
    const own = told.activeTargets.filter(
      ({ heliograph: { owner }, scrapePool }) => owner === "ams-secondary-1" && scrapePool === "fleet",
    );
    t.equal(await list.locator("tbody tr").count(), own.length);
    t.match(await list.locator("tbody tr").first().innerText(), /up\s+ams-secondary-1/);
    for (const width of [390, 920, 1400]) {
      await page.setViewportSize({ width, height: 900 });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      t.ok(overflow <= 0, `at ${width} px it overflows by ${overflow} px`);
    }
    t.same(troubles, []);
    // From there to the page of the secondary that scrapes it.
    const href = await list.locator("td.owner a").first().getAttribute("href");
    t.match(href, new URL("/targets?find=", urlOf("ams-secondary-1")).href);
    const { page: other, troubles: otherTroubles } = await openPage(
      browser,
      new URL(href!).origin,
      new URL(href!).pathname + new URL(href!).search,
    );
    t.equal(await other.locator("h1").innerText(), "ams-secondary-1");
    t.equal(await other.locator("tbody tr").count(), 1);
    t.match(await other.locator("tbody tr").innerText(), /stored/);
    t.same(otherTroubles, []);
  });

  await t.test(
    "when a secondary stands still, its targets are shown with the other one, and it as silent",
    async (t) => {
      const still = processes.find(({ name }) => name === "ams-secondary-2")!.pid!;
      process.kill(still, "SIGSTOP");
      t.teardown(() => process.kill(still, "SIGCONT"));
      const moved = await until("all targets to be the other's, and scraped by it", 30_000, async () => {
        const answer = await ask(primary);
        const settled = answer.activeTargets.every(
          ({ heliograph: { condition, owner, scrapedBy } }) =>
            owner === "ams-secondary-1" && scrapedBy === owner && condition !== "silent",
        );
        return settled ? answer : undefined;
      });
      t.match(
        moved.heliograph.datacenters[0]!.secondaries.map(({ name, state, targets }) => ({ name, state, targets })),
        [
          { name: "ams-secondary-1", state: "active", targets: 18 },
          { name: "ams-secondary-2", state: "silent", targets: 0 },
        ],
      );
      const log = await heliograph(["generations", ...topology, "--limit", "1"]);
      t.match(
        log.stdout,
        /\.\d +\d+ +ams-primary-[12] +\d+ +– +– +18 +(delta|full) .*ams-secondary-2 left +ams-secondary-1 18\n$/,
      );
      const { generations } = (
        await getJson<GenerationsAnswer>(`${urlOf("global-1")}/api/v1/generations?datacenter=ams`, { timeoutMs })
      ).data;
      t.match(generations[0], {
        causes: [{ kind: "left", subject: "ams-secondary-2" }],
        changes: { added: 0, removed: 0 },
      });
      t.equal(generations.at(-1)!.causes[0]!.kind, "first", "a global remembers them all");
      // The paused one's own page is the only target that is to blame.
      const failing = moved.activeTargets.filter(({ health }) => health === "down");
      const address = new URL(urlOf("ams-secondary-2")).host;
      t.ok(
        failing.every(({ scrapeUrl }) => new URL(scrapeUrl).host === address),
        failing.map(({ scrapeUrl, lastError }) => `${scrapeUrl}: ${lastError}`).join(", "),
      );
    },
  );
});
