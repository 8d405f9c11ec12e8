import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { metricsPage } from "#/lib/telemetry/page.ts";
import {
  blank,
  clockBreaches,
  computedImportBreaches,
  confinedImportBreaches,
  defaultExportBreaches,
  environmentBreaches,
  type Files,
  floorBreaches,
  importCycles,
  imports,
  leftoverBreaches,
  lengthBreaches,
  linkBreaches,
  only,
  relativeImportBreaches,
} from "#/test/support/tidy.ts";

const root = join(import.meta.dirname, "..");
const files = await readTree();

t.test("a module imports only from lower floors, and never from a neighbour", (t) => {
  t.ok(imports(files).length > 100, "the imports were found");
  t.same(floorBreaches(files), []);
  t.same(computedImportBreaches(only(files, (path) => !path.startsWith("test/"))), []);
  t.end();
});

t.test("there is no import cycle", (t) => {
  t.same(importCycles(files), []);
  t.end();
});

t.test("imports are from the root, and a confined package is imported by its one file", (t) => {
  t.same(relativeImportBreaches(files), []);
  t.same(confinedImportBreaches(files), []);
  t.end();
});

t.test("time, chance and the environment are handed in, never reached for", (t) => {
  t.same(clockBreaches(files), []);
  t.same(environmentBreaches(files), []);
  t.end();
});

t.test("files are short, export by name, and leave nothing to do", (t) => {
  t.same(lengthBreaches(files), []);
  t.same(defaultExportBreaches(files), []);
  t.same(leftoverBreaches(files), []);
  t.end();
});

t.test("every link of the documents leads somewhere", (t) => {
  t.same(linkBreaches(files), []);
  t.end();
});

t.test("docs/metrics.md is the table of metrics (node lib/telemetry/page.ts > docs/metrics.md)", (t) => {
  t.equal(files.get("docs/metrics.md"), metricsPage());
  t.end();
});

t.test("the generated types of proto are fresh (npm run proto)", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-proto-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const { scripts } = JSON.parse(files.get("package.json")!) as { scripts: { proto: string } };
  const args = scripts.proto.split(" ").map((arg) => (arg.startsWith("--outDir=") ? `--outDir=${dir}` : arg));
  const command = join(root, "node_modules/.bin", args.shift()!);
  await promisify(execFile)(command, args, { cwd: root });
  const fresh = await readAll(dir, dir);
  const committed = new Map(
    [...files]
      .filter(([path]) => path.startsWith("proto/generated/"))
      .map(([path, text]) => [path.slice("proto/generated/".length), text]),
  );
  t.same([...committed.keys()].sort(), [...fresh.keys()].sort());
  for (const [path, text] of fresh) t.equal(committed.get(path), text, path);
});

// What the rules are worth is shown by planting breaches into the tree as it is.

/** What a rule finds with these files planted, beyond what it finds without them. */
function found(rule: (files: Files) => readonly string[], plants: Readonly<Record<string, string>>): string[] {
  const before = new Set(rule(files));
  return rule(new Map([...files, ...Object.entries(plants)])).filter((breach) => !before.has(breach));
}

t.test("a planted breach of a floor is found, however it is written", (t) => {
  const path = "lib/queue/planted.ts";
  for (const text of [
    'import { phaseMs } from "#/lib/model/target.ts";',
    'import type { Target } from "#/lib/model/target.ts";',
    'import {\n  phaseMs,\n} from "#/lib/model/target.ts";',
    'import "#/lib/model/target.ts";',
    'export { phaseMs } from "#/lib/model/target.ts";',
    'export * from "#/lib/model/target.ts";',
    'const target = await import("#/lib/model/target.ts");',
    'type Target = import("#/lib/model/target.ts").Target;',
  ]) {
    const breach = `${path}:1: lib/queue (floor 0) imports lib/model (floor 1) above it (#/lib/model/target.ts)`;
    t.same(found(floorBreaches, { [path]: text }), [breach], text);
  }
  for (const text of [
    '// import { phaseMs } from "#/lib/model/target.ts";',
    '/* import "#/lib/model/target.ts" */',
    "const text = 'import \"#/lib/model/target.ts\"';",
    'const text = `import "#/lib/model/target.ts"`;',
  ]) {
    t.same(found(floorBreaches, { [path]: text }), [], text);
  }
  t.end();
});

t.test("a planted import of a neighbour is found, and of one tier by another", (t) => {
  t.same(found(floorBreaches, { "lib/wire/planted.ts": '\nimport { x } from "#/lib/store/head.ts";' }), [
    "lib/wire/planted.ts:2: lib/wire imports its neighbour lib/store of floor 3 (#/lib/store/head.ts)",
  ]);
  t.same(found(floorBreaches, { "global/planted.ts": 'import type { X } from "#/primary/primary.ts";' }), [
    "global/planted.ts:1: global imports its neighbour primary of floor 5 (#/primary/primary.ts)",
  ]);
  t.same(found(floorBreaches, { "lib/secrets/planted.ts": 'import { x } from "#/lib/clock/clock.ts";' }), [
    "lib/secrets/planted.ts:1: lib/secrets is on no floor: put it on one in floors",
  ]);
  t.end();
});

t.test("a planted import cycle is found, over three files and of types alone", (t) => {
  const cycles = found((all) => importCycles(all).map((cycle) => cycle.join(" ")), {
    "lib/queue/a.ts": 'import { b } from "#/lib/queue/b.ts";',
    "lib/queue/b.ts": 'import type { C } from "#/lib/queue/c.ts";',
    "lib/queue/c.ts": 'export const a = () => import("#/lib/queue/a.ts");',
  });
  t.same(cycles, ["lib/queue/a.ts lib/queue/b.ts lib/queue/c.ts lib/queue/a.ts"]);
  t.end();
});

t.test("every other rule finds its planted breach", (t) => {
  const at = "lib/store/planted.ts";
  const plant = (rule: (files: Files) => readonly string[], text: string) => found(rule, { [at]: text });
  const reaches = `${at}:1: reaches for time or chance: take a Clock or Random`;
  t.same(plant(clockBreaches, "const now = Date.now();"), [`${reaches} (Date.now)`]);
  t.same(plant(clockBreaches, "const now = `$" + "{new Date()}`;"), [`${reaches} (new Date())`]);
  t.same(plant(clockBreaches, "setTimeout(() => {}, 5);"), [`${reaches} (setTimeout()`]);
  t.same(plant(clockBreaches, "const x = Math.random();"), [`${reaches} (Math.random)`]);
  t.same(plant(clockBreaches, "// Date.now() would do\nconst day = new Date(ms);"), []);
  t.same(found(clockBreaches, { "global/main.ts": "Date.now()" }), []);
  t.equal(plant(environmentBreaches, "const home = process.env.HOME;").length, 1);
  t.equal(plant(relativeImportBreaches, 'import { head } from "./head.ts";').length, 1);
  t.equal(plant(confinedImportBreaches, 'import { connect } from "nats";').length, 1);
  t.equal(plant(computedImportBreaches, "const x = await import(name);").length, 1);
  t.equal(plant(defaultExportBreaches, "export default 5;").length, 1);
  t.equal(plant(lengthBreaches, "x\n".repeat(601)).length, 1);
  t.equal(plant(leftoverBreaches, `// ${"TO"}DO: later`).length, 1);
  t.same(found(linkBreaches, { "docs/planted.md": "See [this](nowhere.md) and [that](metrics.md#nothing)." }), [
    "docs/planted.md:1: links to nowhere.md, which is not there",
    "docs/planted.md:1: links to metrics.md#nothing, and docs/metrics.md has no such heading",
  ]);
  t.end();
});

t.test("the reader of code tells comments, strings, templates and regular expressions apart", (t) => {
  const blanked = (text: string) => blank(text, { strings: true });
  t.equal(blanked('a("x//y") // z'), 'a("    ")     ');
  t.equal(blanked("a(`x$" + "{b('c')}y`) + d"), "a(` $" + "{b(' ')} `) + d");
  t.equal(blanked('x = /[/"]\\//g; y'), "x = /       g; y");
  t.equal(blanked("x = a / b; // c / d"), "x = a / b;         ");
  t.equal(blanked("<p>the hub's</p> Date"), "<p>the hub's</p> Date");
  t.end();
});

async function readTree(): Promise<Map<string, string>> {
  const tree = new Map<string, string>();
  for (const path of ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Makefile", "package.json"]) {
    const text = await readFile(join(root, path), "utf8").catch(() => undefined);
    if (text !== undefined) tree.set(path, text);
  }
  for (const dir of [
    "bin",
    "cli",
    "docs",
    "global",
    "lib",
    "primary",
    "proto",
    "rules",
    "secondary",
    "test",
    "topology",
  ]) {
    for (const [path, text] of await readAll(join(root, dir), root)) tree.set(path, text);
  }
  return tree;
}

/** The texts below a folder, by their path from `from`; what a build made is none of ours. */
async function readAll(dir: string, from: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const entry of await readdir(dir, { withFileTypes: true, recursive: true })) {
    const path = relative(from, join(entry.parentPath, entry.name));
    if (!entry.isFile() || path.startsWith("global/web/dist/") || path.startsWith("test/golden/")) continue;
    found.set(path, await readFile(join(entry.parentPath, entry.name), "utf8"));
  }
  return found;
}
