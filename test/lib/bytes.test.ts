import { Buffer } from "node:buffer";
import fc from "fast-check";
import t from "tap";
import { contentId, contentIdBytes, contentIdFromBytes, crc32 } from "#/lib/bytes/hash.ts";
import { BadBytes, ByteReader } from "#/lib/bytes/reader.ts";
import { ByteWriter, words } from "#/lib/bytes/writer.ts";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
t.comment(`SEED=${seed}`);

function bytesOf(write: (writer: ByteWriter) => void): string {
  const writer = new ByteWriter(1);
  write(writer);
  return Buffer.from(writer.toBytes()).toString("hex");
}

function readerOf(hex: string): ByteReader {
  return new ByteReader(Uint8Array.fromHex(hex));
}

t.test("numbers are written as the formats draw them", (t) => {
  t.equal(
    bytesOf((w) => w.u8(0x12)),
    "12",
  );
  t.equal(
    bytesOf((w) => w.u16(0x1234)),
    "3412",
  );
  t.equal(
    bytesOf((w) => w.u32(0x12345678)),
    "78563412",
  );
  t.equal(
    bytesOf((w) => w.u64(0x9abcdef0, 0x12345678)),
    "f0debc9a78563412",
  );
  t.equal(
    bytesOf((w) => w.f64(1)),
    "000000000000f03f",
  );
  t.equal(
    bytesOf((w) => w.varint(0)),
    "00",
  );
  t.equal(
    bytesOf((w) => w.varint(127)),
    "7f",
  );
  t.equal(
    bytesOf((w) => w.varint(128)),
    "8001",
  );
  t.equal(
    bytesOf((w) => w.varint(300)),
    "ac02",
  );
  t.equal(
    bytesOf((w) => w.varint(Number.MAX_SAFE_INTEGER)),
    "ffffffffffffff0f",
  );
  t.equal(
    bytesOf((w) => w.zigzag(0)),
    "00",
  );
  t.equal(
    bytesOf((w) => w.zigzag(-1)),
    "01",
  );
  t.equal(
    bytesOf((w) => w.zigzag(1)),
    "02",
  );
  t.equal(
    bytesOf((w) => w.zigzag(-64)),
    "7f",
  );
  t.equal(
    bytesOf((w) => w.varint64(0xffffffff, 0xffffffff)),
    "ffffffffffffffffff01",
  );
  t.equal(
    bytesOf((w) => w.varint64(0, 1)),
    "8080808010",
  );
  t.equal(
    bytesOf((w) => w.string("aé")),
    "0361c3a9",
  );
  t.equal(
    bytesOf((w) => w.string("")),
    "00",
  );
  t.end();
});

t.test("every number that is written is read back", (t) => {
  const safe = fc.maxSafeNat();
  const word = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(
    fc.property(
      safe,
      fc.integer({ min: -(2 ** 52) + 1, max: 2 ** 52 - 1 }),
      word,
      word,
      fc.double(),
      (a, b, c, d, e) => {
        const writer = new ByteWriter(1);
        writer.varint(a);
        writer.zigzag(b);
        writer.varint64(c, d);
        writer.u64(c, d);
        writer.f64(e);
        const reader = new ByteReader(writer.toBytes());
        const read = [
          reader.varint(),
          reader.zigzag(),
          reader.varint64(),
          reader.high,
          reader.u64(),
          reader.high,
          reader.f64(),
        ];
        return (
          read.every((value, i) => Object.is(value, [a, b === 0 ? 0 : b, c, d, c, d, e][i])) && reader.remaining === 0
        );
      },
    ),
    { seed },
  );
  t.pass("a hundred random cases");
  t.end();
});

t.test("every string that is UTF-8 is read back, short or long", (t) => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 200 }), fc.nat(3), (text, times) => {
      const long = text.repeat(times);
      const writer = new ByteWriter(1);
      writer.string(long);
      writer.u8(7);
      const reader = new ByteReader(writer.toBytes());
      return reader.string() === long && reader.u8() === 7;
    }),
    { seed },
  );
  t.pass("a hundred random cases");
  t.end();
});

t.test("what runs past the end is refused with its offset, whatever length it claims", (t) => {
  for (const [hex, read] of [
    ["", (r: ByteReader) => r.u8()],
    ["01", (r: ByteReader) => r.u16()],
    ["010203", (r: ByteReader) => r.u32()],
    ["01020304050607", (r: ByteReader) => r.f64()],
    ["80", (r: ByteReader) => r.varint()],
    ["8080", (r: ByteReader) => r.varint64()],
    ["05616263", (r: ByteReader) => r.string()],
    ["ffffffffffffff0f61", (r: ByteReader) => r.string()],
  ] as const) {
    t.throws(() => read(readerOf(hex)), { name: "BadBytes", code: "truncated" }, hex);
  }
  t.throws(() => new ByteReader(new Uint8Array(10), 2, 4).bytes(3), { code: "truncated", offset: 2 });
  t.end();
});

t.test("numbers too long for their type are refused", (t) => {
  t.throws(() => readerOf("ffffffffffffff10").varint(), { code: "overlong" });
  t.throws(() => readerOf("808080808080808001").varint(), { code: "overlong" });
  t.throws(() => readerOf("ffffffffffffffffff02").varint64(), { code: "overlong" });
  t.throws(() => readerOf("8080808080808080808001").varint64(), { code: "overlong" });
  t.end();
});

t.test("text that is not UTF-8 is refused", (t) => {
  t.throws(() => readerOf("02c328").string(), new BadBytes("bad_utf8", 1, "the string is not UTF-8"));
  t.throws(() => readerOf("03eda080").string(), { code: "bad_utf8" }, "a lone surrogate");
  t.end();
});

t.test("a writer can be used again, and patched", (t) => {
  const writer = new ByteWriter(2);
  writer.u32(0);
  writer.bytes(Uint8Array.of(9, 9));
  writer.patchU32(0, 6);
  t.same([...writer.view()], [6, 0, 0, 0, 9, 9]);
  writer.reset();
  t.equal(writer.length, 0);
  writer.u8(1);
  t.same([...writer.toBytes()], [1]);
  const room = writer.reserve(1000);
  room[writer.length++] = 2;
  t.same([...writer.toBytes()], [1, 2]);
  t.end();
});

t.test("numbers below 2^53 split into their words", (t) => {
  t.same(words(0), { low: 0, high: 0 });
  t.same(words(2 ** 32 + 5), { low: 5, high: 1 });
  t.same(words(Number.MAX_SAFE_INTEGER), { low: 0xffffffff, high: 0x1fffff });
  t.end();
});

t.test("hashes are the well-known ones", (t) => {
  // The check value of CRC-32/ISO-HDLC in Williams' "A painless guide to CRC error detection algorithms".
  t.equal(crc32(Buffer.from("123456789")), 0xcbf43926);
  t.equal(crc32(Buffer.from("456789"), crc32(Buffer.from("123"))), 0xcbf43926);
  // FIPS 180-2, appendix B.1: SHA-256 of "abc".
  t.equal(contentId("abc"), "ba7816bf8f01cfea414140de5dae2223");
  t.equal(contentId("a", Uint8Array.of(0x62, 0x63)), contentId("abc"));
  t.equal(contentIdFromBytes(contentIdBytes("ba7816bf8f01cfea414140de5dae2223")), "ba7816bf8f01cfea414140de5dae2223");
  t.end();
});
