// The real browser that pages are looked at with, where Debian's is installed.

import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";

const browserPath = "/usr/bin/chromium";

/** Options of a test that needs it: without it the test is skipped, and says why. */
export const withBrowser = existsSync(browserPath) ? {} : { skip: `no browser at ${browserPath}` };

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: browserPath,
    args: [
      "--no-sandbox",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
}

/** Opens a page and collects what must not happen: errors, and requests to anywhere else. */
export async function openPage(
  browser: Browser,
  server: string,
  path: string,
): Promise<{ readonly page: Page; readonly troubles: readonly string[] }> {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 }, colorScheme: "light" });
  page.setDefaultTimeout(8000);
  const troubles: string[] = [];
  page.on("pageerror", (error) => troubles.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") troubles.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(`${server}/`)) troubles.push(request.url());
  });
  await page.goto(server + path);
  return { page, troubles };
}
