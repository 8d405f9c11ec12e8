import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import t from "tap";
import { MiB, minuteMs } from "#/lib/bytes/units.ts";
import { systemDisk } from "#/lib/journal/disk.ts";
import { JournalError } from "#/lib/journal/error.ts";
import { bufferBytesMax, Journal, type JournalOptions, type JournalRecord } from "#/lib/journal/journal.ts";
import { DirectoryLocked, lockDirectory } from "#/lib/journal/lock.ts";
import { silentLogger } from "#/lib/logger/logger.ts";
import { seededRandom } from "#/lib/random/random.ts";
import { manualClock } from "#/test/support/manual-clock.ts";
import { type MemoryDisk, memoryDisk } from "#/test/support/memory-disk.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);

const first = "/j/00000001.journal";

function record(text: string, kind = 1): JournalRecord {
  return { kind, payload: Buffer.from(text) };
}

function optionsFor(disk: MemoryDisk, more: Partial<JournalOptions> = {}): JournalOptions {
  return { dir: "/j", disk, clock: manualClock(), log: silentLogger(), ...more };
}

async function texts(journal: Journal): Promise<string[]> {
  const found: string[] = [];
  for await (const records of journal.records())
    for (const { payload } of records) found.push(Buffer.from(payload).toString());
  return found;
}

/** Opens, reads everything, and closes. */
async function readBack(options: JournalOptions): Promise<string[]> {
  const journal = await Journal.open(options);
  const found = await texts(journal);
  await journal.close();
  return found;
}

async function writtenDisk(...payloads: string[]): Promise<MemoryDisk> {
  const disk = memoryDisk();
  const journal = await Journal.open(optionsFor(disk));
  for (const payload of payloads) {
    journal.append(record(payload));
    await journal.sync();
  }
  await journal.close();
  return disk;
}

t.test("what was appended is read back in order, with its kind and its place", async (t) => {
  const disk = memoryDisk();
  const journal = await Journal.open(optionsFor(disk));
  const place = journal.append(record("one", 7));
  journal.append(record("", 8));
  t.same(place, { segment: 1, offset: 32 });
  t.equal(Buffer.from((await journal.read(place))!.payload).toString(), "one", "before it is on disk");
  await journal.sync();
  t.equal(Buffer.from((await journal.read(place))!.payload).toString(), "one", "and after");
  const kinds: number[] = [];
  for await (const records of journal.records()) for (const { kind } of records) kinds.push(kind);
  t.same(kinds, [7, 8]);
  await journal.close();
  t.same(await readBack(optionsFor(disk)), ["one", ""]);
});

t.test("records become durable together, within the delay, by one fsync", async (t) => {
  const disk = memoryDisk();
  const clock = manualClock();
  const durable: number[] = [];
  const journal = await Journal.open(optionsFor(disk, { clock, onDurable: (records) => durable.push(records) }));
  for (let i = 0; i < 100; i++) journal.append(record(`${i}`));
  await clock.advance(499);
  t.same(durable, []);
  await clock.advance(1);
  t.same(durable, [100]);
  t.equal(disk.syncs, 1);
  await journal.close();
});

t.test("a tail that is torn at any byte is cut off, and what was synced before it is all there", async (t) => {
  const payloads = ["alpha", "beta", "a somewhat longer third record"];
  const whole = (await writtenDisk(...payloads)).content(first);
  const ends = [32 + 16 + 5, 32 + 16 + 5 + 16 + 4, whole.length];
  for (let cut = ends[0]!; cut < whole.length; cut++) {
    const disk = memoryDisk();
    disk.setContent(first, whole.slice(0, cut));
    const journal = await Journal.open(optionsFor(disk));
    const kept = ends.filter((end) => end <= cut).length;
    if (journal.tornBytes !== cut - ends[kept - 1]!) t.fail(`cut at ${cut}: ${journal.tornBytes} torn bytes counted`);
    journal.append(record("after"));
    await journal.sync();
    const found = await texts(journal);
    await journal.close();
    if (found.join() !== [...payloads.slice(0, kept), "after"].join()) t.fail(`cut at ${cut}: got ${found}`);
  }
  t.pass("each of them");
});

t.test("a segment that was torn before its first sync is made anew", async (t) => {
  for (const length of [0, 1, 31, 32, 40]) {
    const disk = await writtenDisk("one");
    const preamble = () => [record("preamble", 9)];
    const whole = await (async () => {
      const other = memoryDisk();
      const journal = await Journal.open({ ...optionsFor(other), preamble });
      journal.append(record("x"));
      await journal.close();
      return other.content(first);
    })();
    whole[8] = 2; // Segment 2; the checksum is no longer right from here on, as in a torn page.
    disk.setContent("/j/00000002.journal", whole.slice(0, length));
    const journal = await Journal.open({ ...optionsFor(disk), preamble });
    t.same(await texts(journal), ["one"], `${length} bytes of it`);
    t.same(disk.paths(), [first]);
    await journal.close();
  }
});

t.test("any flipped bit before the last record is an error that names file and offset", async (t) => {
  const disk = await writtenDisk("alpha", "beta", "gamma");
  const whole = disk.content(first);
  const thirdAt = 32 + 21 + 20;
  for (let bit = 0; bit < thirdAt * 8; bit++) {
    const damaged = whole.slice();
    damaged[bit >>> 3]! ^= 1 << (bit & 7);
    const flipped = memoryDisk();
    flipped.setContent(first, damaged);
    const error = await Journal.open(optionsFor(flipped)).then(
      () => undefined,
      (error: unknown) => error,
    );
    const offset = bit < 32 * 8 ? 0 : bit < (32 + 21) * 8 ? 32 : 32 + 21;
    const named = error instanceof JournalError && error.message.startsWith(`${first}: offset ${offset}: `);
    if (!named) t.fail(`bit ${bit}: got ${String(error)}`);
    t.same(flipped.content(first), damaged, "nothing was changed");
    if (!t.passing()) return;
  }
});

t.test("damage in an older segment is found when it is read, and nothing after it is skipped to", async (t) => {
  const disk = memoryDisk();
  const journal = await Journal.open(optionsFor(disk, { segmentBytesMax: 100 }));
  for (const text of ["one", "two", "three", "four", "five", "six"]) journal.append(record(text));
  await journal.close();
  t.equal(disk.paths().length, 2);
  const damaged = disk.content(first);
  damaged[32 + 19 + 17]! ^= 1;
  disk.setContent(first, damaged);
  const reopened = await Journal.open(optionsFor(disk));
  const found: string[] = [];
  await t.rejects(
    async () => {
      for await (const records of reopened.records())
        for (const { payload } of records) found.push(Buffer.from(payload).toString());
    },
    { code: "corrupt", message: /00000001\.journal: offset 51: expected a record, but its checksum is wrong/ },
  );
  t.same(found, ["one"]);
  await reopened.close();
});

t.test("a segment that is missing is an error", async (t) => {
  const disk = memoryDisk();
  const journal = await Journal.open(optionsFor(disk, { segmentBytesMax: 60 }));
  for (const text of ["one", "two", "three"]) journal.append(record(text));
  await journal.close();
  await disk.remove("/j/00000002.journal");
  await t.rejects(Journal.open(optionsFor(disk)), {
    code: "missing_segment",
    message: "/j: expected 00000002.journal, found 00000003.journal",
  });
});

t.test("a later version is refused and left alone", async (t) => {
  const disk = await writtenDisk("one");
  const bytes = disk.content(first);
  bytes[4] = 2;
  const { crc32 } = await import("#/lib/bytes/hash.ts");
  new DataView(bytes.buffer).setUint32(28, crc32(bytes.subarray(0, 28)), true);
  disk.setContent(first, bytes);
  await t.rejects(Journal.open(optionsFor(disk)), { code: "bad_version" });
  t.same(disk.content(first), bytes);
});

t.test(
  "when the disk is full, the caller is told, nothing is called durable, and all of it is once there is room",
  async (t) => {
    const disk = memoryDisk();
    const clock = manualClock();
    let durable = 0;
    let failures = 0;
    const options = optionsFor(disk, {
      clock,
      onDurable: (records) => (durable = records),
      onFailure: () => failures++,
    });
    const journal = await Journal.open(options);
    journal.append(record("before"));
    await journal.sync();
    disk.capacityBytes = disk.content(first).length + 25;
    journal.append(record("does not fit"));
    await t.rejects(journal.sync(), { code: "disk_full" });
    journal.append(record("nor does this"));
    await clock.advance(5000);
    t.equal(durable, 1);
    t.equal(journal.failure?.code, "disk_full");
    t.ok(failures >= 4, "it was tried again each second");
    const crashed = memoryDisk();
    crashed.setContent(first, disk.content(first));
    t.same(await readBack(optionsFor(crashed)), ["before"], "a crash now would lose only what nobody was promised");
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    await clock.advance(1000);
    t.equal(durable, 3);
    t.equal(journal.failure, undefined);
    await journal.close();
    t.same(await readBack(optionsFor(disk)), ["before", "does not fit", "nor does this"]);
  },
);

t.test("after a failed fsync everything since the last good one is written anew", async (t) => {
  const disk = memoryDisk();
  let durable = 0;
  const journal = await Journal.open(optionsFor(disk, { onDurable: (records) => (durable = records) }));
  journal.append(record("one"));
  await journal.sync();
  disk.failingSyncs = 1;
  journal.append(record("two"));
  await t.rejects(journal.sync(), { code: "write_failed" });
  t.equal(durable, 1);
  await journal.sync();
  t.equal(durable, 2);
  disk.loseTail(seededRandom(seed));
  t.same(await readBack(optionsFor(disk)), ["one", "two"]);
});

t.test("what a failed fsync left in a file is brought to the disk by the process that finds it there", async (t) => {
  const disk = memoryDisk();
  const journal = await Journal.open(optionsFor(disk, { disk: disk.attach() }));
  journal.append(record("one"));
  await journal.sync();
  disk.failingSyncs = 1;
  journal.append(record("two".padEnd(1000)));
  await t.rejects(journal.sync(), { code: "write_failed" });
  disk.kill();
  const next = await Journal.open(optionsFor(disk, { disk: disk.attach() }));
  t.equal((await texts(next)).length, 2);
  next.append(record("three"));
  await next.sync();
  disk.loseTail(seededRandom(seed));
  t.same(
    (await readBack(optionsFor(disk))).map((text) => text.trim()),
    ["one", "two", "three"],
  );
});

t.test("a new file's name is brought to the disk by the process that finds it there", async (t) => {
  for (let round = 0; round < 20; round++) {
    const disk = memoryDisk();
    const dying = disk.attach();
    const never = new Promise<never>(() => {});
    const journal = await Journal.open(optionsFor(disk, { disk: { ...dying, syncDirectory: () => never } }));
    journal.append(record("one"));
    void journal.sync();
    await setImmediate();
    disk.kill();
    const next = await Journal.open(optionsFor(disk, { disk: disk.attach() }));
    t.same(await texts(next), ["one"]);
    disk.loseTail(seededRandom(seed + round));
    t.same(await readBack(optionsFor(disk)), ["one"]);
  }
});

t.test("memory that waits for the disk is bounded, and who appends can wait for room", async (t) => {
  const disk = memoryDisk();
  const journal = await Journal.open(optionsFor(disk));
  disk.capacityBytes = 0;
  const payload = new Uint8Array(4 * MiB);
  let appended = 0;
  t.throws(
    () => {
      for (; appended < 100; appended++) journal.append({ kind: 1, payload });
    },
    { code: "buffer_full" },
  );
  t.ok(appended * payload.length <= bufferBytesMax + payload.length);
  const room = journal.room(new AbortController().signal);
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  await journal.sync();
  await room;
  journal.append({ kind: 1, payload });
  await journal.close();
});

t.test("whatever the power takes, what was called durable is there, in order and without a gap", async (t) => {
  const random = seededRandom(seed);
  for (let round = 0; round < 60; round++) {
    const disk = memoryDisk();
    let written = 0;
    let promised = 0;
    for (let life = 0; life < 5; life++) {
      let inThisLife = 0;
      let preambles = 0;
      const journal = await Journal.open(
        optionsFor(disk, {
          disk: disk.attach(),
          segmentBytesMax: 6000,
          preamble: () => {
            preambles++;
            return [record("p", 9)];
          },
          onDurable: (records) => (inThisLife = records),
        }),
      );
      const numbers = (await texts(journal)).filter((text) => text !== "p").map((text) => Number.parseInt(text, 10));
      if (numbers.some((number, i) => number !== i)) t.fail(`round ${round}: not in order: ${numbers}`);
      if (numbers.length < promised) t.fail(`round ${round}: promised ${promised}, found ${numbers.length}`);
      written = numbers.length;
      const start = written;
      for (let i = random.below(30); i > 0; i--) {
        journal.append(record(`${written++}`.padEnd(random.below(2000))));
        if (random.below(4) === 0) await journal.sync();
      }
      // Preambles come first in each segment, so at most so many of the durable records are not ours.
      promised = start + Math.max(0, inThisLife - preambles);
      if (random.below(3) === 0) void journal.sync().catch(() => {});
      disk.loseTail(random);
    }
  }
  t.pass(`60 rounds of 5 lives`);
});

t.test("a journal is trimmed by whole segments, and a quiet one begins new segments by age", async (t) => {
  const disk = memoryDisk();
  const clock = manualClock();
  const startMs = clock.nowMs();
  const options = optionsFor(disk, { clock, preamble: () => [record("summary", 9)] });
  const journal = await Journal.open(options);
  for (let i = 0; i < 4; i++) {
    journal.append(record(`${i}`));
    await clock.advance(10 * minuteMs);
  }
  await journal.sync();
  t.equal(disk.paths().length, 4);
  t.equal(await journal.trim(startMs + 10 * minuteMs), 0, "the first segment may have had a record until then");
  t.equal(await journal.trim(startMs + 25 * minuteMs), 2);
  t.same(await texts(journal), ["summary", "2", "summary", "3"]);
  t.equal(await journal.read({ segment: 1, offset: 32 }), undefined);
  t.equal(await journal.trim(Number.POSITIVE_INFINITY), 1, "the newest stays");
  await journal.close();
  t.same(await readBack(options), ["summary", "3"]);
});

t.test("version 1 of the format stays readable", async (t) => {
  const golden = new Uint8Array(await readFile(new URL("../golden/journal-v1.hgjl", import.meta.url)));
  const disk = memoryDisk();
  disk.setContent("/j/00000003.journal", golden);
  const journal = await Journal.open(optionsFor(disk));
  const found: unknown[] = [];
  for await (const records of journal.records())
    for (const { kind, payload, place } of records) {
      found.push([kind, Buffer.from(payload).toString("latin1"), place.offset]);
    }
  t.same(found, [
    [16, "what came before", 32],
    [1, "a batch", 64],
    [3, "", 87],
    [2, "\xff\x00", 103],
  ]);
  await journal.close();
});

t.test("on a real disk", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-journal-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const options: JournalOptions = {
    dir: join(dir, "a", "b"),
    disk: systemDisk(),
    clock: manualClock(),
    log: silentLogger(),
  };

  t.test("a journal is written, closed, and read again", async (t) => {
    const journal = await Journal.open(options);
    journal.append(record("one"));
    await journal.sync();
    await t.rejects(Journal.open(options), DirectoryLocked, "while it is open, nobody else may");
    await journal.close();
    t.same(await readBack(options), ["one"]);
  });

  t.test("a directory is refused while its holder lives, with a message that names it", async (t) => {
    const lock = await lockDirectory(dir);
    await t.rejects(lockDirectory(dir), {
      code: "directory_locked",
      message: `${dir}: in use by process ${process.pid} (see ${dir}/lock); give each process its own`,
    });
    await lock.release();
    await lock.release();
    await (await lockDirectory(dir)).release();
  });

  t.test("a holder that was killed with -9 does not lock its directory for ever", async (t) => {
    const script = join(dir, "holder.ts");
    await writeFile(
      script,
      `import { lockDirectory } from ${JSON.stringify(new URL("../../lib/journal/lock.ts", import.meta.url).href)};
       await lockDirectory(${JSON.stringify(dir)});
       process.stdout.write("locked");
       setInterval(() => {}, 1000);`,
    );
    const holder = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    await once(holder.stdout, "data");
    await t.rejects(lockDirectory(dir), DirectoryLocked);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    await (await lockDirectory(dir)).release();
  });

  t.test("a lock file that names nobody is taken over", async (t) => {
    await writeFile(join(dir, "lock"), "");
    await (await lockDirectory(dir)).release();
    t.pass();
  });
});
