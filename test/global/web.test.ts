import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fastify from "fastify";
import type { Page } from "playwright-core";
import t from "tap";
import { build } from "vite";
import { registerWeb } from "#/global/web/serve.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { launchBrowser, openPage, withBrowser } from "#/test/support/browser.ts";
import { startFakeApi } from "#/test/support/fake-api.ts";

const root = join(import.meta.dirname, "../..");
const dir = await mkdtemp(join(tmpdir(), "heliograph-web-"));
t.teardown(() => rm(dir, { recursive: true }));
await build({
  configFile: join(root, "global/web/vite.config.ts"),
  logLevel: "error",
  build: { outDir: dir, emptyOutDir: true },
});

t.test("the page is served with its policy, hashed files for ever, and nothing else is swallowed", async (t) => {
  const app = fastify();
  t.teardown(() => app.close());
  await registerWeb(app, { log: silentLogger(), dir });
  app.get("/-/ready", () => "ready");
  app.get("/api/v1/query", () => ({ status: "success" }));

  const page = await app.inject("/");
  t.equal(page.statusCode, 200);
  t.match(page.headers["content-type"], "text/html");
  t.equal(page.headers["cache-control"], "no-cache");
  t.match(page.headers["content-security-policy"], "default-src 'none'; script-src 'self'");
  const script = /src="(\/assets\/[^"]+\.js)"/.exec(page.body)?.[1] ?? "";
  const hashed = await app.inject(script);
  t.equal(hashed.statusCode, 200);
  t.equal(hashed.headers["cache-control"], "public, max-age=31536000, immutable");
  t.notMatch(page.body, /<script(?![^>]*\ssrc=)|<style|\sstyle=|https?:\/\//, "nothing inline, nothing from elsewhere");

  t.equal((await app.inject("/-/ready")).body, "ready");
  t.equal((await app.inject("/api/v1/query")).body, '{"status":"success"}');
  for (const path of ["/api/v1/nothing", "/-/nothing", "/alertmanager/api/v2/status", "/assets/no.js", "/graph"]) {
    t.equal((await app.inject(path)).statusCode, 404, path);
  }
});

t.test("a page that was not built says so at its address, and the rest works", async (t) => {
  const app = fastify();
  t.teardown(() => app.close());
  await registerWeb(app, { log: silentLogger(), dir: join(dir, "nowhere") });
  const page = await app.inject("/");
  t.equal(page.statusCode, 503);
  t.match(page.body, "The page is not built");
  t.match(page.body, "npm run web");
  t.equal((await app.inject("/alertmanager/api/v2/status")).statusCode, 404);
});

t.test("in a real browser", withBrowser, async (t) => {
  const api = await startFakeApi({ dir });
  const browser = await launchBrowser();
  t.teardown(async () => {
    await browser.close();
    await api.close();
  });

  await t.test("each data centre stands there with its state, targets and primaries", async (t) => {
    api.scene = "dark";
    const { page, troubles } = await openPage(browser, api.url, "/");
    const row = (name: string) => page.locator(`#dc-${name}`).innerText();
    await page.locator("#dc-fra-1").waitFor();
    t.equal(await page.locator("h1").innerText(), "edge-fleet");
    t.match(await page.locator(".server").innerText(), /global-a\s+stands by global-b/);
    t.match(await row("ams-1"), /eu-west\s+live\s+since/);
    t.match(await row("ams-1"), /9,869 up 2 down/);
    t.match(
      await row("fra-1"),
      /dark\s+since .* 2 min \d+ s\s+Its heartbeats stopped arriving at the hub, and neither/,
    );
    t.match(await row("fra-1"), /p1 no answer\s+p2 no answer/);
    t.match(await row("sin-1"), /delayed/);
    t.match(await row("nyc-2"), /s1 [\d,]+\s+s2 [\d,]+ cut off/);
    t.match(await page.locator(".totals").innerText(), /22,629 of 26,835 targets up\s+6 down\s+4,200 not heard/);
    api.scene = "blind";
    await page.getByText("The hub is blind: more than half").waitFor();
    t.same(troubles, []);
    await page.close();
  });

  await t.test("Enter runs the query, and its address shows the same to whoever it is given to", async (t) => {
    api.scene = "calm";
    const { page, troubles } = await openPage(browser, api.url, "/");
    await page.locator(".graph canvas").waitFor();
    await page.locator("h1").click();
    await page.keyboard.press("/");
    await page.keyboard.press("ControlOrMeta+A");
    await page.keyboard.type("wide");
    await page.keyboard.press("Enter");
    await page.getByText("300 series, 200 listed, 50 drawn").waitFor();
    await page.getByRole("radio", { name: "2h" }).check({ force: true });
    await page.waitForURL(/\?q=wide&range=2h$/);
    const { page: other } = await openPage(browser, api.url, page.url().slice(api.url.length));
    await other.getByText("300 series, 200 listed, 50 drawn").waitFor();
    t.equal(await other.getByLabel("PromQL expression").inputValue(), "wide");
    t.equal(await other.getByRole("radio", { name: "2h" }).isChecked(), true);
    t.match(await other.locator(".graph").getAttribute("aria-label"), "50 series of wide over the last 2 hours");
    await page.goBack();
    await page.waitForURL(/\?q=wide&range=15m$/);
    t.equal(await page.getByRole("radio", { name: "15m" }).isChecked(), true);
    t.same(troubles, []);
    await other.close();
    await page.close();
  });

  await t.test(
    "the server's own text is shown for a query that it refuses, and a scalar and nothing are answers",
    async (t) => {
      const { page } = await openPage(browser, api.url, "/?q=bad(");
      const error = page.locator(".error");
      await error.waitFor();
      t.equal(
        await error.innerText(),
        'invalid parameter "query": 1:5: parse error: unclosed left parenthesis',
        "once, though both questions were refused",
      );
      await ask(page, "nothing");
      await page.getByText("Nothing matches nothing now or in the last 15 minutes.").waitFor();
      t.equal(await error.count(), 0);
      await ask(page, "42");
      await page.locator(".legend td.number", { hasText: "42" }).waitFor();
      await page.close();
    },
  );

  await t.test("pointing at the graph shows the values of that time, and a row chosen is drawn alone", async (t) => {
    const { page, troubles } = await openPage(browser, api.url, "/?q=up&range=1h");
    await page.locator(".graph canvas").waitFor();
    const head = page.locator(".head.number");
    t.equal(await head.innerText(), "now");
    await page.hover(".graph .u-over", { position: { x: 200, y: 60 } });
    await page.locator(".head.number", { hasNotText: "now" }).waitFor();
    t.match(await head.innerText(), /^(\d+ \w+ )?\d\d:\d\d/);
    const row = page.getByRole("button", { name: "datacenter=fra-1" });
    await row.click();
    t.equal(await row.getAttribute("aria-pressed"), "true");
    t.equal(await page.locator(".legend tr.dimmed").count(), 3);
    t.same(troubles, []);
    await page.close();
  });

  await t.test("when the page loses its server it says so, with the age of what it shows, and recovers", async (t) => {
    const { page } = await openPage(browser, api.url, "/");
    await page.locator("#dc-ams-1").waitFor();
    await page.route("**/api/**", (route) => route.abort());
    const banner = page.locator(".banner.lost");
    await banner.waitFor();
    t.match(
      await banner.innerText(),
      /This page has lost its server: no connection\. What you see is \d+(\.\d)? s old/,
    );
    t.equal(await page.locator("#dc-ams-1").count(), 1, "the last answer stays");
    await page.unroute("**/api/**");
    await banner.waitFor({ state: "detached" });
    await page.close();
  });

  await t.test("it fits a phone and a desk, in light and in dark", async (t) => {
    api.scene = "dark";
    const { page, troubles } = await openPage(browser, api.url, "/?q=gaps");
    await page.locator(".graph canvas").waitFor();
    for (const width of [390, 920, 1400]) {
      await page.setViewportSize({ width, height: 900 });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      t.ok(overflow <= 0, `at ${width} px it overflows by ${overflow} px`);
    }
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    t.equal(await paper(), "rgb(246, 247, 246)");
    await page.emulateMedia({ colorScheme: "dark" });
    t.equal(await paper(), "rgb(15, 21, 20)");
    t.same(troubles, []);
    await page.close();
  });
});

async function ask(page: Page, expr: string): Promise<void> {
  await page.getByLabel("PromQL expression").fill(expr);
  await page.keyboard.press("Enter");
}
