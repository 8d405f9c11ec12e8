import t from "tap";
import { Follower, onAbort } from "#/lib/clock/abort.ts";
import { systemClock } from "#/lib/clock/clock.ts";

const clock = systemClock();

t.test("wall time is the system's, monotonic time only grows", async (t) => {
  t.ok(Math.abs(clock.nowMs() - Date.now()) < 50);
  const before = clock.monotonicMs();
  await clock.sleep(5);
  t.ok(clock.monotonicMs() - before >= 4);
});

t.test("a timer calls back once, and not at all when it was cancelled", async (t) => {
  let fired = 0;
  const kept = clock.after(1, () => fired++);
  const cancelled = clock.after(1, () => t.fail("cancelled"));
  cancelled.cancel();
  cancelled.cancel();
  await clock.sleep(30);
  t.equal(fired, 1);
  kept.cancel();
});

t.test("a timer for longer than Node can wait does not fire at once", async (t) => {
  const timer = clock.after(2 ** 40, () => t.fail("at once"));
  await clock.sleep(10);
  timer.cancel();
  t.pass("it waits");
});

t.test("a period calls back until it is cancelled", async (t) => {
  let fired = 0;
  await new Promise<void>((resolve) => {
    const timer = clock.every(2, () => {
      if (++fired < 3) return;
      timer.cancel();
      resolve();
    });
  });
  await clock.sleep(20);
  t.equal(fired, 3);
});

t.test("a sleep ends early when its signal aborts, and does not throw", async (t) => {
  const aborter = new AbortController();
  const startedMs = clock.monotonicMs();
  const sleep = clock.sleep(60_000, aborter.signal);
  aborter.abort();
  await sleep;
  await clock.sleep(60_000, aborter.signal);
  t.ok(clock.monotonicMs() - startedMs < 5000);
});

t.test("whoever waits for an abort hears it once, and not after it said that it does not wait any more", (t) => {
  const aborter = new AbortController();
  const heard: string[] = [];
  onAbort(aborter.signal, () => heard.push("a"));
  const forget = onAbort(aborter.signal, () => heard.push("b"));
  const forgetLate = onAbort(aborter.signal, () => heard.push("c"));
  forget();
  aborter.abort();
  forgetLate();
  t.same(heard, ["a", "c"]);
  t.end();
});

t.test("a follower aborts with its leader, and not any more when it is over", (t) => {
  const leader = new AbortController();
  const follower = new Follower(leader.signal);
  const other = new Follower(leader.signal);
  other.over();
  t.same([follower.signal.aborted, other.signal.aborted], [false, true]);
  leader.abort(new Error("enough"));
  t.same(follower.signal.reason, new Error("enough"));
  t.not(other.signal.reason, leader.signal.reason);
  t.ok(new Follower(leader.signal).signal.aborted);
  t.end();
});
