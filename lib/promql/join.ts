// Arithmetic and comparison between two vectors: one-to-one, or many-to-one with group_left and group_right.
//
// Each signature's rows are paired once; what a pair gives at a step is arithmetic. The rules "one side must be unique" hold
// at every step on its own, since a series may end where its successor begins.

import { type Labels, labelsKey, labelsOf, labelValue, metricNameLabel } from "#/lib/model/labels.ts";
import type { ArithmeticOperator, ComparisonOperator, Matching } from "#/lib/promql/ast.ts";
import type { Context } from "#/lib/promql/context.ts";
import { executionError } from "#/lib/promql/errors.ts";
import { arithmetic, comparison, isArithmetic } from "#/lib/promql/operators.ts";
import { rowsBySignature, signatureLabels } from "#/lib/promql/signature.ts";
import { labelsText, sameLabelsError, type Vector, VectorBuilder } from "#/lib/promql/vector.ts";

export interface Join {
  readonly operator: ArithmeticOperator | ComparisonOperator;
  readonly bool: boolean;
  readonly matching: Matching;
}

/** Throws QueryError where the matching is not unique. */
export function joinVectors(context: Context, left: Vector, right: Vector, join: Join): Promise<Vector> {
  return new Joiner(context, left, right, join).run();
}

interface Contribution {
  readonly signature: string;
  /** The row of the result. */
  readonly row: number;
  /** Which steps had a pair, whether or not the comparison kept it; kept only once two pairs share a row. */
  matched: Uint8Array;
}

class Joiner {
  readonly #context: Context;
  readonly #steps: number;
  readonly #join: Join;
  /** The side with several series a match, and the one that must be unique; one-to-one is many-to-one from the left. */
  readonly #many: Vector;
  readonly #one: Vector;
  readonly #manyIsLeft: boolean;
  readonly #fillMany: number | undefined;
  readonly #fillOne: number | undefined;
  readonly #builder: VectorBuilder;
  readonly #contributions = new Map<string, Contribution>();
  readonly #apply: (left: number, right: number) => number;
  readonly #filters: boolean;

  constructor(context: Context, left: Vector, right: Vector, join: Join) {
    const { matching, operator, bool } = join;
    this.#steps = left.steps;
    this.#join = join;
    this.#manyIsLeft = matching.group !== "right";
    this.#many = this.#manyIsLeft ? left : right;
    this.#one = this.#manyIsLeft ? right : left;
    this.#fillMany = this.#manyIsLeft ? matching.fillLeft : matching.fillRight;
    this.#fillOne = this.#manyIsLeft ? matching.fillRight : matching.fillLeft;
    this.#context = context;
    this.#builder = new VectorBuilder(this.#steps, this.#many.labels.length);
    this.#filters = !isArithmetic(operator) && !bool;
    if (isArithmetic(operator)) {
      this.#apply = arithmetic[operator];
    } else {
      const compare = comparison[operator];
      this.#apply = (a, b) => Number(compare(a, b));
    }
  }

  async run(): Promise<Vector> {
    const { matching } = this.#join;
    const oneRows = rowsBySignature(this.#one.labels, matching);
    const manyRows = rowsBySignature(this.#many.labels, matching);
    for (const rows of oneRows.values()) if (rows.length > 1) this.#refuseManyToMany(rows);
    for (const [signature, rows] of manyRows) {
      const partners = oneRows.get(signature) ?? [];
      if (matching.group === "none" && rows.length > 1) this.#refuseImplicitGroup(rows, partners);
      for (const manyRow of rows) {
        for (const oneRow of partners) {
          this.#pair(signature, manyRow, oneRow);
          const turn = this.#context.pace(this.#steps);
          if (turn) await turn;
        }
        if (this.#fillOne !== undefined) this.#fillMissingOne(signature, manyRow, partners, this.#fillOne);
      }
    }
    if (this.#fillMany !== undefined) {
      for (const [signature, rows] of oneRows) {
        const partners = manyRows.get(signature) ?? [];
        for (const oneRow of rows) this.#fillMissingMany(signature, oneRow, partners, this.#fillMany);
      }
    }
    return this.#builder.finish();
  }

  #pair(signature: string, manyRow: number, oneRow: number): void {
    const many = manyRow * this.#steps;
    const one = oneRow * this.#steps;
    const { present: manyPresent, values: manyValues } = this.#many;
    const { present: onePresent, values: oneValues } = this.#one;
    const matched = new Uint8Array(this.#steps);
    let any = 0;
    for (let i = 0; i < this.#steps; i++) any |= matched[i] = manyPresent[many + i]! & onePresent[one + i]!;
    if (any === 0) return;
    const labels = this.#resultLabels(this.#many.labels[manyRow]!, this.#one.labels[oneRow]!);
    const offset = this.#contribute(signature, labels, matched);
    for (let i = 0; i < this.#steps; i++) {
      if (matched[i] === 1) this.#put(offset + i, manyValues[many + i]!, oneValues[one + i]!);
    }
  }

  #fillMissingOne(signature: string, manyRow: number, partners: readonly number[], fill: number): void {
    const matched = this.#unpartnered(this.#many, manyRow, this.#one, partners);
    if (!matched.includes(1)) return;
    const source = this.#many.labels[manyRow]!;
    const labels = this.#resultLabels(source, signatureLabels(source, this.#join.matching));
    const offset = this.#contribute(signature, labels, matched);
    for (let i = 0; i < this.#steps; i++) {
      if (matched[i] === 1) this.#put(offset + i, this.#many.values[manyRow * this.#steps + i]!, fill);
    }
  }

  #fillMissingMany(signature: string, oneRow: number, partners: readonly number[], fill: number): void {
    const matched = this.#unpartnered(this.#one, oneRow, this.#many, partners);
    if (!matched.includes(1)) return;
    const source = this.#one.labels[oneRow]!;
    const labels = this.#resultLabels(signatureLabels(source, this.#join.matching), source);
    const offset = this.#contribute(signature, labels, matched);
    for (let i = 0; i < this.#steps; i++) {
      if (matched[i] === 1) this.#put(offset + i, fill, this.#one.values[oneRow * this.#steps + i]!);
    }
  }

  /** The steps at which the row has a value and none of its partners has. */
  #unpartnered(side: Vector, row: number, other: Vector, partners: readonly number[]): Uint8Array {
    const alone = side.present.slice(row * this.#steps, (row + 1) * this.#steps);
    for (const partner of partners) {
      for (let i = 0; i < this.#steps; i++) if (other.present[partner * this.#steps + i] === 1) alone[i] = 0;
    }
    return alone;
  }

  #put(at: number, manyValue: number, oneValue: number): void {
    const left = this.#manyIsLeft ? manyValue : oneValue;
    const right = this.#manyIsLeft ? oneValue : manyValue;
    const result = this.#apply(left, right);
    if (this.#filters && result === 0) return;
    this.#builder.values[at] = this.#filters ? left : result;
    this.#builder.present[at] = 1;
  }

  /** The offset of the result's row for these labels. Throws QueryError when it already has a pair at one of the steps. */
  #contribute(signature: string, labels: Labels, matched: Uint8Array): number {
    const key = labelsKey(labels);
    const known = this.#contributions.get(key);
    if (!known) {
      this.#contributions.set(key, { signature, row: this.#builder.rows, matched });
      this.#context.reserve(this.#steps);
      return this.#builder.addRow(labels);
    }
    for (let i = 0; i < this.#steps; i++) {
      if ((known.matched[i]! & matched[i]!) === 0) continue;
      if (known.signature !== signature || this.#join.matching.group === "none") throw sameLabelsError();
      throw executionError("multiple matches for labels: grouping labels must ensure unique matches");
    }
    known.matched = known.matched.map((one, i) => one | matched[i]!);
    return known.row * this.#steps;
  }

  #resultLabels(many: Labels, one: Labels): Labels {
    const { operator, bool, matching } = this.#join;
    const dropsName = bool || isArithmetic(operator);
    let labels = dropsName ? many.filter(([name]) => name !== metricNameLabel) : many;
    if (matching.group === "none" && (matching.on || matching.labels.length > 0)) {
      labels = labels.filter(([name]) => matching.labels.includes(name) === matching.on);
    }
    if (matching.include.length === 0) return labels;
    const kept = labels.filter(([name]) => !matching.include.includes(name));
    return labelsOf([...kept, ...matching.include.map((name) => [name, labelValue(one, name)] as const)]);
  }

  /** Two series of the unique side with the same signature at the same step, where the other side has any at all. */
  #refuseManyToMany(rows: readonly number[]): void {
    for (let i = 0; i < this.#steps; i++) {
      let first: number | undefined;
      for (const row of rows) {
        if (this.#one.present[row * this.#steps + i] === 0) continue;
        if (first === undefined) {
          first = row;
          continue;
        }
        if (!this.#manyHasAnyAt(i)) break;
        const group = labelsText(signatureLabels(this.#one.labels[row]!, this.#join.matching));
        const side = this.#manyIsLeft ? "right" : "left";
        const pair = `[${labelsText(this.#one.labels[row]!)}, ${labelsText(this.#one.labels[first]!)}]`;
        throw executionError(
          `found duplicate series for the match group ${group} on the ${side} hand-side of the operation: ${pair};many-to-many matching not allowed: matching labels must be unique on one side`,
        );
      }
    }
  }

  #manyHasAnyAt(i: number): boolean {
    for (let row = 0; row < this.#many.labels.length; row++) {
      if (this.#many.present[row * this.#steps + i] === 1) return true;
    }
    return false;
  }

  /** Two series on the left for one on the right, without a group modifier. */
  #refuseImplicitGroup(rows: readonly number[], partners: readonly number[]): void {
    for (let i = 0; i < this.#steps; i++) {
      const hasPartner =
        this.#fillOne !== undefined || partners.some((partner) => this.#one.present[partner * this.#steps + i] === 1);
      if (!hasPartner) continue;
      let count = 0;
      for (const row of rows) count += this.#many.present[row * this.#steps + i]!;
      if (count > 1) {
        throw executionError(
          "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        );
      }
    }
  }
}
