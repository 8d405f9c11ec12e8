// The programs of others that the demo and the tests run: found, or fetched without root.
//
// A program on PATH wins. Else its Debian package is downloaded and unpacked below `.tools/`, because installing
// nats-server or node_exporter needs root and starts services on 4222 and 9100. Each fetch works in a folder of its own and
// ends with one rename, so two processes that fetch at once cost a second download and nothing else.

import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

/** `programs`: names under which it goes, the first one in the Debian package at `path`. */
const tools = {
  "nats-server": { programs: ["nats-server"], package: "nats-server", path: "usr/sbin/nats-server" },
  "prometheus-node-exporter": {
    programs: ["prometheus-node-exporter", "node_exporter"],
    package: "prometheus-node-exporter",
    path: "usr/bin/prometheus-node-exporter",
  },
  prometheus: { programs: ["prometheus"], package: "prometheus", path: "usr/bin/prometheus" },
  vmagent: { programs: ["vmagent"], package: "victoria-metrics", path: "usr/bin/vmagent" },
  "prometheus-blackbox-exporter": {
    programs: ["prometheus-blackbox-exporter", "blackbox_exporter"],
    package: "prometheus-blackbox-exporter",
    path: "usr/bin/prometheus-blackbox-exporter",
  },
  "prometheus-pushgateway": {
    programs: ["prometheus-pushgateway", "pushgateway"],
    package: "prometheus-pushgateway",
    path: "usr/bin/prometheus-pushgateway",
  },
  etcd: { programs: ["etcd"], package: "etcd-server", path: "usr/bin/etcd" },
  promtool: { programs: ["promtool"], package: "prometheus", path: "usr/bin/promtool" },
} as const satisfies Record<string, { programs: readonly string[]; package: string; path: string }>;

export type ToolName = keyof typeof tools;

/** Daemons lie in sbin, which is not on everybody's PATH. */
const moreFolders = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin"];

/** A download over a slow line; apt itself gives up on a dead one after two minutes. */
const commandTimeoutMs = 300_000;

export type ToolErrorCode = "no_apt" | "not_fetched" | "not_writable";

export class ToolMissing extends Error {
  override readonly name = "ToolMissing";
  readonly code: ToolErrorCode;

  constructor(code: ToolErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface FindToolOptions {
  /** Told what takes a while, in sentences. */
  readonly onProgress: (sentence: string) => void;
  /** `.tools` of the checkout unless given. */
  readonly toolsDir?: string;
  /** The folders to look in first, as in PATH; the environment's unless given. */
  readonly searchPath?: string;
  readonly signal?: AbortSignal;
}

/** The absolute path of a program that can be run. Throws ToolMissing, whose message says what to do. */
export async function findTool(name: ToolName, options: FindToolOptions): Promise<string> {
  const tool = tools[name];
  const folders = options.searchPath ?? [process.env.PATH ?? "", ...moreFolders].join(delimiter);
  for (const program of tool.programs) {
    for (const folder of folders.split(delimiter).filter(Boolean)) {
      const path = join(folder, program);
      if (await isExecutable(path)) return path;
    }
  }
  const toolsDir = options.toolsDir ?? join(import.meta.dirname, "..", ".tools");
  const path = join(toolsDir, tool.package, tool.path);
  if (await isExecutable(path)) return path;
  await fetchPackage(tool.package, { ...options, toolsDir, wantedBy: name });
  if (await isExecutable(path)) return path;
  throw new ToolMissing("not_fetched", `the Debian package ${tool.package} has no ${tool.path}: ${whatToDo(name)}`);
}

interface FetchOptions {
  readonly onProgress: (sentence: string) => void;
  readonly toolsDir: string;
  readonly wantedBy: ToolName;
  readonly signal?: AbortSignal;
}

async function fetchPackage(packageName: string, options: FetchOptions): Promise<void> {
  const { onProgress, toolsDir, wantedBy } = options;
  for (const program of ["apt-get", "dpkg"]) {
    if (!(await isOnPath(program))) {
      throw new ToolMissing("no_apt", `${wantedBy} was not found, nor ${program} to fetch it: ${whatToDo(wantedBy)}`);
    }
  }
  const workDir = await makeWorkDir(toolsDir, wantedBy);
  try {
    onProgress(`Fetching the Debian package ${packageName} into ${toolsDir} (without root, nothing is installed).`);
    const archive = await download(packageName, workDir, options);
    const unpackedDir = join(workDir, "unpacked");
    await run("dpkg", ["-x", archive, unpackedDir], workDir, options.signal);
    await rename(unpackedDir, join(toolsDir, packageName)).catch((error: NodeJS.ErrnoException) => {
      // Another process was faster: its copy is as good as ours.
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
    onProgress(`Fetched ${packageName}.`);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof ToolMissing) throw error;
    const said = lastLine((error as { stderr?: string }).stderr) ?? (error as Error).message;
    throw new ToolMissing("not_fetched", `${wantedBy} could not be fetched (${said}): ${whatToDo(wantedBy)}`, {
      cause: error,
    });
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

/** With the machine's package lists when they serve; they may be empty or out of date, and then with lists of our own. */
async function download(packageName: string, workDir: string, options: FetchOptions): Promise<string> {
  const archiveDir = join(workDir, "archive");
  await mkdir(archiveDir);
  // Apt as root would drop to a user that may not write here; without root this changes nothing.
  const asWeAre = ["-o", "APT::Sandbox::User=root", "-q"];
  try {
    await run("apt-get", [...asWeAre, "download", packageName], archiveDir, options.signal);
  } catch {
    options.signal?.throwIfAborted();
    options.onProgress("This machine's package lists do not serve: fetching fresh ones.");
    const [lists, cache] = [join(workDir, "lists"), join(workDir, "cache")];
    await mkdir(join(lists, "partial"), { recursive: true });
    await mkdir(join(cache, "archives", "partial"), { recursive: true });
    const own = [...asWeAre, "-o", `Dir::State::Lists=${lists}`, "-o", `Dir::Cache=${cache}`];
    await run("apt-get", [...own, "-o", "Acquire::Languages=none", "update"], archiveDir, options.signal);
    await run("apt-get", [...own, "download", packageName], archiveDir, options.signal);
  }
  const archive = (await readdir(archiveDir)).find((file) => file.endsWith(".deb"));
  if (!archive) throw new Error(`apt-get download ${packageName} left no file`);
  return join(archiveDir, archive);
}

/** A new folder below `.tools`; those of processes that died are removed. */
async function makeWorkDir(toolsDir: string, wantedBy: ToolName): Promise<string> {
  try {
    await mkdir(toolsDir, { recursive: true });
    for (const entry of await readdir(toolsDir)) {
      const pid = Number(/^fetch-(\d+)-/.exec(entry)?.[1] ?? Number.NaN);
      if (pid && !isAlive(pid)) await rm(join(toolsDir, entry), { recursive: true, force: true });
    }
    return await mkdtemp(join(toolsDir, `fetch-${process.pid}-`));
  } catch (error) {
    throw new ToolMissing("not_writable", `${toolsDir} cannot be written: ${whatToDo(wantedBy)}`, { cause: error });
  }
}

function whatToDo(name: ToolName): string {
  const { package: packageName, programs } = tools[name];
  return `install ${programs.join(" or ")} and put it on PATH (on Debian and Ubuntu: apt install ${packageName})`;
}

const execFileAsync = promisify(execFile);

async function run(program: string, args: readonly string[], cwd: string, signal: AbortSignal | undefined) {
  const env = { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" };
  await execFileAsync(program, [...args], { cwd, env, timeout: commandTimeoutMs, ...(signal && { signal }) });
}

async function isOnPath(program: string): Promise<boolean> {
  for (const folder of (process.env.PATH ?? "").split(delimiter).filter(Boolean)) {
    if (await isExecutable(join(folder, program))) return true;
  }
  return false;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function lastLine(text: string | undefined): string | undefined {
  return text?.trim().split("\n").at(-1) || undefined;
}
