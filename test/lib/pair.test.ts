import t from "tap";
import { type Clock, systemClock } from "#/lib/clock/clock.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { openLeaseStore } from "#/lib/pair/kv.ts";
import { Lease, leaseLengthMs } from "#/lib/pair/lease.ts";
import type { LeaseStore } from "#/lib/pair/store.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { memoryLeaseStore } from "#/test/support/lease-store.ts";
import { type ManualClock, manualClock } from "#/test/support/manual-clock.ts";
import { connectPrimaries, startDatacenter, testTopology } from "#/test/support/nats.ts";

const lengthMs = 3000;

function contender(name: string, store: LeaseStore, clock: Clock, seed = 1, tokenFloor = () => 0): Lease {
  return new Lease({
    store,
    tokenFloor,
    holder: name,
    incarnation: `${name} since ${clock.monotonicMs()}`,
    lengthMs,
    clock,
    random: seededRandom(seed),
    log: silentLogger(),
    metrics: createRegistry({ tier: "primary" }),
  });
}

/** A process that can be stopped: its timers and awaited sleeps fire late, its monotonic clock goes on. */
function pausable(clock: Clock): Clock & { pause(): void; resume(): void } {
  let paused = false;
  let late: (() => void)[] = [];
  const whenRunning = (callback: () => void) => () => {
    if (paused) late.push(callback);
    else callback();
  };
  return {
    ...clock,
    after: (delayMs, callback) => clock.after(delayMs, whenRunning(callback)),
    every: (periodMs, callback) => clock.every(periodMs, whenRunning(callback)),
    sleep: (delayMs, signal) =>
      clock.sleep(delayMs, signal).then(() => new Promise((resolve) => whenRunning(resolve)())),
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      const callbacks = late;
      late = [];
      for (const callback of callbacks) callback();
    },
  };
}

t.test("of two contenders one holds the lease, and both know which", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const [a, b] = [contender("a", store.client(clock), clock), contender("b", store.client(clock), clock, 2)];
  a.start();
  await clock.advance(10);
  b.start();
  await clock.advance(20_000);
  t.equal(a.held(), true);
  t.equal(b.held(), false);
  t.equal(a.holder, "a");
  t.equal(b.holder, "a");
  t.equal(a.token, 1_700_000_000_001, "the ms at which the store was new, and the first revision");
  t.equal(b.token, 0);
  await a.close();
  await b.close();
});

t.test("a holder that closes hands over within half a second", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const [a, b] = [contender("a", store.client(clock), clock), contender("b", store.client(clock), clock, 2)];
  a.start();
  await clock.advance(10);
  b.start();
  await clock.advance(5000);
  const token = a.token;
  await a.close();
  await clock.advance(500);
  t.equal(a.held(), false);
  t.equal(b.held(), true);
  t.ok(b.token > token);
  await b.close();
});

t.test("tokens grow although the store lost its last writes in a power cut and counts them again", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const [a, b] = [contender("a", store.client(clock), clock), contender("b", store.client(clock), clock, 2)];
  a.start();
  await clock.advance(10);
  const synced = store.record!;
  b.start();
  await clock.advance(20_000);
  await a.close();
  await clock.advance(5000);
  const token = b.token;
  t.ok(token > 1_700_000_000_001 + 10, "many revisions after the one that is left");
  store.rewind(synced);
  await clock.advance(10_000);
  t.equal(b.held(), true);
  t.ok(b.token > token, `${b.token} after ${token}`);
  await b.close();
});

/** A pair of which the second took the lease over, and a store that then lost all but the first one's first record. */
async function restartedPair(clock: ManualClock) {
  const store = memoryLeaseStore();
  const [a, b] = [contender("a", store.client(clock), clock), contender("b", store.client(clock), clock, 2)];
  a.start();
  await clock.advance(10);
  const synced = store.record!;
  b.start();
  await clock.advance(60_000);
  await a.close();
  await clock.advance(5000);
  const { token } = b;
  await b.close();
  store.rewind(synced);
  return { store, token };
}

t.test("tokens grow although the store lost its last writes and both of the pair remember nothing", async (t) => {
  const clock = manualClock();
  const { store, token } = await restartedPair(clock);
  const c = contender("c", store.client(clock), clock);
  c.start();
  await clock.advance(4000);
  t.ok(c.token > token, `${c.token} after ${token}`);
  await c.close();
});

t.test("also when the wall clock was set back, as long as one token is remembered", async (t) => {
  const clock = manualClock();
  const { store, token } = await restartedPair(clock);
  clock.step(-3_600_000);
  const forgetful = contender("c", store.client(clock), clock);
  forgetful.start();
  await clock.advance(4000);
  t.ok(forgetful.token > 0 && forgetful.token < token, "this is why it must be remembered");
  await forgetful.close();
  const c = contender("c", store.client(clock), clock, 1, () => token);
  c.start();
  await clock.advance(4000);
  t.ok(c.token > token, `${c.token} after ${token}`);
  await c.close();
});

t.test(
  "also when it was set back while the process runs that acquires it next, and that saw nothing of the other one",
  async (t) => {
    const clock = manualClock();
    const store = memoryLeaseStore();
    const cut = store.client(clock);
    const c = contender("c", cut, clock, 2);
    cut.away = true;
    c.start();
    await clock.advance(60_000);
    const a = contender("a", store.client(clock), clock);
    a.start();
    await clock.advance(10_000);
    const { token } = a;
    t.ok(token > 0);
    await a.close();
    store.lose();
    clock.step(-3_600_000);
    cut.away = false;
    await clock.advance(10_000);
    t.ok(c.token > token, `${c.token} after ${token}`);
    await c.close();
  },
);

t.test("who gives the lease up no longer holds it, though nobody says that it was written", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const client = store.client(clock);
  const a = contender("a", client, clock);
  const b = contender("b", store.client(clock), clock, 2);
  a.start();
  await clock.advance(1000);
  b.start();
  await clock.advance(1000);
  client.delayMs = 1000;
  const closed = a.close();
  // It is written by now, and the answer is on its way.
  await clock.advance(1500);
  t.equal(b.held(), true);
  t.equal(a.held(), false);
  await clock.advance(2000);
  await closed;
  await b.close();
});

t.test("who holds the lease and learns of a higher token takes it anew under one still higher", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  let known = 0;
  const a = contender("a", store.client(clock), clock, 1, () => known);
  const tokens: number[] = [];
  a.onChange(() => tokens.push(a.token));
  a.start();
  await clock.advance(2000);
  known = a.token;
  await clock.advance(2000);
  t.same(tokens, [1_700_000_000_001], "its own is no higher one");
  known = 1_800_000_000_000;
  await clock.advance(2000);
  t.same(tokens, [1_700_000_000_001, 0, 1_800_000_000_001]);
  t.equal(a.held(), true);
  await a.close();
});

t.test("a holder whose older record the store went back to tells its successor of its token", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const clockOfA = pausable(clock);
  const [a, b] = [contender("a", store.client(clockOfA), clockOfA), contender("b", store.client(clock), clock, 2)];
  a.start();
  await clock.advance(10);
  const synced = store.record!;
  clockOfA.pause();
  b.start();
  await clock.advance(60_000);
  clockOfA.resume();
  await b.close();
  await clock.advance(1000);
  const { token } = a;
  store.rewind(synced);
  await clock.advance(3000);
  t.equal(a.token, token, "it holds on");
  await a.close();
  clock.step(-3_600_000);
  const c = contender("c", store.client(clock), clock);
  c.start();
  await clock.advance(4000);
  t.ok(c.token > token, `${c.token} after ${token}`);
  await c.close();
});

t.test("a candidate that finds its own old record again does not take it for the present one", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const clockOfB = pausable(clock);
  const [a, b] = [contender("a", store.client(clock), clock), contender("b", store.client(clockOfB), clockOfB, 2)];
  b.start();
  await clock.advance(2000);
  const synced = store.record!;
  clockOfB.pause();
  a.start();
  await clock.advance(5000);
  clockOfB.resume();
  await clock.advance(1000);
  for (const loss of ["the last writes", "all"]) {
    t.equal(a.held(), true);
    if (loss === "all") store.lose();
    else store.rewind(synced);
    let both = 0;
    for (let i = 0; i < 1000; i++) {
      await clock.advance(10);
      if (a.held() && b.held()) both++;
    }
    t.equal(both, 0, `${loss} lost`);
    t.equal(a.held() || b.held(), true);
    if (b.held()) {
      await clock.advance(100);
      clockOfB.pause();
      await clock.advance(5000);
      clockOfB.resume();
      await clock.advance(1000);
    }
  }
  await Promise.all([a.close(), b.close()]);
});

t.test("a revision that comes again after a power cut of the store is not taken for the old record", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const away = store.client(clock);
  const [a, b, c] = [
    contender("a", store.client(clock), clock),
    contender("b", away, clock, 2),
    contender("c", store.client(clock), clock, 3),
  ];
  a.start();
  await clock.advance(10);
  const synced = store.record!;
  b.start();
  await clock.advance(10_000);
  const { revision } = store.record!;
  away.away = true;
  await a.close();
  store.rewind(synced);
  c.start();
  while (store.record!.revision < revision) await clock.advance(50);
  t.equal(c.held(), true);
  away.away = false;
  await clock.advance(600);
  t.equal(b.held(), false, "the other one's new record has the revision that was seen for seconds");
  t.equal(c.held(), true);
  await Promise.all([b.close(), c.close()]);
});

t.test("a holder that dies is replaced after its lease, and not before", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const clockOfA = pausable(clock);
  const [a, b] = [contender("a", store.client(clockOfA), clockOfA), contender("b", store.client(clock), clock, 2)];
  a.start();
  await clock.advance(10);
  b.start();
  await clock.advance(5000);
  clockOfA.pause();
  const diedMs = clock.monotonicMs();
  while (!b.held()) await clock.advance(10);
  const goneMs = clock.monotonicMs() - diedMs;
  t.ok(goneMs >= 2000 && goneMs <= 3500, `after ${goneMs} ms`);
  clockOfA.resume();
  await clock.advance(1000);
  t.equal(a.holder, "b");
  t.equal(a.held(), false);
  await Promise.all([a.close(), b.close()]);
});

t.test("a paused holder knows at once that its lease is over, before anything of it ran", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const clockOfA = pausable(clock);
  const a = contender("a", store.client(clockOfA), clockOfA);
  a.start();
  await clock.advance(5000);
  t.equal(a.held(), true);
  clockOfA.pause();
  await clock.advance(2700);
  t.equal(a.held(), false);
  t.equal(a.token, 0);
  clockOfA.resume();
  await a.close();
});

t.test("a renewal whose answer is lost does not cost the lease", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const client = store.client(clock);
  const a = contender("a", client, clock);
  const b = contender("b", store.client(clock), clock, 2);
  a.start();
  await clock.advance(10);
  b.start();
  await clock.advance(2500);
  const token = a.token;
  const before = store.record!.revision;
  client.loseAnswers = true;
  while (store.record!.revision === before) await clock.advance(10);
  client.loseAnswers = false;
  for (let i = 0; i < 100; i++) {
    await clock.advance(100);
    if (!a.held() || b.held()) t.fail("the lease moved");
  }
  t.equal(a.token, token);
  await Promise.all([a.close(), b.close()]);
});

t.test(
  "with the store away nobody holds the lease after its length, and it is there again when the store is",
  async (t) => {
    const clock = manualClock();
    const store = memoryLeaseStore();
    const [clientA, clientB] = [store.client(clock), store.client(clock)];
    const [a, b] = [contender("a", clientA, clock), contender("b", clientB, clock, 2)];
    let changes = 0;
    a.onChange(() => changes++);
    a.start();
    await clock.advance(10);
    b.start();
    await clock.advance(5000);
    t.equal(changes, 1);
    clientA.away = true;
    clientB.away = true;
    await clock.advance(3100);
    t.equal(a.held() || b.held(), false);
    t.equal(changes, 2, "the loss is told");
    t.equal(b.holder, "");
    clientA.away = false;
    clientB.away = false;
    await clock.advance(500);
    t.equal(a.held() || b.held(), true);
    await Promise.all([a.close(), b.close()]);
  },
);

t.test("the fencing token still grows when the store lost its disk", async (t) => {
  const clock = manualClock();
  const store = memoryLeaseStore();
  const a = contender("a", store.client(clock), clock);
  a.start();
  await clock.advance(60_000);
  const token = a.token;
  store.lose();
  const before = clock.monotonicMs();
  while (a.token === token || a.token === 0) await clock.advance(50);
  t.ok(clock.monotonicMs() - before < 4000);
  t.ok(a.token > token);
  await a.close();
});

t.test("never two holders, never a lower token, whatever the store and the processes do", async (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.comment(`SEED=${seed}`);
  const random = seededRandom(seed);
  const clock = manualClock();
  const store = memoryLeaseStore();
  const contenders = ["a", "b"].map((name, index) => {
    const own = pausable(clock);
    const client = store.client(own);
    const lease = contender(name, client, own, seed + index);
    lease.start();
    return { own, client, lease };
  });
  let highest = 0;
  let moves = 0;
  for (let step = 0; step < 1500; step++) {
    const { own, client } = contenders[random.below(2)]!;
    if (random.below(10) === 0) {
      switch (random.below(7)) {
        case 0:
          own.pause();
          break;
        case 1:
          client.away = true;
          break;
        case 2:
          client.loseAnswers = true;
          break;
        case 3:
          client.delayMs = random.below(1200);
          break;
        default:
          own.resume();
          client.away = false;
          client.loseAnswers = false;
          client.delayMs = 0;
      }
    }
    await clock.advance(random.below(300));
    const holders = contenders.filter(({ lease }) => lease.held());
    if (holders.length > 1) t.fail(`two holders at step ${step}`);
    const token = holders[0]?.lease.token ?? 0;
    if (token !== 0 && token < highest) t.fail(`token ${token} after ${highest} at step ${step}`);
    if (token > highest) moves++;
    highest = Math.max(highest, token);
  }
  t.ok(moves > 5, `the lease was acquired ${moves} times`);
  for (const { own, client, lease } of contenders) {
    own.resume();
    client.delayMs = 0;
    const closed = lease.close();
    await clock.advance(5000);
    await closed;
  }
});

t.test("never a lower token, whatever the store loses and whoever is started again", async (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.comment(`SEED=${seed}`);
  for (const remembers of [false, true]) {
    const random = seededRandom(seed);
    const clock = manualClock();
    const store = memoryLeaseStore();
    let skewMs = 0;
    let highest = 0;
    let acquired = 0;
    const start = (name: string) => {
      // Who remembers may have any wall clock; who does not has one that goes on.
      const own = { ...clock, nowMs: () => clock.nowMs() + skewMs };
      const lease = contender(name, store.client(own), own, random.below(1e6), () => (remembers ? highest : 0));
      let token = 0;
      lease.onChange(() => {
        if (lease.token === token || lease.token === 0) return;
        token = lease.token;
        acquired++;
        if (token <= highest) t.fail(`token ${token} after ${highest}`);
        highest = Math.max(highest, token);
      });
      lease.start();
      return lease;
    };
    const leases = [start("a"), start("b")];
    let synced = store.record;
    for (let step = 0; step < 1000; step++) {
      await clock.advance(random.below(500));
      if (random.below(8) > 0) continue;
      const which = random.below(2);
      switch (random.below(6)) {
        case 0:
          synced = store.record;
          break;
        case 1:
          if (synced && (store.record?.revision ?? 0) >= synced.revision) store.rewind(synced);
          break;
        case 2:
          store.lose();
          synced = undefined;
          break;
        case 3:
          if (remembers) skewMs = random.below(1e7) - 5e6;
          break;
        default:
          await leases[which]!.close();
          leases[which] = start("ab"[which]!);
      }
    }
    t.ok(acquired > 20, `${acquired} acquisitions`);
    for (const lease of leases) await lease.close();
  }
});

t.test("on a NATS server", async (t) => {
  const topology = testTopology(["ams"]);
  const server = await startDatacenter(topology, "ams", "127.0.0.1:1");
  const clock = systemClock();
  const links = [connectPrimaries(server), connectPrimaries(server)];
  const stores = links.map((link) => openLeaseStore({ link, bucket: "heliograph", key: "primary", replicas: 1 }));
  t.teardown(async () => {
    await Promise.all(links.map((link) => link.close()));
    await server.stop();
  });
  while (!links.every((link) => link.connected)) await clock.sleep(10);

  await t.test("a write succeeds only on the revision that stands", async (t) => {
    const store = openLeaseStore({ link: links[0]!, bucket: "heliograph", key: "other", replicas: 1 });
    t.equal(await store.read(), undefined);
    const first = await store.write(Buffer.from("one"), 0);
    t.equal(typeof first, "number");
    t.equal(await store.write(Buffer.from("two"), 0), undefined);
    t.equal(await store.write(Buffer.from("two"), first! + 5), undefined);
    const second = await store.write(Buffer.from("two"), first!);
    t.ok(second! > first!);
    const record = await store.read();
    t.equal(record?.revision, second);
    t.equal(Buffer.from(record!.value).toString(), "two");
  });

  await t.test("the pair hands over, survives a killed server and never has two holders", async (t) => {
    const leases = stores.map((store, index) => contender(`p${index}`, store, clock, index));
    let both = 0;
    const watch = clock.every(5, () => {
      if (leases.every((lease) => lease.held())) both++;
    });
    leases[0]!.start();
    while (!leases[0]!.held()) await clock.sleep(5);
    leases[1]!.start();
    await clock.sleep(600);
    const token = leases[0]!.token;
    await server.kill();
    await server.start();
    await clock.sleep(1500);
    t.equal(leases[0]!.token, token, "a server that is back within the lease costs nothing");
    const closedMs = clock.monotonicMs();
    await leases[0]!.close();
    while (!leases[1]!.held()) await clock.sleep(5);
    const handoverMs = clock.monotonicMs() - closedMs;
    t.ok(handoverMs < 500, `handed over in ${handoverMs.toFixed()} ms`);
    t.ok(leases[1]!.token > token);
    await leases[1]!.close();
    watch.cancel();
    t.equal(both, 0);
  });

  await t.test("a store that is away is an error, not an empty key", async (t) => {
    await server.kill();
    await t.rejects(stores[0]!.read());
    await t.rejects(stores[0]!.write(Buffer.from("x"), 1));
  });
});

t.test("a replicated store has a longer lease, because its own election may take 4 s", async (t) => {
  t.equal(leaseLengthMs(1), 3000);
  t.equal(leaseLengthMs(3), 5000);
});
