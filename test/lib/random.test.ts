import t from "tap";
import { seededRandom, systemRandom } from "#/lib/random/random.ts";

t.test("one seed gives the same numbers everywhere and always", (t) => {
  const first = seededRandom(42);
  const second = seededRandom(42);
  const numbers = Array.from({ length: 1000 }, () => first.next());
  t.same(
    Array.from({ length: 1000 }, () => second.next()),
    numbers,
  );
  t.not(seededRandom(43).next(), numbers[0]);
  // What seed 1 gave when the first release was made: simulations that are quoted by their seed depend on it.
  const one = seededRandom(1);
  t.same([one.below(1000), one.below(1000), one.below(1000), one.below(1000)], [91, 506, 888, 487]);
  t.end();
});

t.test("numbers are spread evenly over their range", (t) => {
  const random = seededRandom(7);
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 100_000; i++) counts[random.below(10)]! += 1;
  t.ok(Math.min(...counts) > 9600 && Math.max(...counts) < 10_400, counts.join(" "));
  for (let i = 0; i < 10_000; i++) {
    const number = random.next();
    if (!(number >= 0 && number < 1)) t.fail(`${number}`);
  }
  t.equal(random.below(1), 0);
  t.end();
});

t.test("no two processes get the same numbers from the operating system", (t) => {
  const a = systemRandom();
  const b = systemRandom();
  t.not(`${a.next()} ${a.next()}`, `${b.next()} ${b.next()}`);
  t.end();
});
