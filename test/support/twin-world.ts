// One data centre and a hub on the twin, for the conformance suite: simulated time runs by itself, as fast as it can.

import { openBackChannel } from "#/lib/commitlog/backchannel.ts";
import { openDatacenterLog } from "#/lib/commitlog/datacenter.ts";
import { openHubLog } from "#/lib/commitlog/hub.ts";
import { connectTwin, joinTwins, TwinServer } from "#/lib/commitlog/twin.ts";
import { TwinLine } from "#/lib/commitlog/twin-line.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import type { NatsLink } from "#/lib/wire/jetstream.ts";
import { worldClock } from "#/test/sim/clock.ts";
import { Scheduler } from "#/test/sim/scheduler.ts";
import type { LogWorld } from "#/test/support/commitlog-world.ts";

const log = silentLogger();
const account = "DC_AMS";

export async function twinWorld(): Promise<LogWorld> {
  const scheduler = new Scheduler();
  const clock = worldClock(scheduler);
  const random = seededRandom(Number(process.env.SEED ?? 1));
  const [datacenter, hub] = ["ams", "hub"].map(
    (domain) => new TwinServer({ domain, clock, random, syncEveryMs: 1e9, restartsWhenRoom: false }),
  ) as [TwinServer, TwinServer];
  const [near, leaf] = [new TwinLine({ clock, random }), new TwinLine({ clock, random, delayMs: 5 })];
  joinTwins({ datacenter, hub, account, line: leaf });
  let isOver = false;
  void scheduler.run(Number.POSITIVE_INFINITY, () => isOver);
  const links: NatsLink[] = [];
  const connected = async (server: TwinServer) => {
    const link = connectTwin({
      server,
      account: server === hub ? account : "",
      line: near,
      clock,
      random,
      log,
    });
    links.push(link);
    while (!link.connected) await clock.sleep(5);
    return link;
  };
  const started = async (server: TwinServer) => {
    server.start();
    while (!server.isRunning) await clock.sleep(5);
  };
  await clock.sleep(3000);
  return {
    async openPrimary({ bytesMax = 200 * 1024 * 1024, outlastsPowerCuts = true } = {}) {
      const limits = { bytesMax, ageMaxMs: 3_600_000, replicas: 1 };
      const metrics = createRegistry({ tier: "primary" });
      const link = await connected(datacenter);
      return openDatacenterLog({ link, datacenter: "ams", limits, outlastsPowerCuts, clock, log, metrics });
    },
    async openGlobal() {
      const metrics = createRegistry({ tier: "global" });
      const link = await connected(hub);
      return openHubLog({ link, datacenter: "ams", domain: "ams", replicas: 1, clock, log, metrics });
    },
    datacenterLink: () => connected(datacenter),
    async primaryChannel() {
      const metrics = createRegistry({ tier: "primary" });
      return openBackChannel({ link: await connected(datacenter), datacenter: "ams", log, metrics });
    },
    async globalChannel() {
      const metrics = createRegistry({ tier: "global" });
      return openBackChannel({ link: await connected(hub), datacenter: "ams", log, metrics });
    },
    killDatacenter: async () => datacenter.kill(),
    startDatacenter: () => started(datacenter),
    killHub: async () => hub.kill(),
    startHub: () => started(hub),
    cut: () => leaf.cut(),
    heal() {
      // As the relay before the real one does.
      leaf.reset();
      leaf.heal();
    },
    // What was not there at the time of the copy was never synced, and is lost.
    async copyDisk() {
      datacenter.sync();
      return "synced";
    },
    async replaceDisk(copy) {
      if (copy === undefined) datacenter.wipe();
      else datacenter.powerCut(({ isNew }) => ({ entries: isNew ? -1 : 0, keepsSettings: false }));
    },
    async loseSince(_copy, { streams = [], settings = [], torn = [], unreadable = [] }) {
      datacenter.powerCut(({ stream, entries }) => ({
        entries: [...streams, ...unreadable].includes(stream) ? -1 : entries,
        tearsLast: torn.includes(stream),
        keepsSettings: !settings.includes(stream),
      }));
    },
    useSmallDisks: async () => undefined,
    async fillDisk(of) {
      (of === "hub" ? hub : datacenter).diskFull = true;
    },
    async makeRoom(of) {
      (of === "hub" ? hub : datacenter).diskFull = false;
    },
    pauseDatacenter: () => datacenter.pause(),
    resumeDatacenter: () => datacenter.resume(),
    standstillMs: 40_000,
    sleep: (ms, signal) => clock.sleep(ms, signal),
    async close() {
      await Promise.all(links.map((link) => link.close()));
      isOver = true;
    },
  };
}
