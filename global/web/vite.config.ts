// How the page is built: one document, one script, one style sheet, all from here, named by their content.

import { defineConfig } from "vite";

const root = import.meta.dirname;

export default defineConfig({
  root,
  base: "/",
  publicDir: `${root}/public`,
  resolve: { alias: { "#": `${root}/../..` } },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: `${root}/dist`,
    emptyOutDir: true,
    target: "es2023",
    // Nothing inline: the page is served under a policy that forbids it.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
});
