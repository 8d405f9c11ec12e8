// What a reader asks of a list of targets, in the query string of its address; and the links that change one thing of it.

import { escapeHtml, formatCount } from "#/lib/page/text.ts";

/** Rows of one page: more than one screen, and about 15 kB once compressed. */
export const pageRowsMax = 100;

export interface Filter<Show extends string = string, Order extends string = string> {
  readonly show: Show | "all";
  /** "" for every one; so are the next two. */
  readonly outcome: string;
  readonly job: string;
  /** In URL, labels (as `name=value`), outcome or error, in any case. */
  readonly find: string;
  readonly sort: Order;
  /** From 1. */
  readonly page: number;
}

/** One value of a query string; "" when it is not there. */
export function parameter(query: unknown, name: string): string {
  const given = ((query ?? {}) as Readonly<Record<string, unknown>>)[name];
  const value: unknown = Array.isArray(given) ? given[0] : given;
  return typeof value === "string" ? value : "";
}

/** What cannot be understood is as if it were not there. The first order is the one that need not be named. */
export function readFilter<Show extends string, Order extends string>(
  query: unknown,
  { shows, orders }: { readonly shows: readonly Show[]; readonly orders: readonly [Order, ...Order[]] },
): Filter<Show, Order> {
  const text = (name: string) => parameter(query, name);
  return {
    show: shows.find((show) => show === text("show")) ?? "all",
    outcome: text("outcome"),
    job: text("job") || text("scrapePool"),
    find: text("find"),
    sort: orders.find((order) => order === text("sort")) ?? orders[0],
    page: Math.max(1, Math.min(1e6, Math.floor(Number(text("page"))) || 1)),
  };
}

/** Where one page of a list stands in it. */
export interface Place {
  readonly page: number;
  readonly pages: number;
  /** The first of its rows, from 0. */
  readonly from: number;
  readonly found: number;
}

export function placeOf({ page }: Pick<Filter, "page">, found: number): Place {
  const pages = Math.max(1, Math.ceil(found / pageRowsMax));
  const at = Math.min(page, pages);
  return { page: at, pages, from: (at - 1) * pageRowsMax, found };
}

/** Links and fields of a page whose filter this is. `plain` is what an empty query string means: it is left out of addresses. */
export class FilterLinks<F extends Filter> {
  readonly #filter: F;
  readonly #plain: F;

  constructor(filter: F, plain: F) {
    this.#filter = filter;
    this.#plain = plain;
  }

  /** The same page with that changed. */
  href(change: Partial<F>): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...this.#filter, ...change })) {
      if (value !== this.#plain[name as keyof F]) query.set(name, String(value));
    }
    return `?${escapeHtml(query.toString())}`;
  }

  pill(
    change: Partial<F>,
    {
      text,
      number,
      current,
      kind,
    }: { readonly text: string; readonly number: number; readonly current: boolean; readonly kind: string },
  ): string {
    return `<a class="${kind}${number === 0 ? " zero" : ""}" href="${this.href({ ...change, page: 1 })}"${current ? ' aria-current="page"' : ""}>${escapeHtml(text)} <b>${formatCount(number)}</b></a>`;
  }

  /** The head of a column that the list can be put in the order of. */
  head(text: string, sort: F["sort"], className = ""): string {
    const current = this.#filter.sort === sort;
    const change = { sort, page: 1 } as Partial<F>;
    return `<th class="${className}"${current ? ' aria-sort="other"' : ""}><a href="${this.href(change)}">${text}</a></th>`;
  }

  /** What a form does not ask for itself. */
  hiddenInputs(names: readonly (keyof F & string)[]): string {
    return names
      .filter((name) => this.#filter[name] !== this.#plain[name])
      .map((name) => `<input type="hidden" name="${name}" value="${escapeHtml(String(this.#filter[name]))}">`)
      .join("");
  }

  pager({ page, pages, from, found }: Place, rows: number): string {
    if (pages === 1) return "";
    const step = (to: number, text: string) =>
      to < 1 || to > pages ? `<span>${text}</span>` : `<a href="${this.href({ page: to } as Partial<F>)}">${text}</a>`;
    return `<p class="pager">${step(page - 1, "← before")} ${formatCount(from + 1)}–${formatCount(from + rows)} of ${formatCount(found)} ${step(page + 1, "more →")}</p>`;
  }
}

/** A choice of one of them, or of none. */
export function selectBox(name: string, every: string, values: readonly string[], chosen: string): string {
  const options = values.map((value) => `<option${value === chosen ? " selected" : ""}>${escapeHtml(value)}</option>`);
  return `<select name="${name}" aria-label="${name}"><option value="">${every}</option>${options.join("")}</select>`;
}
