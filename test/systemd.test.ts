import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { parseTopology } from "#/topology/file.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");
const units = [
  "secondary/heliograph-secondary@.service",
  "primary/heliograph-primary@.service",
  "global/heliograph-global@.service",
  "topology/heliograph-nats@.service",
];
const analyze = ["/usr/bin/systemd-analyze", "/bin/systemd-analyze"].find((path) => existsSync(path));
const needsAnalyze = analyze ? {} : { skip: "systemd-analyze is not installed (Debian package systemd)" };

t.test("systemd finds nothing wrong with the units", needsAnalyze, async (t) => {
  // A host as docs/operating/systemd.md leaves it, as far as systemd looks at it: the programs, and its own targets.
  const host = await mkdtemp(join(tmpdir(), "heliograph-units-"));
  t.teardown(() => rm(host, { recursive: true }));
  for (const program of ["opt/heliograph/bin/heliograph", "usr/sbin/nats-server", "usr/bin/kill"]) {
    await mkdir(join(host, dirname(program)), { recursive: true });
    await writeFile(join(host, program), "#!/bin/sh\n");
    await chmod(join(host, program), 0o755);
  }
  for (const dir of ["bin", "sbin", "lib"]) await symlink(`usr/${dir}`, join(host, dir)).catch(() => {});
  await cp("/lib/systemd/system", join(host, "usr/lib/systemd/system"), { recursive: true, verbatimSymlinks: true });
  await mkdir(join(host, "etc/systemd/system"), { recursive: true });
  for (const unit of units) await cp(join(root, unit), join(host, "etc/systemd/system", basename(unit)));
  for (const unit of units) {
    const instance = basename(unit).replace("@", "@ams1-x");
    const { stdout, stderr } = await run(analyze!, ["verify", `--root=${host}`, instance]);
    t.equal(stdout + stderr, "", unit);
  }
});

t.test("each unit's exposure is at most 3 of 10", needsAnalyze, async (t) => {
  for (const unit of units) {
    const { stdout } = await run(analyze!, ["security", "--offline=true", "--no-pager", join(root, unit)]);
    const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
    t.ok(exposure <= 3, `${unit}: ${exposure}`);
  }
});

t.test("each unit starts a subcommand that exists, with options that it knows", async (t) => {
  for (const unit of units) {
    const text = await readFile(join(root, unit), "utf8");
    const start = /^ExecStart=(.*)$/m.exec(text)?.[1] ?? "";
    const documentation = /^Documentation=file:\/\/\/opt\/heliograph\/(.*)$/m.exec(text)?.[1] ?? "";
    t.ok(existsSync(join(root, documentation)), `${unit}: ${documentation}`);
    if (unit.startsWith("topology/")) continue;
    const [program, subcommand = "", ...options] = start.split(" ");
    t.equal(program, "/opt/heliograph/bin/heliograph");
    const { stdout } = await run(join(root, "bin/heliograph"), [subcommand, "--help"]);
    for (const option of options.filter((each) => each.startsWith("--"))) t.match(stdout, option, `${unit}: ${option}`);
    t.match(text, `--data /var/lib/heliograph/%i`);
    t.match(text, "StateDirectory=heliograph/%i");
    t.match(text, /^Type=notify\nNotifyAccess=all$/m);
    t.match(text, /^WatchdogSec=30\nRestart=always$/m);
  }
});

const walk = await readFile(join(root, "docs/operating/systemd.md"), "utf8");
const blocks = [...walk.matchAll(/```\w+\n([\s\S]*?)```/g)].map(([, text]) => text!);

t.test("the walk's topology file is right", (t) => {
  const topology = blocks.find((text) => text.startsWith("format_version")) ?? "";
  const { problems } = parseTopology(topology, "topology.yaml");
  t.same(
    problems.filter(({ severity }) => severity === "error"),
    [],
  );
  t.end();
});

const openssl = "/usr/bin/openssl";
const needsOpenssl = existsSync(openssl) ? {} : { skip: "openssl is not installed" };

t.test("the walk's certificates are what the tiers ask for", needsOpenssl, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-pki-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const script = blocks.find((text) => text.includes("openssl req -x509")) ?? "";
  await run("/bin/sh", ["-e", "-c", script], { cwd: dir });
  for (const name of ["ams1-nats", "ams1-primary-b", "ams1-secondary-2"]) {
    const verify = ["verify", "-CAfile", "ca.pem", "-purpose", "sslclient", `${name}.pem`];
    t.equal((await run(openssl, verify, { cwd: dir })).stdout, `${name}.pem: OK\n`);
    const show = ["x509", "-noout", "-ext", "subjectAltName", "-in", `${name}.pem`];
    const { stdout } = await run(openssl, show, { cwd: dir });
    t.match(stdout, new RegExp(`URI:heliograph://example/\\w+/${name}, DNS:ams-[ab]\\.example`));
  }
});
