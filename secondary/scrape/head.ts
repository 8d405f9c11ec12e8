// The heads of lines (name and labels), each understood once for as long as some target has it.

import { Buffer } from "node:buffer";

import { KiB, MiB } from "#/lib/bytes/units.ts";
import { type Labels, labelsKey, mergeLabels } from "#/lib/model/labels.ts";
import type { LayoutRow } from "#/lib/model/layout.ts";
import type { Target } from "#/lib/model/target.ts";
import { seriesKeyOf } from "#/secondary/scrape/choice.ts";
import { HalvedCache } from "#/secondary/scrape/interned.ts";
import type { ExpositionReader } from "#/secondary/scrape/parse.ts";

/**
 * Of a flood, or of a thousand unlike targets, each head is understood anew when it comes again, which takes a microsecond; these are
 * for what like targets share, some 25,000 heads. Beside its text, three times kept, a head has objects and arrays.
 */
const headsBytesMax = 20 * MiB;
const headBytesAround = 600;
/** Long ones are rare, and not kept. */
const headKeptBytesMax = KiB;

export interface KnownHead {
  readonly name: string;
  readonly labels: Labels;
  readonly key: string;
  /** The row made of it last, for the next layout to share. */
  row: LayoutRow | undefined;
}

export class Heads {
  readonly #known = new HalvedCache<KnownHead>({ weightMax: headsBytesMax });
  /** Those that were not known when they came. */
  understood = 0;

  /** Of the line that `reader` stands in, behind its head. `remember` it where the next body may have it too. */
  understand(reader: ExpositionReader, body: Uint8Array, remember: boolean): KnownHead {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    const text = bytes.toString("latin1", reader.lineStart, reader.at);
    // The text format allows blanks where OpenMetrics does not. No head begins with this character.
    const key = reader.format === "text" ? text : `#${text}`;
    const known = this.#known.get(key);
    if (known) return known;
    this.understood++;
    const { name, labels } = reader.head();
    const head: KnownHead = { name, labels, key: seriesKeyOf(name, labels), row: undefined };
    const bytesKept = 3 * text.length + headBytesAround;
    if (remember && text.length <= headKeptBytesMax) this.#known.set(key, head, bytesKept);
    return head;
  }
}

/** Equal keys mean the same series of this target. `labels` are the head's, as the target's leave them. */
export function seriesKey(head: KnownHead, labels: Labels, target: Target): string {
  if (target.options.honorLabels) return labelsKey(mergeLabels(target.labels, labels, head.name));
  return labels === head.labels ? head.key : seriesKeyOf(head.name, labels);
}
