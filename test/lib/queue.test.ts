import t from "tap";
import { BoundedQueue } from "#/lib/queue/queue.ts";

t.test("what is offered first is taken first", async (t) => {
  const queue = new BoundedQueue<number>({ depthMax: 10 });
  for (const item of [1, 2, 3]) queue.offer(item);
  t.equal(queue.depth, 3);
  t.same([await queue.take(), await queue.take(), await queue.take()], [1, 2, 3]);
  t.equal(queue.depth, 0);
});

t.test("a full queue says no, and yes again once something was taken", async (t) => {
  const queue = new BoundedQueue<string>({ depthMax: 2 });
  t.ok(queue.offer("a"));
  t.ok(queue.offer("b"));
  t.notOk(queue.offer("c"));
  t.equal(await queue.take(), "a");
  t.ok(queue.offer("d"));
  t.same([await queue.take(), await queue.take()], ["b", "d"]);
});

t.test("a consumer waits for the next item", async (t) => {
  const queue = new BoundedQueue<string>({ depthMax: 2 });
  const taken = queue.take();
  queue.offer("late");
  t.equal(await taken, "late");
});

t.test("a closed queue takes nothing more and hands out what it has", async (t) => {
  const queue = new BoundedQueue<string>({ depthMax: 2 });
  queue.offer("last");
  queue.close();
  queue.close();
  t.notOk(queue.offer("too late"));
  t.equal(await queue.take(), "last");
  t.equal(await queue.take(), undefined);
});

t.test("closing wakes the consumer that waits", async (t) => {
  const queue = new BoundedQueue<string>({ depthMax: 2 });
  const taken = queue.take();
  queue.close();
  t.equal(await taken, undefined);
});
