// What goes from a primary to a secondary: whole parts of generations, and differences between them; both ends are the real ones.

import t from "tap";
import { decodeGeneration, encodeGeneration, readGenerationHeader } from "#/lib/codec/generation.ts";
import { type Logger, silentLogger } from "#/lib/logger/logger.ts";
import { type Generation, partOf } from "#/lib/model/generation.ts";
import type { PrimaryClient, WatchRequest, WatchResponse } from "#/lib/wire/session.ts";
import { Assignments } from "#/primary/assignments.ts";
import { Assignment } from "#/secondary/assignment.ts";
import type { Spool } from "#/secondary/spool.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { Queue } from "#/test/support/memory-primary.ts";
import { makeGeneration, makeTarget } from "#/test/support/targets.ts";

const clock = manualClock();
const targets = Array.from({ length: 300 }, (_, i) => makeTarget(`http://a${i}:9100/metrics`));

/** A third each for s1, s2 and s3; those of `moved` are s3's. */
function generation(number: number, edit: Partial<Generation> = {}, moved: readonly number[] = []): Generation {
  const whole = makeGeneration(targets, { number, ...edit });
  const owned = whole.targets.map(({ target }, i) => ({ target, owner: moved.includes(i) ? "s3" : `s${1 + (i % 3)}` }));
  return { ...whole, targets: owned };
}

/** A primary's assignments, and what they said: the bytes of each message that was no keep-alive. */
function primary() {
  const assignments = new Assignments({ datacenter: "fra", primary: "p1", secondaries: () => ["s1", "s2"], clock });
  const requests: WatchRequest[] = [];
  const said: Uint8Array[] = [];
  const client: PrimaryClient = {
    push: () => {
      throw new Error("nothing is pushed here");
    },
    reach: () => {
      throw new Error("nobody is asked here");
    },
    watch: (request, signal) => {
      requests.push(request);
      const queue = new Queue<WatchResponse>(signal);
      const send = async (response: WatchResponse) => {
        if (response.generation.length > 0) said.push(response.generation);
        queue.push(response);
      };
      void assignments.serve(request, send, undefined, signal);
      return queue;
    },
    close() {},
  };
  /** `1 full` and so on. */
  const told = () =>
    said.map((bytes) => {
      const { base, number } = readGenerationHeader(bytes);
      return `${number} ${base ? `delta to ${base.number}` : "full"}`;
    });
  return { assignments, client, requests, said, told };
}

function secondary(onDisk?: Uint8Array) {
  const disk: { generation: Uint8Array | undefined; writes: number; full: boolean } = {
    generation: onDisk,
    writes: 0,
    full: false,
  };
  const taken: Generation[] = [];
  const whole: Uint8Array[] = [];
  const warned: string[] = [];
  const log: Logger = Object.assign(silentLogger(), {
    warn: (_fields: object, text: string) => void warned.push(text),
  });
  const spool: Pick<Spool, "generation" | "saveGeneration"> = {
    generation: async () => disk.generation,
    saveGeneration: async (bytes) => {
      if (disk.full) throw new Error("ENOSPC");
      disk.generation = bytes;
      disk.writes++;
    },
  };
  const assignment = new Assignment({
    datacenter: "fra",
    secondary: "s1",
    spool: spool as Spool,
    clock,
    log,
    onGeneration: (generation) => void taken.push(generation),
    onBytes: (bytes) => void whole.push(bytes),
  });
  /** Until the next call of `end`. */
  const watch = (client: PrimaryClient) => {
    const stop = new AbortController();
    const done = assignment.watch(client, stop.signal);
    return async () => {
      stop.abort();
      await done;
    };
  };
  return { assignment, disk, taken, warned, watch, whole };
}

t.test("on one stream, what comes after the whole part is its difference, and the disk has the whole", async (t) => {
  const { assignments, client, said, told } = primary();
  const { disk, taken, watch, whole } = secondary();
  const end = watch(client);
  assignments.publish(generation(1));
  await clock.advance(10);
  // 0 and 3 were s1's.
  assignments.publish(generation(2, {}, [0, 3]));
  await clock.advance(10);
  t.same(told(), ["1 full", "2 delta to 1"]);
  t.ok(said[1]!.length * 10 < said[0]!.length, `${said[1]!.length} and ${said[0]!.length} bytes`);
  t.same(taken, [partOf(generation(1), "s1"), partOf(generation(2, {}, [0, 3]), "s1")]);
  t.equal(taken[1]!.targets.length, 98);
  t.same(decodeGeneration(disk.generation!), taken[1]);
  t.same(decodeGeneration(whole[1]!), taken[1]);
  await end();
});

t.test("a part that is the same again is taken, and neither encoded nor written", async (t) => {
  const { assignments, client, said } = primary();
  const { disk, taken, watch, whole } = secondary();
  const end = watch(client);
  assignments.publish(generation(1));
  await clock.advance(10);
  // What is moved is s2's.
  for (const number of [2, 3, 4]) {
    assignments.publish(generation(number, { validFromMs: number }, [1, 4, 7].slice(0, number - 1)));
    await clock.advance(10);
  }
  t.same(
    taken.map(({ number }) => number),
    [1, 2, 3, 4],
  );
  t.equal(taken[3]!.targets, taken[0]!.targets, "the very list");
  t.equal(disk.writes, 1);
  t.equal(whole.length, 1);
  t.ok(said[3]!.length < 150, `${said[3]!.length} bytes`);
  assignments.publish(generation(5, { token: 2 }, [1, 4, 7]));
  await clock.advance(10);
  t.equal(disk.writes, 2, "but the fence against an older lease is kept");
  t.equal(decodeGeneration(disk.generation!).token, 2);
  await end();
});

t.test("a part that could not be saved is saved with the next generation, though it is the same", async (t) => {
  const { assignments, client } = primary();
  const { disk, warned, watch } = secondary();
  const end = watch(client);
  disk.full = true;
  assignments.publish(generation(1));
  await clock.advance(10);
  t.same(warned, ["A generation could not be saved; it is scraped by anyway."]);
  disk.full = false;
  assignments.publish(generation(2, {}, [1]));
  await clock.advance(10);
  t.same(decodeGeneration(disk.generation!), partOf(generation(2, {}, [1]), "s1"));
  await end();
});

t.test(
  "whoever comes back with one of the last eight generations gets the difference to it, else the whole",
  async (t) => {
    const { assignments, client, requests, told } = primary();
    for (let number = 1; number <= 9; number++) assignments.publish(generation(number, {}, [number]));
    for (const [number, token] of [
      [1, 1],
      [2, 1],
      [8, 2],
      [9, 1],
    ] as const) {
      const { assignment, watch } = secondary(encodeGeneration(partOf(generation(number, { token }, [number]), "s1")));
      await assignment.resume();
      const end = watch(client);
      await clock.advance(10);
      await end();
    }
    t.same(requests[1], { datacenter: "fra", secondary: "s1", generation: 2, token: 1, takesDeltas: true });
    t.same(told(), ["9 full", "9 delta to 2", "9 full", "9 delta to 9"]);
  },
);

t.test(
  "a difference that does not lead there makes the secondary ask for the whole, on the same connection",
  async (t) => {
    const { assignments, client, requests, told } = primary();
    const other = secondary(encodeGeneration(partOf(generation(1, { validFromMs: 77 }, [0]), "s1")));
    await other.assignment.resume();
    assignments.publish(generation(1, {}, [6]));
    assignments.publish(generation(2, {}, [6]));
    const end = other.watch(client);
    await clock.advance(10);
    t.same(told(), ["2 delta to 1", "2 full"]);
    t.match(requests[1], { generation: 0, token: 0 });
    t.same(other.taken.at(-1), partOf(generation(2, {}, [6]), "s1"));
    t.same(other.warned, ["A difference cannot be applied; asking for the whole."]);
    assignments.publish(generation(3, {}, [9]));
    await clock.advance(10);
    t.same(told().slice(2), ["3 delta to 2"]);
    await end();
  },
);

t.test("a primary that tells differences to one who asked for the whole is left", async (t) => {
  const { assignments, client, said } = primary();
  const { watch } = secondary();
  const end = watch(client);
  assignments.publish(generation(1));
  assignments.publish(generation(2, {}, [0]));
  await clock.advance(10);
  assignments.publish(generation(3, {}, [3]));
  await clock.advance(10);
  await end();
  const broken: PrimaryClient = {
    ...client,
    watch: (_request, signal) => {
      const queue = new Queue<WatchResponse>(signal);
      queue.push({ generation: Buffer.from(said.at(-1)!), nowMs: 0 });
      return queue;
    },
  };
  const { assignment } = secondary();
  await t.rejects(assignment.watch(broken, new AbortController().signal), {
    code: "broken",
    message: /^asked for a whole generation, and got generation 3: a difference/,
  });
});

t.test("a secondary that knows no differences gets none", async (t) => {
  const { assignments, client, told } = primary();
  const stop = new AbortController();
  assignments.publish(generation(1));
  client.watch({ datacenter: "fra", secondary: "s1", generation: 1, token: 0, takesDeltas: false }, stop.signal);
  await clock.advance(10);
  assignments.publish(generation(2, {}, [0]));
  await clock.advance(10);
  t.same(told(), ["1 full", "2 full"]);
  stop.abort();
});

t.test("a difference that brings most of the part is none", async (t) => {
  const { assignments, client, told } = primary();
  const stop = new AbortController();
  client.watch({ datacenter: "fra", secondary: "s2", generation: 0, token: 0, takesDeltas: true }, stop.signal);
  assignments.publish(makeGeneration(targets.slice(0, 10), { owner: "s2" }));
  await clock.advance(10);
  assignments.publish(makeGeneration(targets.slice(0, 25), { owner: "s2", number: 2 }));
  await clock.advance(10);
  t.same(told(), ["1 full", "2 full"]);
  stop.abort();
});
