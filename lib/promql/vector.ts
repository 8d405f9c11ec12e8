// An instant vector over all steps of a query at once: one row a series, one column a step, in two flat arrays.
//
// Whether there is a value is told by `present`, never by the value, because NaN is a value like any other. Labels are
// looked at once a row, so that what is done once a step is arithmetic alone.

import { type Labels, labelsKey, metricNameLabel } from "#/lib/model/labels.ts";
import { executionError, quoted } from "#/lib/promql/errors.ts";

/** The times at which an expression is evaluated. */
export interface Grid {
  readonly startMs: number;
  readonly stepMs: number;
  /** At least 1. */
  readonly steps: number;
}

/** Row r is at [r × steps, (r + 1) × steps) of both arrays. A row may be without any value. */
export interface Vector {
  readonly kind: "vector";
  readonly steps: number;
  readonly labels: readonly Labels[];
  readonly values: Float64Array;
  /** 1 where there is a value, else 0. */
  readonly present: Uint8Array;
}

export interface Scalar {
  readonly kind: "scalar";
  /** One a step. */
  readonly values: Float64Array;
}

export interface Text {
  readonly kind: "text";
  readonly value: string;
}

export type Value = Vector | Scalar | Text;

export function emptyVector(steps: number): Vector {
  return { kind: "vector", steps, labels: [], values: new Float64Array(0), present: new Uint8Array(0) };
}

/** Takes rows one by one when it is not known before how many there will be. */
export class VectorBuilder {
  readonly steps: number;
  readonly #labels: Labels[] = [];
  #values: Float64Array;
  #present: Uint8Array;

  constructor(steps: number, rowsExpected = 4) {
    this.steps = steps;
    this.#values = new Float64Array(steps * rowsExpected);
    this.#present = new Uint8Array(steps * rowsExpected);
  }

  get rows(): number {
    return this.#labels.length;
  }

  get values(): Float64Array {
    return this.#values;
  }

  get present(): Uint8Array {
    return this.#present;
  }

  /** The offset of a new row without values. Read `values` and `present` anew afterwards. */
  addRow(labels: Labels): number {
    const offset = this.#labels.length * this.steps;
    if (offset + this.steps > this.#values.length) {
      const values = new Float64Array((offset + this.steps) * 2);
      const present = new Uint8Array(values.length);
      values.set(this.#values);
      present.set(this.#present);
      this.#values = values;
      this.#present = present;
    }
    this.#labels.push(labels);
    return offset;
  }

  /** Takes back the row added last, which must still be without values. */
  dropRow(): void {
    this.#labels.pop();
  }

  finish(): Vector {
    const length = this.#labels.length * this.steps;
    return {
      kind: "vector",
      steps: this.steps,
      labels: this.#labels,
      values: this.#values.subarray(0, length),
      present: this.#present.subarray(0, length),
    };
  }
}

/** The same value at every one of `steps` steps, from a value of one step. */
export function broadcast(value: Value, steps: number): Value {
  if (value.kind === "text") return value;
  if (value.kind === "scalar") return { kind: "scalar", values: new Float64Array(steps).fill(value.values[0]!) };
  const rows = value.labels.length;
  const values = new Float64Array(rows * steps);
  const present = new Uint8Array(rows * steps);
  for (let row = 0; row < rows; row++) {
    values.fill(value.values[row]!, row * steps, (row + 1) * steps);
    present.fill(value.present[row]!, row * steps, (row + 1) * steps);
  }
  return { kind: "vector", steps, labels: value.labels, values, present };
}

export function withoutName(labels: Labels): Labels {
  return labels.some((label) => label[0] === metricNameLabel)
    ? labels.filter((label) => label[0] !== metricNameLabel)
    : labels;
}

/** The vector without metric names. Throws QueryError when two series thereby become one at the same time. */
export function dropNames(vector: Vector): Vector {
  let sameName = true;
  const first = nameOf(vector.labels[0]);
  const labels = vector.labels.map((source) => {
    if (nameOf(source) !== first) sameName = false;
    return withoutName(source);
  });
  const dropped = { ...vector, labels };
  return sameName ? dropped : mergeRows(dropped);
}

function nameOf(labels: Labels | undefined): string {
  for (const label of labels ?? []) if (label[0] === metricNameLabel) return label[1];
  return "";
}

/** Rows of equal labels become one. Throws QueryError when two of them have a value at the same step. */
export function mergeRows(vector: Vector): Vector {
  const { steps, labels } = vector;
  const rowOfKey = new Map<string, number>();
  const target = new Int32Array(labels.length);
  for (const [row, source] of labels.entries()) {
    const key = labelsKey(source);
    const known = rowOfKey.get(key) ?? rowOfKey.size;
    if (known === rowOfKey.size) rowOfKey.set(key, known);
    target[row] = known;
  }
  const rows = rowOfKey.size;
  if (rows === labels.length) return vector;

  const merged: Labels[] = [];
  const values = new Float64Array(rows * steps);
  const present = new Uint8Array(rows * steps);
  for (let row = 0; row < labels.length; row++) {
    merged[target[row]!] ??= labels[row]!;
    const from = row * steps;
    const to = target[row]! * steps;
    for (let i = 0; i < steps; i++) {
      if (vector.present[from + i] === 0) continue;
      if (present[to + i] === 1) throw sameLabelsError();
      present[to + i] = 1;
      values[to + i] = vector.values[from + i]!;
    }
  }
  return { kind: "vector", steps, labels: merged, values, present };
}

export function sameLabelsError() {
  return executionError("vector cannot contain metrics with the same labelset");
}

/** Rows in the order of `order`; rows that are not in it are left out. */
export function pickRows(vector: Vector, order: ArrayLike<number>): Vector {
  const { steps } = vector;
  const values = new Float64Array(order.length * steps);
  const present = new Uint8Array(order.length * steps);
  const labels: Labels[] = [];
  for (let i = 0; i < order.length; i++) {
    const row = order[i]!;
    labels.push(vector.labels[row]!);
    values.set(vector.values.subarray(row * steps, (row + 1) * steps), i * steps);
    present.set(vector.present.subarray(row * steps, (row + 1) * steps), i * steps);
  }
  return { kind: "vector", steps, labels, values, present };
}

/** `{a="b", c="d"}`, as Prometheus prints labels in its messages. */
export function labelsText(labels: Labels): string {
  return `{${labels.map(([name, value]) => `${labelNameText(name)}=${quoted(value)}`).join(", ")}}`;
}

function labelNameText(name: string): string {
  return /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? name : quoted(name);
}
