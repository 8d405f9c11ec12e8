import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import t from "tap";
import { findTool, ToolMissing } from "#/cli/tools.ts";

const machinePath = process.env.PATH!;

async function makeFolder(t: { teardown(callback: () => unknown): void }): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-tools-"));
  t.teardown(() => {
    process.env.PATH = machinePath;
    return rm(dir, { recursive: true, force: true });
  });
  return dir;
}

async function program(folder: string, name: string, script: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

t.test("a program on PATH wins, under any of its names", async (t) => {
  const dir = await makeFolder(t);
  const own = await program(join(dir, "bin"), "node_exporter", "");
  await program(join(dir, "tools", "prometheus-node-exporter", "usr", "bin"), "prometheus-node-exporter", "");
  const options = { toolsDir: join(dir, "tools"), onProgress: (sentence: string) => t.fail(sentence) };
  t.equal(await findTool("prometheus-node-exporter", { ...options, searchPath: join(dir, "bin") }), own);
  const fetched = join(dir, "tools/prometheus-node-exporter/usr/bin/prometheus-node-exporter");
  t.equal(await findTool("prometheus-node-exporter", { ...options, searchPath: "" }), fetched);
});

t.test("a package is fetched with fresh lists when the machine's do not serve, by two at once", async (t) => {
  const dir = await makeFolder(t);
  // They stand for apt-get and dpkg: a download works only with lists of one's own that were updated.
  const apt = `
for word in "$@"; do case "$word" in Dir::State::Lists=*) lists="\${word#*=}";; update|download) verb="$word";; esac; done
[ -d "$lists/partial" ] || { echo "E: no candidate" >&2; exit 100; }
if [ "$verb" = update ]; then touch "$lists/fresh"; else [ -f "$lists/fresh" ] && echo deb > package_1_amd64.deb; fi`;
  await program(join(dir, "bin"), "apt-get", apt);
  const dpkg = `mkdir -p "$3/usr/sbin"; printf '#!/bin/sh\\n' > "$3/usr/sbin/nats-server"; chmod 755 "$3/usr/sbin/nats-server"`;
  await program(join(dir, "bin"), "dpkg", dpkg);
  process.env.PATH = [join(dir, "bin"), machinePath].join(delimiter);
  const sentences: string[] = [];
  const toolsDir = join(dir, "tools");
  await mkdir(join(toolsDir, "fetch-999999999-dead"), { recursive: true });
  const options = { toolsDir, searchPath: "", onProgress: (sentence: string) => sentences.push(sentence) };
  const found = await Promise.all([findTool("nats-server", options), findTool("nats-server", options)]);
  t.same(found, Array(2).fill(join(toolsDir, "nats-server/usr/sbin/nats-server")));
  t.same(await readdir(toolsDir), ["nats-server"], "nothing else is left, not even of a process that died");
  t.equal(sentences.filter((sentence) => sentence === "Fetched nats-server.").length, 2);
});

t.test("what cannot be fetched says what to do", async (t) => {
  const dir = await makeFolder(t);
  const options = { toolsDir: join(dir, "tools"), searchPath: "", onProgress: () => {} };
  process.env.PATH = join(dir, "bin");
  await t.rejects(findTool("promtool", options), {
    code: "no_apt",
    message:
      "promtool was not found, nor apt-get to fetch it: install promtool and put it on PATH (on Debian and Ubuntu: apt install prometheus)",
  });
  await program(join(dir, "bin"), "apt-get", "echo 'E: Temporary failure resolving' >&2; exit 100");
  await program(join(dir, "bin"), "dpkg", "");
  process.env.PATH = [join(dir, "bin"), machinePath].join(delimiter);
  const failure = await findTool("nats-server", options).catch((error: unknown) => error);
  t.type(failure, ToolMissing);
  t.match(failure, {
    code: "not_fetched",
    message: /nats-server could not be fetched \(E: Temporary failure resolving\)/,
  });
  t.same(await readdir(join(dir, "tools")), []);
});
