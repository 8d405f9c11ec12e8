// One question, one graph, one table. The table is the graph's legend: pointing at the graph shows every series' value at that
// time, and choosing a row draws that series alone.

import { computed, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { federation, shownNowMs } from "#/global/web/federation.ts";
import { formatClock, formatCount, formatExact } from "#/global/web/format.ts";
import { Graph, seriesColours } from "#/global/web/graph.tsx";
import {
  type Answer,
  answer,
  drawnSeriesMax,
  expr,
  listedSeriesMax,
  range,
  ranges,
  run,
  running,
  type Series,
} from "#/global/web/query.ts";

const examples = [
  { words: "targets up", expr: "sum by (datacenter) (up)" },
  { words: "what is down", expr: "up == 0" },
  { words: "slowest scrapes", expr: "max by (datacenter, job) (scrape_duration_seconds)" },
  { words: "samples a scrape", expr: "avg by (datacenter, job) (scrape_samples_scraped)" },
];

/** The step of the graph that the pointer is at. */
const pointed = signal<number | undefined>(undefined);
/** The key of the series that is drawn alone. */
const alone = signal<string | undefined>(undefined);
const drawn = computed(() =>
  (answer.value?.series ?? []).filter(({ values }) => values.length > 0).slice(0, drawnSeriesMax),
);

export function QueryPanel() {
  return (
    <section class="query" aria-labelledby="query-title">
      <h2 id="query-title" class="hidden">
        Query
      </h2>
      <Question />
      <Result />
    </section>
  );
}

function Question() {
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      if (event.key !== "/" || event.target instanceof HTMLInputElement) return;
      event.preventDefault();
      box.current?.select();
    };
    addEventListener("keydown", focus);
    return () => removeEventListener("keydown", focus);
  }, []);
  function submit(event: Event) {
    event.preventDefault();
    run();
  }
  return (
    <form class="question" onSubmit={submit}>
      <div class="asked">
        <label class="hidden" for="expr">
          PromQL expression
        </label>
        <input
          id="expr"
          ref={box}
          type="text"
          value={expr.value}
          onInput={(event) => {
            expr.value = event.currentTarget.value;
          }}
          placeholder="A PromQL expression, for instance up == 0"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          enterkeyhint="go"
          aria-describedby="expr-help"
        />
        <button type="submit" class={running.value ? "run busy" : "run"}>
          Run
        </button>
      </div>
      <fieldset class="range">
        <legend class="hidden">Range of the graph</legend>
        {ranges.map(({ name, words }) => (
          <label key={name} title={`the last ${words}`}>
            <input
              type="radio"
              name="range"
              value={name}
              checked={range.value === name}
              onChange={() => {
                range.value = name;
                run();
              }}
            />
            <span class="choice">{name}</span>
          </label>
        ))}
      </fieldset>
      <p id="expr-help" class="examples">
        <span class="hint">
          <kbd>/</kbd> to type, <kbd>Enter</kbd> to run; try
        </span>
        {examples.map((example) => (
          <button
            type="button"
            key={example.words}
            title={example.expr}
            onClick={() => {
              expr.value = example.expr;
              run();
            }}
          >
            {example.words}
          </button>
        ))}
      </p>
    </form>
  );
}

function Result() {
  const shown = answer.value;
  if (!shown) {
    const words = running.value ? "Asking …" : "Write an expression above and press Enter.";
    return (
      <p class="empty" aria-live="polite">
        {words}
      </p>
    );
  }
  return (
    <>
      <div role="alert">
        {shown.errors.map((error) => (
          <p key={error} class="error">
            {error}
          </p>
        ))}
      </div>
      {shown.errors.length === 0 && <Missing />}
      {shown.notes.map((note) => (
        <p key={note} class="note">
          {note}
        </p>
      ))}
      {shown.errors.length === 0 && shown.series.length === 0 && shown.text === undefined && (
        <p class="empty">
          Nothing matches <code>{shown.expr}</code> now or in the last{" "}
          {ranges.find(({ name }) => name === shown.range)?.words}.
        </p>
      )}
      {shown.text !== undefined && drawn.value.length === 0 && <p class="scalar">{shown.text}</p>}
      {shown.series.length > 0 && (
        <div class={running.value ? "answer asking" : "answer"}>
          <Graph
            answer={shown}
            series={drawn.value}
            alone={alone.value}
            onPoint={(step) => {
              pointed.value = step;
            }}
          />
          <Table shown={shown} />
        </div>
      )}
    </>
  );
}

/** More names than this are a number. */
const missingNamedMax = 3;

/** An answer says what it may lack: the data centres whose present has not arrived. */
function Missing() {
  const lacking = (federation.value?.datacenters ?? []).filter(({ state }) => state !== "live");
  if (lacking.length === 0) return null;
  const nowMs = shownNowMs.value;
  const words = lacking.slice(0, missingNamedMax).map(({ name, state, lastSampleMs }) => {
    const until = lastSampleMs === null ? "nothing has arrived" : `complete to ${formatClock(lastSampleMs, nowMs)}`;
    return `${name} (${state}, ${until})`;
  });
  const more = lacking.length - words.length;
  return (
    <p class="note">
      This answer may lack the newest samples of {words.join(", ")}
      {more > 0 && ` and ${more} more`}.
    </p>
  );
}

function Table({ shown }: { readonly shown: Answer }) {
  const step = pointed.value;
  const timeS = step === undefined ? undefined : shown.timesS[step];
  const listed = shown.series.slice(0, listedSeriesMax);
  const nowMs = shownNowMs.value;
  return (
    <div class="legend">
      <table>
        <thead>
          <tr>
            <th scope="col" class="head">
              {formatCount(shown.series.length)} series
              {shown.series.length > listed.length && `, ${listed.length} listed`}
              {drawn.value.length === drawnSeriesMax &&
                shown.series.length > drawnSeriesMax &&
                `, ${drawnSeriesMax} drawn`}
            </th>
            <th scope="col" class="head number">
              {timeS === undefined ? "now" : formatClock(timeS * 1000, nowMs)}
            </th>
          </tr>
        </thead>
        <tbody>
          {listed.map((series) => (
            <Line key={series.key} series={series} step={step} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Line({ series, step }: { readonly series: Series; readonly step: number | undefined }) {
  const index = drawn.value.indexOf(series);
  const value = step === undefined ? series.now : (series.values[step] ?? undefined);
  const chosen = alone.value === series.key;
  return (
    <tr class={alone.value !== undefined && !chosen ? "dimmed" : ""}>
      <td>
        <button
          type="button"
          aria-pressed={chosen}
          disabled={index < 0}
          title={chosen ? "Draw all series" : "Draw this series alone"}
          onClick={() => {
            alone.value = chosen ? undefined : series.key;
          }}
        >
          <i class={index < 0 ? "swatch none" : `swatch c${index % seriesColours}`} aria-hidden="true" />
          <Labels series={series} />
        </button>
      </td>
      <td class="number">{value === undefined ? <span class="none">–</span> : formatExact(value)}</td>
    </tr>
  );
}

function Labels({ series: { name, labels } }: { readonly series: Series }) {
  if (name === "" && labels.length === 0) return <code>{"{}"}</code>;
  return (
    <code>
      {name !== "" && <span class="pair">{name}</span>}
      {labels.map(([label, value]) => (
        <span key={label} class="pair">
          <span class="key">{label}=</span>
          {value}
        </span>
      ))}
    </code>
  );
}
