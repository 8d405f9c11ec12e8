import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import t, { type Test } from "tap";
import { Child, type ChildOptions } from "#/cli/demo/child.ts";
import { writeDemoFiles } from "#/cli/demo/files.ts";
import { rotateLogs } from "#/cli/demo/logs.ts";
import { costOf } from "#/cli/demo/memory.ts";
import { startNetwork } from "#/cli/demo/network.ts";
import { type DemoSizes, planDemo } from "#/cli/demo/plan.ts";
import { takenPorts } from "#/cli/demo/ports.ts";
import { startRelay } from "#/cli/demo/relay.ts";
import { createScreen, oneLine } from "#/cli/demo/screen.ts";
import type { DemoView } from "#/cli/demo/watch.ts";
import { systemClock } from "#/lib/clock/clock.ts";
import type { DatacenterStatus } from "#/lib/model/status.ts";
import { freePort } from "#/test/support/port.ts";
import { parseTopology } from "#/topology/file.ts";

const clock = systemClock();

async function temporary(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-demo-test-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`not within 5 s: ${what}`);
    await clock.sleep(5);
  }
}

const sizes = (dataDir: string): DemoSizes => ({
  dataDir,
  portBase: 9400,
  targets: 200,
  rows: 100,
  interval: "5s",
  secondaries: 2,
  retention: "30m",
  withNodeExporter: true,
});

t.test("the plan's topology is right, has no warnings, and counts every target", async (t) => {
  const plan = planDemo(sizes("/data"));
  const { topology, problems } = parseTopology(plan.topologyText, "topology.yaml");
  t.same(problems, []);
  t.same(
    topology?.datacenters.map(({ name }) => name),
    ["ams", "nyc"],
  );
  // 100 of the fleet and four of its own; ams also has both globals, the demo, the fleet's control and node_exporter.
  t.same(
    plan.datacenters.map(({ name, targets }) => [name, targets]),
    [
      ["ams", 109],
      ["nyc", 104],
    ],
  );
  t.equal(plan.processes.length, 15);
  t.same(
    plan.processes.slice(0, 3).map(({ name }) => name),
    ["hub-nats", "ams-nats", "nyc-nats"],
  );
  t.same(planDemo({ ...sizes("/data"), withNodeExporter: false }).datacenters[0]?.targets, 108);
});

t.test("no port is planned twice, and all lie within the span, however many secondaries there are", async (t) => {
  const plan = planDemo({ ...sizes("/data"), secondaries: 8 });
  t.equal(plan.processes.filter(({ role }) => role === "secondary").length, 16);
  const ports = [
    plan.controlPort,
    plan.fleet.port,
    ...plan.relays.map(({ listenPort }) => listenPort),
    ...plan.processes.flatMap((process) => process.ports.map(({ port }) => port)),
  ];
  t.equal(new Set(ports).size, ports.length);
  t.ok(ports.every((port) => port >= 9400 && port < 9460));
  t.equal(plan.processes.find(({ name }) => name === "global-1")?.httpUrl, "http://127.0.0.1:9400");
  t.equal(plan.processes.find(({ name }) => name === "ams-primary-1")?.httpUrl, "http://127.0.0.1:9420");
});

t.test("secrets are made once, kept, and closed to others", async (t) => {
  const dir = await temporary(t);
  const plan = planDemo(sizes(dir));
  await writeDemoFiles(plan);
  const password = await readFile(join(dir, "secrets", "ams-leaf.password"), "utf8");
  t.match(password, /^[\w-]{32}\n$/);
  for (const file of [
    "secrets/hub.password",
    "secrets/ams-leaf.password",
    "nats/hub-nats.conf",
    "nats/ams-nats.conf",
  ]) {
    t.equal((await stat(join(dir, file))).mode & 0o777, 0o600, file);
  }
  t.match(await readFile(join(dir, "nats", "hub-nats.conf"), "utf8"), password.trim());
  await writeDemoFiles(planDemo({ ...sizes(dir), portBase: 9600 }));
  t.equal(await readFile(join(dir, "secrets", "ams-leaf.password"), "utf8"), password);
});

t.test("a taken port is told with what it is for and who has it", async (t) => {
  const server = createServer();
  t.teardown(() => server.close());
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const plan = planDemo({ ...sizes("/data"), portBase: port - 1 });
  const taken = await takenPorts(plan);
  const found = taken.find((candidate) => candidate.port === port);
  t.equal(found?.use, "global-2, HTTP");
  t.match(found?.holder, new RegExp(`^process ${process.pid}: .*node`));
});

async function echoServer(t: Test): Promise<number> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  return (server.address() as { port: number }).port;
}

function client(port: number): { socket: Socket; text: () => string; ended: () => boolean } {
  const socket = connect({ host: "127.0.0.1", port });
  let [got, over] = ["", false];
  socket.on("data", (bytes) => {
    got += bytes;
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    over = true;
  });
  return { socket, text: () => got, ended: () => over };
}

t.test(
  "a cut link is silent in both directions, keeps its connections, and goes on where it stood when it heals",
  async (t) => {
    const listenPort = await freePort();
    const relay = await startRelay({ listenPort, targetPort: await echoServer(t) });
    t.teardown(() => relay.close());
    const before = client(listenPort);
    before.socket.write("one ");
    await until("the first word to come back", () => before.text() === "one ");

    relay.cut();
    before.socket.write("two ");
    const during = client(listenPort);
    during.socket.write("new ");
    await clock.sleep(150);
    t.equal(before.text(), "one ");
    t.equal(during.text(), "");
    t.notOk(before.ended() || during.ended(), "nobody is told");

    relay.heal();
    await until("what was held back to arrive", () => before.text() === "one two " && during.text() === "new ");
    before.socket.end();
    during.socket.end();
    await until("both ends to end", () => before.ended() && during.ended());
  },
);

t.test("a link that is cut one way still carries what goes the other way, and nothing new begins", async (t) => {
  const listenPort = await freePort();
  const heard: string[] = [];
  let far: Socket | undefined;
  const server = createServer((socket) => {
    far = socket;
    socket.on("error", () => {});
    socket.on("data", (bytes) => heard.push(String(bytes)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  const relay = await startRelay({ listenPort, targetPort: (server.address() as { port: number }).port });
  t.teardown(() => relay.close());
  const near = client(listenPort);
  await until("the connection", () => far !== undefined);
  const first = far!;

  relay.cut("forward");
  near.socket.write("lost for now");
  first.write("answer");
  await until("the answer", () => near.text() === "answer");
  client(listenPort);
  await clock.sleep(100);
  t.same(heard, []);
  t.equal(far, first, "no new connection gets through");
  relay.heal();
  await until("what was held back", () => heard.join("") === "lost for now");

  relay.cut("backward");
  near.socket.write(", and this");
  first.write(" two");
  await until("what still passes", () => heard.join("") === "lost for now, and this");
  t.equal(near.text(), "answer");
  relay.heal();
  await until("the second answer", () => near.text() === "answer two");
});

t.test(
  "a cut of one direction stops the bytes of whoever opened the connection there, and of who answers",
  async (t) => {
    const [outward, inward] = [await freePort(), await freePort()];
    const targetPort = await echoServer(t);
    const network = await startNetwork([
      { name: "ams to the hub", datacenter: "ams", listenPort: outward, targetPort, opens: "outward" },
      { name: "the globals to ams", datacenter: "ams", listenPort: inward, targetPort, opens: "inward" },
    ]);
    t.teardown(() => network.close());
    const [datacenter, global] = [client(outward), client(inward)];
    for (const { socket } of [datacenter, global]) socket.write("1");
    await until("both echoes", () => datacenter.text() === "1" && global.text() === "1");
    network.cut("ams", "out");
    t.same(network.cutOff(), ["ams"]);
    for (const { socket } of [datacenter, global]) socket.write("2");
    await clock.sleep(100);
    t.same([datacenter.text(), global.text()], ["1", "1"], "an echo needs both ways");
    network.heal();
    await until("both again", () => datacenter.text() === "12" && global.text() === "12");
  },
);

t.test("a client that leaves while the link is cut is heard of at the far end only after it heals", async (t) => {
  const listenPort = await freePort();
  const seen: string[] = [];
  const server = createServer((socket) => {
    seen.push("open");
    socket.on("error", () => {});
    socket.on("data", () => {});
    socket.on("end", () => seen.push("end"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  const relay = await startRelay({ listenPort, targetPort: (server.address() as { port: number }).port });
  t.teardown(() => relay.close());
  const { socket } = client(listenPort);
  await until("the connection", () => seen.length === 1);
  relay.cut();
  socket.end("bye");
  await clock.sleep(100);
  t.same(seen, ["open"]);
  relay.heal();
  await until("the end", () => seen.length === 2);
});

function childOf(t: Test, dir: string, script: string, events: string[]): Child {
  const options: ChildOptions = {
    name: "worker",
    command: { program: "/bin/sh", args: ["-c", script] },
    logFile: join(dir, "worker.log"),
    env: process.env,
    setpriv: undefined,
    clock,
    onEvent: (sentence) => events.push(sentence),
  };
  const child = new Child(options);
  t.teardown(() => child.end(100));
  return child;
}

t.test("a process that dies is started again, and one that is held stays down until it is released", async (t) => {
  const dir = await temporary(t);
  const events: string[] = [];
  const child = childOf(t, dir, "echo hello; sleep 60", events);
  const hellos = async () => (await readFile(join(dir, "worker.log"), "utf8")).length / "hello\n".length;
  child.start();
  const first = child.pid!;
  await until("the first line", async () => (await hellos()) === 1);
  t.ok(child.crash());
  await until("the second start", () => child.starts === 2 && child.pid !== undefined);
  t.not(child.pid, first);
  t.same(events, ["worker was ended by SIGKILL; it starts again in 0.2 s."]);

  await until("the second line", async () => (await hellos()) === 2);

  child.hold();
  await until("it to be held", () => child.state === "held");
  await clock.sleep(500);
  t.equal(child.pid, undefined);
  child.release();
  t.equal(child.state, "running");
  await until("the third line", async () => (await hellos()) === 3);
});

t.test("ending asks first, then insists, and reaches grandchildren", async (t) => {
  const dir = await temporary(t);
  const child = childOf(t, dir, `trap '' TERM; sleep 60 & echo $! > ${join(dir, "grandchild")}; wait; sleep 60`, []);
  child.start();
  const file = join(dir, "grandchild");
  await until("the grandchild", async () => (await readFile(file, "utf8").catch(() => "")).endsWith("\n"));
  const startMs = performance.now();
  await child.end(200);
  t.ok(performance.now() - startMs >= 195, "it had its grace");
  const grandchild = Number(await readFile(file, "utf8"));
  await until("the grandchild to be gone", () => !isAlive(grandchild));
  t.equal(child.state, "ended");
  child.start();
  t.equal(child.pid, undefined, "what was ended is not started again");
});

t.test("a paused process stands still until it resumes, and ends at once when it is asked to", async (t) => {
  const dir = await temporary(t);
  const file = join(dir, "ticks");
  const child = childOf(t, dir, `while true; do echo >> ${file}; sleep 0.02; done`, []);
  child.start();
  const ticks = async () => (await stat(file).catch(() => ({ size: 0 }))).size;
  await until("the first ticks", async () => (await ticks()) > 2);
  t.equal(child.pause(), true);
  await clock.sleep(50);
  const before = await ticks();
  await clock.sleep(150);
  t.equal(await ticks(), before);
  t.equal(child.state, "running", "nobody is told");
  child.resume();
  await until("it to go on", async () => (await ticks()) > before);
  child.pause();
  const startMs = performance.now();
  await child.end(4000);
  t.ok(performance.now() - startMs < 2000);
});

t.test("a process that dies at once is started with growing pauses, and its log is named", async (t) => {
  const dir = await temporary(t);
  const events: string[] = [];
  const child = childOf(t, dir, "exit 3", events);
  child.start();
  await until("two ends", () => events.length >= 2);
  t.same(events.slice(0, 2), [
    `worker ended with code 3 (see ${join(dir, "worker.log")}); it starts again in 0.2 s.`,
    `worker ended with code 3 (see ${join(dir, "worker.log")}); it starts again in 0.4 s.`,
  ]);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

t.test("a log that has grown too long is kept once as .1 and begins anew", async (t) => {
  const dir = await temporary(t);
  const [long, short] = [join(dir, "long.log"), join(dir, "short.log")];
  await writeFile(long, "x".repeat(8 * 1024 * 1024 + 1));
  await writeFile(short, "y");
  await rotateLogs([long, short, join(dir, "none.log")]);
  t.equal((await stat(long)).size, 0);
  t.equal((await stat(`${long}.1`)).size, 8 * 1024 * 1024 + 1);
  t.equal((await stat(short)).size, 1);
});

t.test("what a process costs is read from /proc, and nothing of one that is gone", async (t) => {
  const cost = (await costOf(process.pid))!;
  t.ok(cost.memoryBytes > 10e6 && cost.memoryBytes < 1e9, `${cost.memoryBytes} bytes`);
  t.ok(cost.cpuSeconds > 0 && cost.cpuSeconds < 60, `${cost.cpuSeconds} s`);
  t.equal(await costOf(2 ** 30), undefined);
});

const datacenter = (name: string, more: Partial<DatacenterStatus>): DatacenterStatus => ({
  name,
  region: "eu",
  state: "live",
  sinceMs: 0,
  reason: "",
  lagMs: 412,
  targets: 109,
  up: 108,
  down: 1,
  samplesPerSecond: 2180.4,
  lastSampleMs: 0,
  primaries: [],
  secondaries: [],
  ...more,
});

const view: DemoView = {
  readyAfterMs: 9000,
  waitingFor: [],
  cutOff: ["nyc"],
  status: {
    federation: "demo",
    replica: "global-1",
    leader: "global-2",
    nowMs: 0,
    blind: false,
    datacenters: [datacenter("ams", {}), datacenter("nyc", { state: "dark", lagMs: null, region: "us" })],
  },
  processes: ["global-1", "ams-secondary-1"].map((name, i) => ({
    name,
    role: "global",
    datacenter: "",
    pid: i === 0 ? 77 : undefined,
    state: i === 0 ? "running" : "held",
    starts: 1 + i,
    httpUrl: "",
    readyUrl: "",
    memoryBytes: 80 * 1024 * 1024,
    cpuShare: 0.034,
  })),
  own: { memoryBytes: 50 * 1024 * 1024, cpuShare: 0.01 },
};

t.test("without a terminal the state is one line now and then", async (t) => {
  t.equal(
    oneLine(view),
    "ams live, 108/109 up, 2,180 samples/s, lag 0.4 s; nyc dark (cut), ?/109 up, 2,180 samples/s, lag unknown; " +
      "1 of 2 processes, 130 MB, 4 % of a core",
  );
  t.equal(
    oneLine({ ...view, readyAfterMs: undefined, waitingFor: ["global-1", "ams-nats (starting)"] }),
    "Waiting for global-1, ams-nats (starting)",
  );
  const written: string[] = [];
  let nowMs = Date.parse("2026-11-20T17:00:00");
  const screen = createScreen({ output: { write: (text) => Boolean(written.push(text)) }, now: () => nowMs });
  screen.draw(view);
  t.same(written, [], "not at once");
  nowMs += 10_000;
  screen.draw(view);
  screen.draw(view);
  t.equal(written.length, 1);
  t.match(written[0], /^17:00:10 {2}ams live,/);
  screen.tell("ams is cut off.");
  t.equal(written[1], "17:00:10  ams is cut off.\n");
});

t.test("on a terminal the picture is drawn in its place and never wider or taller than the terminal", async (t) => {
  let written = "";
  const output = {
    isTTY: true,
    columns: 60,
    rows: 12,
    write(text: string) {
      written += text;
      return true;
    },
  };
  const screen = createScreen({ output, now: () => 0 });
  screen.draw(view);
  const first = written;
  const lines = stripVTControlCharacters(first).replaceAll("\r", "").trimEnd().split("\n");
  t.ok(lines.length <= 11, `${lines.length} lines`);
  t.ok(lines.every((line) => line.length <= 60));
  t.same(lines.slice(1, 9), [
    "Data centres  (leader global-2, as global-1 tells)",
    "       region  link  state  targets up  down  samples/s    …",
    "  ams  eu      open  live      108/109     1      2,180    …",
    "  nyc  us      CUT   dark        ?/109     ?      2,180  un…",
    "",
    "Processes  (1 of 2 processes, 130 MB, 4 % of a core)",
    "  global-1 80 MB             ams-secondary-1 DOWN ×2",
    "",
  ]);
  written = "";
  screen.draw(view);
  t.ok(written.includes(`\x1b[${first.trimEnd().split("\n").length}A`), "it goes up by as many lines as it drew");
  written = "";
  screen.close();
  t.equal(written, "\x1b[?25h", "the cursor is back");
});
