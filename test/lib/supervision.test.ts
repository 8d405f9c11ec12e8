import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import t from "tap";
import { systemClock } from "#/lib/clock/clock.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { createNotifier, runCommand } from "#/lib/supervision/notify.ts";
import { manualClock } from "#/test/support/manual-clock.ts";

function notifier(env: Record<string, string>, healthy: () => string | undefined = () => undefined) {
  const clock = manualClock();
  const sent: string[] = [];
  const run = async (command: string, args: readonly string[], commandEnv: Readonly<Record<string, string>>) => {
    sent.push([commandEnv.NOTIFY_SOCKET, command, ...args].join(" "));
  };
  return { clock, sent, notify: createNotifier({ env, run, clock, log: silentLogger(), healthy }) };
}

t.test("outside systemd nothing is run", async (t) => {
  const { clock, sent, notify } = notifier({ WATCHDOG_USEC: "3000000" });
  notify.ready("listens");
  notify.status("works");
  await clock.advance(10_000);
  await notify.stopping();
  t.same(sent, []);
});

t.test("ready, then a watchdog message at each third of the period, then stopping and nothing more", async (t) => {
  const { clock, sent, notify } = notifier({ NOTIFY_SOCKET: "/run/s", WATCHDOG_USEC: "30000000" });
  await clock.advance(60_000);
  t.same(sent, [], "no watchdog message before it is ready");
  notify.ready("listens on\n127.0.0.1:9470");
  await clock.advance(25_000);
  await notify.stopping();
  notify.status("too late");
  await clock.advance(60_000);
  t.same(sent, [
    "/run/s systemd-notify --ready --status=listens on 127.0.0.1:9470",
    "/run/s systemd-notify WATCHDOG=1",
    "/run/s systemd-notify WATCHDOG=1",
    "/run/s systemd-notify STOPPING=1",
  ]);
});

t.test("the watchdog is fed only while the process calls itself healthy", async (t) => {
  let reason: string | undefined;
  const { clock, sent, notify } = notifier({ NOTIFY_SOCKET: "@s", WATCHDOG_USEC: "3000000" }, () => reason);
  notify.ready("");
  await clock.advance(1000);
  reason = "the journal cannot be written";
  await clock.advance(5000);
  t.equal(sent.filter((line) => line.endsWith("WATCHDOG=1")).length, 1);
  reason = undefined;
  await clock.advance(1000);
  t.equal(sent.filter((line) => line.endsWith("WATCHDOG=1")).length, 2);
});

t.test("without a watchdog in the unit only ready is said", async (t) => {
  const { clock, sent, notify } = notifier({ NOTIFY_SOCKET: "/run/s" });
  notify.ready("listens");
  await clock.advance(60_000);
  t.same(sent, ["/run/s systemd-notify --ready --status=listens"]);
});

t.test("a systemd-notify that hangs holds up nothing and is not piled up on", async (t) => {
  const clock = manualClock();
  let started = 0;
  const notify = createNotifier({
    env: { NOTIFY_SOCKET: "/run/s", WATCHDOG_USEC: "3000000" },
    run() {
      started++;
      return new Promise(() => {});
    },
    clock,
    log: silentLogger(),
    healthy: () => undefined,
  });
  notify.ready("listens");
  await clock.advance(100_000);
  t.equal(started, 1);
});

t.test("a systemd-notify that fails is told once, and tried again", async (t) => {
  const clock = manualClock();
  const warnings: string[] = [];
  let runs = 0;
  const notify = createNotifier({
    env: { NOTIFY_SOCKET: "/run/s", WATCHDOG_USEC: "3000000" },
    async run() {
      runs++;
      throw new Error("ENOENT");
    },
    clock,
    log: { ...silentLogger(), warn: (_, sentence) => warnings.push(sentence) },
    healthy: () => undefined,
  });
  notify.ready("listens");
  await clock.advance(5000);
  t.equal(runs, 6);
  t.same(warnings, ["systemd could not be told how this process does."]);
});

const listener = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    # A file descriptor comes along with the barrier that systemd-notify waits for: closing it lets it go on.
    data, fds, _, _ = socket.recv_fds(s, 4096, 4)
    for fd in fds: os.close(fd)
    for line in data.decode().split("\\n"):
        if line and not line.startswith(("BARRIER", "MAINPID")): print(line, flush=True)
`;

const lacking = ["/usr/bin/systemd-notify", "/usr/bin/python3"].filter((path) => !existsSync(path));
t.test(
  "the real systemd-notify brings every message to a real socket, in order",
  { skip: lacking.length > 0 ? `not installed here: ${lacking.join(", ")}` : false },
  async (t) => {
    const dir = await mkdtemp(join(tmpdir(), "heliograph-notify-"));
    const socket = join(dir, "notify");
    const child: ChildProcess = spawn("/usr/bin/python3", ["-c", listener, socket], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.teardown(async () => {
      child.kill();
      await rm(dir, { recursive: true });
    });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const next = async () => (await lines.next()).value;
    t.equal(await next(), "bound");
    const notify = createNotifier({
      env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: "600000" },
      run: runCommand,
      clock: systemClock(),
      log: silentLogger(),
      healthy: () => undefined,
    });
    notify.ready("listens on 127.0.0.1:9470");
    t.same([await next(), await next()].sort(), ["READY=1", "STATUS=listens on 127.0.0.1:9470"]);
    t.equal(await next(), "WATCHDOG=1");
    const stopped = notify.stopping();
    let last = await next();
    while (last === "WATCHDOG=1") last = await next();
    t.equal(last, "STOPPING=1");
    await stopped;
  },
);
