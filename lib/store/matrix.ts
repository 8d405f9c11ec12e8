// A growing table of doubles, a row a scrape: what came together lies together, so that appending a scrape is one copy.
//
// It starts small and doubles, because many targets have few series and many layouts are short-lived. Values are moved as
// bytes, never through a JavaScript number, so that NaNs keep their bits.

const initialRows = 4;

export class Matrix {
  readonly width: number;
  height = 0;
  #data: Float64Array;

  constructor(width: number) {
    this.width = width;
    this.#data = new Float64Array(0);
  }

  get bytes(): number {
    return this.#data.byteLength;
  }

  /** Rows from `at` on move down by one. */
  insert(at: number, row: Float64Array): void {
    const { width } = this;
    if ((this.height + 1) * width > this.#data.length) {
      const grown = new Float64Array(Math.max(initialRows, this.height * 2) * width);
      grown.set(this.#data);
      this.#data = grown;
    }
    if (at < this.height) this.#data.copyWithin((at + 1) * width, at * width, this.height * width);
    this.#data.set(row.length === width ? row : row.subarray(0, width), at * width);
    this.height++;
  }

  /** A view, valid until the next insert. */
  row(at: number): Float64Array {
    return this.#data.subarray(at * this.width, (at + 1) * this.width);
  }

  /** Copies one column into the beginning of `into`. */
  column(column: number, into: Float64Array): void {
    const data = this.#data;
    const { width, height } = this;
    for (let i = 0, at = column; i < height; i++, at += width) into[i] = data[at]!;
  }
}
