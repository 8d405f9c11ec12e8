// When a secondary scrapes, and that every slot that was due has one outcome, whatever happens to clock and load.

import t from "tap";

import type { Clock } from "#/lib/clock/clock.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { slotTimeMs, type Target } from "#/lib/model/target.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { Schedule } from "#/secondary/schedule.ts";
import { type ManualClock, manualClock } from "#/test/support/manual-clock.ts";
import { makeGeneration, makeTarget } from "#/test/support/targets.ts";

const startMs = 1_700_000_000_000;

interface Event {
  readonly target: string;
  readonly slot: number;
  readonly outcome: string;
  readonly generation: number;
  readonly beganMs: number;
  readonly timeoutMs: number;
  readonly cutShort?: string | undefined;
}

/** A manual clock that can stand still for the process alone: nothing fires, and then it is later. */
function pausableClock(): ManualClock & { pause(byMs: number): void } {
  const inner = manualClock(startMs);
  let pausedMs = 0;
  return {
    ...inner,
    nowMs: () => inner.nowMs() + pausedMs,
    monotonicMs: () => inner.monotonicMs() + pausedMs,
    pause(byMs) {
      pausedMs += byMs;
    },
  };
}

/** Records what the schedule does; each scrape takes as long as `takesMs` says. */
function recorded(
  clock: Clock,
  options: { takesMs?: (target: Target) => number; inFlightMax?: number; secondary?: string } = {},
) {
  const events: Event[] = [];
  const adopted: { target: Target; previous: string | undefined }[] = [];
  const away: string[] = [];
  const left: string[] = [];
  const running = new Map<string, number>();
  let together = 0;
  let togetherMax = 0;
  const schedule = new Schedule<string>({
    secondary: options.secondary ?? "s1",
    clock,
    log: silentLogger(),
    ...(options.inFlightMax !== undefined && { scrapesInFlightMax: options.inFlightMax }),
    handlers: {
      adopt(target, previous) {
        adopted.push({ target, previous });
        return target.url;
      },
      async scrape(state, due, signal) {
        const target = adopted.findLast(({ target }) => target.url === state)!.target;
        t.equal(running.get(state) ?? 0, 0, "never two scrapes of one target at once");
        running.set(state, 1);
        togetherMax = Math.max(togetherMax, ++together);
        const beganMs = clock.nowMs();
        await clock.sleep(options.takesMs?.(target) ?? 0, signal);
        together--;
        running.set(state, 0);
        const outcome = signal.aborted ? "missed_down" : "stored";
        events.push({ target: state, beganMs, outcome, ...due, cutShort: due.ifCutShort });
      },
      missed(state, slot, generation, outcome) {
        events.push({ target: state, slot, generation, outcome, beganMs: clock.nowMs(), timeoutMs: 0 });
      },
      away(state) {
        away.push(state);
      },
      left(state) {
        left.push(state);
      },
    },
  });
  return {
    schedule,
    events,
    adopted,
    away,
    left,
    togetherMax: () => togetherMax,
    of: (target: Target) => events.filter((event) => event.target === target.url),
  };
}

const two = [
  { name: "s1", capacity: 1 },
  { name: "s2", capacity: 1 },
];

function othersOf(count: number, overrides: Parameters<typeof makeTarget>[1], group = 0): Target[] {
  const urlOf = (i: number) => `http://10.${group}.${1 + (i >> 8)}.${i & 255}:9100/metrics`;
  return Array.from({ length: count }, (_, i) => makeTarget(urlOf(i), overrides));
}

function targetsOf(count: number, overrides: Parameters<typeof makeTarget>[1] = {}): Target[] {
  return Array.from({ length: count }, (_, i) => makeTarget(`http://10.0.0.${i}:9100/metrics`, overrides));
}

t.test("every scrape begins within 10 ms of its slot, once a slot, without drift", async (t) => {
  const clock = manualClock(startMs);
  const targets = targetsOf(100, { intervalMs: 15_000, timeoutMs: 10_000 });
  const { events, of, schedule } = recorded(clock, { takesMs: () => 40 });
  schedule.offer(makeGeneration(targets));
  await clock.advance(150_000);
  for (const target of targets) {
    const slots = of(target);
    t.ok(slots.length === 10 || slots.length === 11, `${slots.length} slots in ten intervals`);
    for (const [i, { beganMs, slot }] of slots.entries()) {
      t.equal(slot, slots[0]!.slot + i);
      t.ok(
        Math.abs(beganMs - slotTimeMs(target, slot)) <= 10,
        `${beganMs - slotTimeMs(target, slot)} ms from its slot`,
      );
    }
  }
  const wakeups = new Set(events.map(({ beganMs }) => beganMs)).size;
  t.ok(wakeups < events.length * 0.97, `neighbours are begun together: ${wakeups} for ${events.length}`);
  await schedule.close();
});

t.test("a target that always times out has all its slots, even when its timeout is its interval", async (t) => {
  const clock = manualClock(startMs);
  const mute = makeTarget("http://10.0.0.1:9100/metrics", { intervalMs: 5000, timeoutMs: 5000 });
  const { events, of, schedule } = recorded(clock, { takesMs: () => 4951 });
  schedule.offer(makeGeneration([mute]));
  await clock.advance(52_000);
  t.ok(events.length >= 9);
  t.ok(of(mute).every(({ outcome, timeoutMs }) => outcome === "stored" && timeoutMs === 4950));
  await schedule.close();
});

t.test(
  "a slot whose predecessor still runs begins when that ends, and is missed_overload at its next slot",
  async (t) => {
    const clock = manualClock(startMs);
    const [slow, fast] = targetsOf(2) as [Target, Target];
    const { of, schedule } = recorded(clock, { takesMs: (target) => (target === slow ? 2500 : 10) });
    schedule.offer(makeGeneration([slow, fast]));
    await clock.advance(12_000);
    const outcomes = of(slow)
      .sort((a, b) => a.slot - b.slot)
      .map(({ outcome }) => outcome);
    // 0 to 2.5 s; slot 2 from then to 5 s, at which slot 5 is due; and again.
    t.strictSame(outcomes.slice(0, 8), [
      "stored",
      "missed_overload",
      "stored",
      "missed_overload",
      "missed_overload",
      "stored",
      "missed_overload",
      "stored",
    ]);
    t.ok(of(fast).every(({ outcome }) => outcome === "stored"));
    t.ok(of(fast).length >= 11);
    await schedule.close();
  },
);

t.test("a scrape that ends a little late, as on a busy machine, costs its target no slot", async (t) => {
  const clock = manualClock(startMs);
  const [target] = targetsOf(1, { intervalMs: 5000, timeoutMs: 5000 }) as [Target];
  let scrapes = 0;
  const { of, schedule } = recorded(clock, { takesMs: () => (++scrapes === 2 ? 5080 : 10) });
  schedule.offer(makeGeneration([target]));
  await clock.advance(30_000);
  const slots = of(target);
  t.ok(slots.length >= 5);
  t.ok(slots.every(({ outcome }) => outcome === "stored"));
  t.strictSame(
    slots.map(({ slot }) => slot - slots[0]!.slot),
    slots.map((_, i) => i),
  );
  const late = slots[2]!;
  const lateMs = late.beganMs - slotTimeMs(target, late.slot);
  t.ok(lateMs >= 70 && lateMs <= 90, `${lateMs} ms late`);
  t.ok(late.beganMs + late.timeoutMs <= slotTimeMs(target, late.slot + 1) - 50, "and it ends before the next one");
  t.ok(Math.abs(slots[3]!.beganMs - slotTimeMs(target, slots[3]!.slot)) <= 10, "which begins in time");
  await schedule.close();
});

t.test(
  "beyond the bound scrapes wait for a place, and are missed_overload when their next slot comes first",
  async (t) => {
    const clock = manualClock(startMs);
    const targets = targetsOf(10);
    const { events, schedule, togetherMax } = recorded(clock, { takesMs: () => 500, inFlightMax: 4 });
    schedule.offer(makeGeneration(targets));
    await clock.advance(20_000);
    t.equal(togetherMax(), 4);
    const stored = events.filter(({ outcome }) => outcome === "stored").length;
    const missed = events.filter(({ outcome }) => outcome === "missed_overload").length;
    t.ok(stored >= 145 && stored <= 160, `4 places × 2 a second × 20 s, got ${stored}`);
    t.ok(stored + missed >= 185, `${stored} + ${missed} of about 200 slots`);
    await schedule.close();
  },
);

t.test("slots that pass while the process stands still are missed_down", async (t) => {
  const clock = pausableClock();
  const [target] = targetsOf(1) as [Target];
  const { of, schedule } = recorded(clock);
  schedule.offer(makeGeneration([target]));
  await clock.advance(2000);
  const before = of(target).length;
  clock.pause(5000);
  await clock.advance(1500);
  const after = of(target).slice(before);
  t.equal(after.filter(({ outcome }) => outcome === "missed_down").length, 5);
  t.ok(after.filter(({ outcome }) => outcome === "stored").length >= 2);
  await schedule.close();
});

t.test("slots that the wall clock steps over are missed_clock, and after a step back scraping goes on", async (t) => {
  const clock = manualClock(startMs);
  const [target] = targetsOf(1) as [Target];
  const { of, schedule } = recorded(clock);
  schedule.offer(makeGeneration([target]));
  await clock.advance(2000);
  clock.step(10_000);
  await clock.advance(2000);
  t.equal(of(target).filter(({ outcome }) => outcome === "missed_clock").length, 10);
  const before = of(target).length;
  clock.step(-3_600_000);
  await clock.advance(5000);
  const after = of(target).slice(before);
  t.ok(after.length >= 4, `${after.length} scrapes in 5 s after the step back`);
  for (const { beganMs, slot } of after) t.ok(Math.abs(beganMs - slotTimeMs(target, slot)) <= 10);
  await schedule.close();
});

t.test("whatever the load, each slot of each target has exactly one outcome (random)", async (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.comment(`SEED=${seed}`);
  const random = seededRandom(seed);
  const clock = pausableClock();
  const targets = targetsOf(12, { intervalMs: 700 });
  const { of, schedule } = recorded(clock, { takesMs: () => random.below(1500), inFlightMax: 6 });
  schedule.offer(makeGeneration(targets));
  for (let i = 0; i < 25; i++) {
    await clock.advance(random.below(900));
    if (random.below(4) === 0) clock.pause(random.below(3000));
    if (random.below(8) === 0) clock.step(random.below(4000));
    const watermarkMs = schedule.watermarkMs();
    for (const target of targets) {
      const slots = new Set(of(target).map(({ slot }) => slot));
      const first = Math.min(...slots);
      for (let slot = first; slotTimeMs(target, slot) < watermarkMs; slot++) {
        if (slots.size > 0 && !slots.has(slot)) t.fail(`slot ${slot} lies before the watermark and has no outcome`);
      }
    }
  }
  await schedule.close();
  for (const target of targets) {
    const slots = of(target)
      .map(({ slot }) => slot)
      .sort((a, b) => a - b);
    t.strictSame(
      slots,
      slots.map((_, i) => slots[0]! + i),
      "none twice, none without",
    );
  }
});

t.test(
  "a generation rules from its time of validity on, and kept targets keep what is remembered of them",
  async (t) => {
    const clock = manualClock(startMs);
    const [kept, left, come] = targetsOf(3) as [Target, Target, Target];
    const { adopted, away, events, left: told, schedule } = recorded(clock, { takesMs: () => 40 });
    schedule.offer(makeGeneration([kept, left]));
    await clock.advance(3000);
    const validFromMs = startMs + 5000;
    schedule.offer(makeGeneration([kept, come], { number: 2, validFromMs }));
    await clock.advance(6000);
    for (const { generation, slot, target } of events) {
      const slotMs = slotTimeMs([kept, left, come].find(({ url }) => url === target)!, slot);
      t.equal(generation, slotMs < validFromMs ? 1 : 2, `${target} ${slotMs - startMs}`);
    }
    t.strictSame([...new Set(events.filter(({ generation }) => generation === 2).map(({ target }) => target))].sort(), [
      kept.url,
      come.url,
    ]);
    t.strictSame(
      adopted.map(({ target, previous }) => [target.url, previous]),
      [
        ...makeGeneration([kept, left]).targets.map(({ target }) => [target.url, undefined]),
        ...makeGeneration([kept, come]).targets.map(({ target }) => [
          target.url,
          target === kept ? kept.url : undefined,
        ]),
      ],
    );
    t.strictSame([away, told], [[left.url], [left.url]], "and who has left is told once");
    await schedule.close();
  },
);

t.test("of two generations that wait, the newer one rules as soon as it is valid", async (t) => {
  const clock = manualClock(startMs);
  const { schedule } = recorded(clock);
  schedule.offer(makeGeneration([], { number: 2, validFromMs: startMs + 4000 }));
  schedule.offer(makeGeneration([], { number: 3, validFromMs: startMs + 2000 }));
  await clock.advance(3000);
  t.equal(schedule.generation?.number, 3);
  await clock.advance(3000);
  t.equal(schedule.generation?.number, 3);
  await schedule.close();
});

t.test("slots of a lost owner are made up for, those of a first generation wait for their time", async (t) => {
  const clock = manualClock(startMs);
  const mine = targetsOf(3, { intervalMs: 60_000, timeoutMs: 10_000 });
  const theirs = othersOf(20, { intervalMs: 60_000, timeoutMs: 10_000 });
  const { events, schedule } = recorded(clock);
  schedule.offer(makeGeneration(mine, { secondaries: two, validFromMs: startMs - 3_600_000 }));
  t.equal(events.length, 0);
  await clock.advance(100);
  t.ok(events.length <= 1);
  await clock.advance(60_000);

  const nowMs = clock.nowMs();
  events.length = 0;
  schedule.offer(
    makeGeneration([...mine, ...theirs], { number: 2, secondaries: two.slice(0, 1), validFromMs: nowMs - 2000 }),
  );
  await clock.advance(0);
  t.ok(events.length >= 1, "the most urgent one at once");
  await clock.advance(200);
  const taken = new Set(theirs.map(({ url }) => url));
  const madeUp = events.filter(({ target }) => taken.has(target));
  t.ok(madeUp.length >= 18, `${madeUp.length} of 20 within 200 ms; one whose next slot is due right now waits for it`);
  for (const { beganMs, generation, slot, target, timeoutMs } of madeUp) {
    const definition = theirs.find(({ url }) => url === target)!;
    t.ok(slotTimeMs(definition, slot) <= beganMs && slotTimeMs(definition, slot + 1) > beganMs, "the present slot");
    t.equal(generation, 2);
    t.ok(timeoutMs <= slotTimeMs(definition, slot + 1) - beganMs, "it ends before the next slot");
  }
  await schedule.close();
});

t.test(
  "5,000 targets of a lost owner are taken over at a pace, none loses a slot, and none of ours waits",
  async (t) => {
    const clock = manualClock(startMs);
    const intervalMs = 15_000;
    const mine = targetsOf(200, { intervalMs, timeoutMs: 10_000 });
    const theirs = othersOf(5000, { intervalMs, timeoutMs: 10_000 });
    const { events, schedule } = recorded(clock);
    schedule.offer(makeGeneration(mine, { secondaries: two }));
    await clock.advance(20_000);
    const nowMs = clock.nowMs();
    events.length = 0;
    schedule.offer(
      makeGeneration([...mine, ...theirs], { number: 2, secondaries: two.slice(0, 1), validFromMs: nowMs - 100 }),
    );
    await clock.advance(16_000);
    const ours = new Map(mine.map((target) => [target.url, target]));
    const taken = new Map(theirs.map((target) => [target.url, target]));
    const first = new Map<string, Event>();
    for (const event of events) if (taken.has(event.target) && !first.has(event.target)) first.set(event.target, event);
    const tooNear = [...first.values()].filter(
      ({ slot, target }) => slotTimeMs(taken.get(target)!, slot) > nowMs,
    ).length;
    t.ok(
      tooNear < 150,
      `${tooNear} of 5,000 had less than 250 ms to their next slot, which is a sixtieth of the interval`,
    );
    t.ok(events.every(({ outcome }) => outcome === "stored"));
    const began = events.filter(({ target }) => taken.has(target)).map(({ beganMs }) => beganMs - nowMs);
    const window = began.filter((ms) => ms <= 3750);
    t.ok(window.length >= 5000 - tooNear, "within a quarter of the interval");
    for (let fromMs = 0; fromMs < 3750; fromMs += 250) {
      const together = window.filter((ms) => ms >= fromMs && ms < fromMs + 250).length;
      t.ok(together <= 600, `${together} in 250 ms, where 417 would be even and 83 come anyway`);
    }
    for (const { beganMs, slot, target } of events) {
      const own = ours.get(target);
      if (own && Math.abs(beganMs - slotTimeMs(own, slot)) > 10) t.fail("a slot of the present begins in time");
    }
    const slotsOf = new Set(events.map(({ slot, target }) => `${target} ${slot}`));
    t.equal(slotsOf.size, events.length, "no slot twice");
    await schedule.close();
  },
);

t.test(
  "a slot that could not be made up for in time is missed_down, and one cut short by it is not failed",
  async (t) => {
    const clock = manualClock(startMs);
    const [busy] = targetsOf(1, { intervalMs: 5000, timeoutMs: 4000 }) as [Target];
    const theirs = othersOf(40, { intervalMs: 5000, timeoutMs: 4000 });
    const { events, of, schedule } = recorded(clock, { takesMs: () => 3900, inFlightMax: 2 });
    schedule.offer(makeGeneration([busy]));
    await clock.advance(20_000);
    const nowMs = clock.nowMs();
    events.length = 0;
    // Its own for 4 s already.
    schedule.offer(makeGeneration([busy, ...theirs], { number: 2, validFromMs: nowMs - 4000 }));
    await clock.advance(10_000);
    for (const target of theirs) {
      const early = of(target).filter(({ slot }) => slotTimeMs(target, slot) <= nowMs);
      t.ok(early.length <= 1);
      for (const { cutShort, outcome, slot, timeoutMs } of early) {
        t.ok(slotTimeMs(target, slot) >= nowMs - 4000, "only what is this generation's own");
        t.equal(outcome === "missed_down" || outcome === "stored", true, outcome);
        if (outcome === "stored") t.equal(timeoutMs < 4000 ? "missed_down" : undefined, cutShort);
      }
    }
    t.ok(events.some(({ outcome }) => outcome === "missed_down"));
    await schedule.close();
  },
);

t.test("a move that is heard of before it is valid loses no slot and doubles none", async (t) => {
  for (const [old, young] of [
    [-3000, -3000],
    [-600, -1500],
    // The new owner hears of it late, and makes up for the present slot.
    [-3000, 700],
    // The old one hears of it late: it goes on, and the newer generation outranks what it has.
    [700, -3000],
  ] as const) {
    const clock = manualClock(startMs);
    const targets = targetsOf(200, { intervalMs: 5000, timeoutMs: 4000 });
    const before = recorded(clock, { takesMs: () => 30 });
    const after = recorded(clock, { takesMs: () => 30, secondary: "s2" });
    const first = makeGeneration(targets, { secondaries: two });
    before.schedule.offer(first);
    after.schedule.offer(first);
    await clock.advance(12_000);
    const validFromMs = clock.nowMs() + 3000;
    // s1 is drained.
    const second = makeGeneration(targets, { number: 2, owner: "s2", secondaries: two.slice(1), validFromMs });
    const offers = [
      { atMs: 3000 + old, to: before.schedule },
      { atMs: 3000 + young, to: after.schedule },
    ].sort((a, b) => a.atMs - b.atMs);
    let nowMs = 0;
    for (const { atMs, to } of offers) {
      await clock.advance(atMs - nowMs);
      nowMs = atMs;
      to.offer(second);
    }
    await clock.advance(20_000 - nowMs);
    let missing = 0;
    let twice = 0;
    // Who hears of it late cannot know whether the old owner still was there, and makes up for the slot before, too.
    const fromMs = validFromMs - (young > 0 ? 5000 : 0);
    const untilMs = validFromMs + Math.max(0, old);
    for (const target of targets) {
      const all = [...before.of(target), ...after.of(target)].filter(({ outcome }) => outcome === "stored");
      const slots = new Set(all.map(({ slot }) => slot));
      if (slotTimeMs(target, Math.max(...slots)) < validFromMs + 10_000) t.fail(`${target.url} is scraped no more`);
      missing += Math.max(...slots) - Math.min(...slots) + 1 - slots.size;
      twice += all.length - slots.size;
      const timesOf = (events: readonly Event[]) => events.map(({ slot }) => slotTimeMs(target, slot));
      if (timesOf(after.of(target)).some((ms) => ms < fromMs))
        t.fail("the new owner begins with the first slot from then on");
      if (timesOf(before.of(target)).some((ms) => ms >= untilMs)) t.fail("the old owner goes on until then");
    }
    t.ok(after.events.every(({ generation }) => generation === 2));
    t.equal(missing, 0, `slots missing when heard at ${old} and ${young} ms`);
    if (old <= 0 && young <= 0) t.equal(twice, 0, "none twice");
    if (old > 0)
      t.ok(
        twice > 0 && twice <= 40,
        `${twice} twice, in the 700 ms (a seventh of the interval) that it heard too late`,
      );
    await before.schedule.close();
    await after.schedule.close();
  }
});

t.test(
  "who joins with a generation that is not valid yet begins with its first slot; one from the disk waits",
  async (t) => {
    for (const { firstMs, validInMs } of [
      { validInMs: 1500, firstMs: 1500 },
      // Heard of a second late: what came meanwhile is made up for.
      { validInMs: -1000, firstMs: -1000 },
      { validInMs: -60_000, firstMs: 0 },
    ]) {
      const clock = manualClock(startMs);
      const targets = targetsOf(100, { intervalMs: 5000, timeoutMs: 4000 });
      const { of, schedule } = recorded(clock);
      schedule.offer(makeGeneration(targets, { validFromMs: startMs + validInMs }));
      await clock.advance(12_000);
      for (const target of targets) {
        const first = Math.min(...of(target).map(({ slot }) => slot));
        t.ok(slotTimeMs(target, first) >= startMs + firstMs - 10);
        t.ok(slotTimeMs(target, first) < startMs + firstMs + 5000, `first slot of ${target.url}`);
      }
      await schedule.close();
    }
  },
);

t.test("a target that comes back within half a minute is adopted with what was remembered of it", async (t) => {
  const clock = manualClock(startMs);
  const [kept, flaps] = targetsOf(2) as [Target, Target];
  const { adopted, events, left, schedule } = recorded(clock);
  const offer = (targets: Target[], number: number) =>
    schedule.offer(makeGeneration(targets, { number, validFromMs: clock.nowMs() }));
  offer([kept, flaps], 1);
  await clock.advance(5000);
  offer([], 2);
  await clock.advance(2000);
  adopted.length = 0;
  offer([kept, flaps], 3);
  await clock.advance(3000);
  t.strictSame(adopted.map(({ previous }) => previous).sort(), [kept.url, flaps.url].sort());
  t.strictSame(left, []);
  const slots = events.map(({ slot, target }) => `${target} ${slot}`);
  t.equal(new Set(slots).size, slots.length, "no slot twice");
  offer([kept], 4);
  await clock.advance(31_000);
  t.strictSame(left, [flaps.url], "and is forgotten later");
  adopted.length = 0;
  offer([kept, flaps], 5);
  t.equal(adopted.find(({ target }) => target === flaps)?.previous, undefined);
  await schedule.close();
});

t.test("of targets that are away no more is remembered than what was assigned at once before", async (t) => {
  const clock = manualClock(startMs);
  const { left, schedule } = recorded(clock);
  const groups = [0, 1, 2].map((group) => othersOf(10, {}, group));
  for (const [i, group] of groups.entries()) {
    schedule.offer(makeGeneration(group, { number: i + 1, validFromMs: clock.nowMs() }));
    await clock.advance(1500);
  }
  t.equal(schedule.awayCount, 0, "ten are assigned, as many as ever");
  t.equal(left.length, 20);
  schedule.offer(makeGeneration([], { number: 4, validFromMs: clock.nowMs() }));
  await clock.advance(1);
  t.equal(schedule.awayCount, 10);
  await schedule.close();
  t.equal(left.length, 30, "closing forgets them all");
});

t.test("of targets that come without a loss, only slots of the generation's own are made up for", async (t) => {
  const clock = manualClock(startMs);
  const targets = targetsOf(30, { intervalMs: 10_000, timeoutMs: 5000 });
  const { events, schedule } = recorded(clock);
  schedule.offer(makeGeneration([]));
  await clock.advance(20_000);
  const nowMs = clock.nowMs();
  schedule.offer(makeGeneration(targets, { number: 2, validFromMs: nowMs - 25_000 }));
  await clock.advance(300);
  for (const target of targets) {
    const own: number[] = [];
    for (let slot = Math.floor((nowMs - 40_000) / 10_000); slotTimeMs(target, slot) <= nowMs; slot++) {
      if (slotTimeMs(target, slot) >= nowMs - 25_000) own.push(slot);
    }
    const told = events
      .filter((event) => event.target === target.url && slotTimeMs(target, event.slot) <= nowMs)
      .sort((a, b) => a.slot - b.slot);
    t.strictSame(
      told.map(({ slot }) => slot),
      own,
    );
    t.ok(told.slice(0, -1).every(({ outcome }) => outcome === "missed_down"));
  }
  await schedule.close();
});

t.test("closing ends what runs and what waits, each with its outcome", async (t) => {
  const clock = manualClock(startMs);
  const targets = targetsOf(10);
  const { events, schedule } = recorded(clock, { takesMs: () => 60_000, inFlightMax: 4 });
  schedule.offer(makeGeneration(targets));
  await clock.advance(1100);
  events.length = 0;
  const closing = schedule.close();
  await closing;
  await schedule.close();
  t.ok(events.every(({ outcome }) => outcome === "missed_down"));
  t.equal(new Set(events.map(({ target }) => target)).size, 10);
  const count = events.length;
  t.equal(new Set(events.map(({ target, slot }) => `${target} ${slot}`)).size, count, "a slot once");
  await clock.advance(5000);
  t.equal(events.length, count, "and nothing begins any more");
});
