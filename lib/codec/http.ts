// How targets are spoken to, as the settings of a generation carry it: one text of JSON, because it is rare, is read once a scrape
// config, and grows by keys. docs/formats/generation.md lists them. A key that is not known is refused: it was meant.

import { z } from "zod";
import type { ByteReader } from "#/lib/bytes/reader.ts";
import type { ByteWriter } from "#/lib/bytes/writer.ts";
import type { Refuse } from "#/lib/codec/envelope.ts";
import {
  type HttpContent,
  type HttpSettings,
  headerTokenPattern,
  httpSettingsBytesMax,
  httpSettingsOf,
  tlsVersions,
} from "#/lib/model/http.ts";

const given = z.union([
  z.strictObject({ text: z.string() }),
  z.strictObject({ file: z.string() }),
  z.strictObject({ secret: z.string() }),
]);
const token = z.string().regex(headerTokenPattern);
const headers = z.array(z.strictObject({ name: token, values: z.array(given) }));
const version = z.enum(tlsVersions);

const content = z.strictObject({
  followRedirects: z.boolean(),
  compression: z.boolean(),
  authorization: z.exactOptional(
    z.union([
      z.strictObject({ type: z.literal("basic"), username: given, password: given }),
      z.strictObject({ type: z.literal("scheme"), scheme: token, credentials: given }),
    ]),
  ),
  headers,
  tls: z.exactOptional(
    z.strictObject({
      ca: z.exactOptional(given),
      cert: z.exactOptional(given),
      key: z.exactOptional(given),
      serverName: z.exactOptional(z.string()),
      insecureSkipVerify: z.boolean(),
      minVersion: z.exactOptional(version),
      maxVersion: z.exactOptional(version),
    }),
  ),
  proxy: z.exactOptional(z.strictObject({ url: z.exactOptional(given), noProxy: z.string(), connectHeaders: headers })),
}) satisfies z.ZodType<Omit<HttpContent, "job">>;

/** Of what is told of settings that cannot be read. */
const reasonLengthMax = 200;

export function writeHttp(writer: ByteWriter, settings: HttpSettings, numberOf: (text: string) => number): void {
  const { id: _id, job: _job, ...rest } = settings;
  writer.varint(numberOf(JSON.stringify(rest)));
}

/** Where something else stands behind. */
export function writeNoHttp(writer: ByteWriter, numberOf: (text: string) => number): void {
  writer.varint(numberOf(""));
}

/** Undefined when nothing is said. `job` is that of the settings it is read in. Throws what `refuse` makes. */
export function readHttp(
  reader: ByteReader,
  job: string,
  string: () => string,
  refuse: Refuse,
): HttpSettings | undefined {
  const at = reader.offset;
  const text = string();
  if (text === "") return undefined;
  if (text.length > httpSettingsBytesMax) {
    const expected = `at most ${httpSettingsBytesMax} bytes of HTTP settings`;
    throw refuse("too_large", at, `settings: expected ${expected}, got ${text.length}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refuse("bad_structure", at, "settings: expected HTTP settings in JSON, got something else", cause);
  }
  const read = content.safeParse(value);
  if (!read.success) {
    const { message, path } = read.error.issues[0]!;
    throw refuse(
      "bad_version",
      at,
      `settings: HTTP settings: ${`${path.join(".")}: ${message}`.slice(0, reasonLengthMax)}`,
    );
  }
  return httpSettingsOf({ job, ...read.data });
}
