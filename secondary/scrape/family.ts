// Which metric family each sample belongs to, and what the exposition's `# TYPE`, `# HELP` and `# UNIT` say of it.

import type { MetricFamily, MetricType } from "#/lib/model/layout.ts";

/** The suffixes that a family's samples have beside its own name, by type. */
const suffixesOfType: Readonly<Record<MetricType, readonly string[]>> = {
  unknown: [],
  gauge: [],
  stateset: [],
  counter: ["_total", "_created"],
  histogram: ["_bucket", "_count", "_sum", "_created"],
  gaugehistogram: ["_bucket", "_gcount", "_gsum"],
  summary: ["_count", "_sum", "_created"],
  info: ["_info"],
};

/** What a body's comments say of its metrics, and which of it some row uses. */
export class Families {
  readonly used: MetricFamily[] = [];
  readonly #declared = new Map<string, { type: MetricType; help: string; unit: string }>();
  readonly #indexOfFamily = new Map<string, number>();
  readonly #indexOfSample = new Map<string, number>();

  declare(name: string, kind: "type" | "help" | "unit", text: string): void {
    let family = this.#declared.get(name);
    if (!family) this.#declared.set(name, (family = { type: "unknown", help: "", unit: "" }));
    if (kind === "type") family.type = text as MetricType;
    else family[kind] = text;
  }

  /** Only when the whole body is read: a comment may stand behind the samples that it is about. */
  indexFor(sampleName: string): number {
    const known = this.#indexOfSample.get(sampleName);
    if (known !== undefined) return known;
    const name = this.#familyName(sampleName);
    let index = this.#indexOfFamily.get(name);
    if (index === undefined) {
      const { type, help, unit } = this.#declared.get(name) ?? { type: "unknown", help: "", unit: "" };
      index = this.used.push({ name, type, help, unit }) - 1;
      this.#indexOfFamily.set(name, index);
    }
    this.#indexOfSample.set(sampleName, index);
    return index;
  }

  #familyName(sampleName: string): string {
    if (this.#declared.has(sampleName)) return sampleName;
    const cut = sampleName.lastIndexOf("_");
    if (cut > 0) {
      const name = sampleName.slice(0, cut);
      const family = this.#declared.get(name);
      if (family && suffixesOfType[family.type].includes(sampleName.slice(cut))) return name;
    }
    return sampleName;
  }
}
