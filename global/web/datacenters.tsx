// The data centres, a row each (a card each on a narrow screen): state, targets, samples, lag, and who serves it.

import { federation, lostReason, shownNowMs, trends } from "#/global/web/federation.ts";
import { formatAge, formatClock, formatCount, formatShort } from "#/global/web/format.ts";
import type { DatacenterStatus, PrimaryStatus, SecondaryStatus } from "#/lib/model/status.ts";

/** A secondary that no primary heard for this long is silent: longer than its lease (5 s) and a round of reports. */
const secondarySilentMs = 8000;

/** A data centre with more secondaries shows their number and names only the silent ones. */
const secondariesNamedMax = 6;

const columns = [
  { name: "name", words: "Data centre" },
  { name: "state", words: "State" },
  { name: "targets", words: "Targets" },
  { name: "rate", words: "Samples/s" },
  { name: "lag", words: "Lag" },
  { name: "primaries", words: "Primaries" },
  { name: "secondaries", words: "Secondaries" },
] as const;

export function DatacenterTable() {
  const status = federation.value;
  if (!status) {
    return (
      <p class="empty" aria-live="polite">
        {lostReason.value === "" ? "Asking this server for its data centres …" : "Nothing is known yet."}
      </p>
    );
  }
  if (status.datacenters.length === 0) {
    return <p class="empty">The topology file names no data centre.</p>;
  }
  return (
    <table class={lostReason.value === "" ? "dcs" : "dcs stale"}>
      <thead>
        <tr>
          {columns.map(({ name, words }) => (
            <th key={name} scope="col" class={`col-${name}`}>
              {words}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {status.datacenters.map((datacenter) => (
          <Row key={datacenter.name} datacenter={datacenter} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ datacenter }: { readonly datacenter: DatacenterStatus }) {
  const { name, region, state } = datacenter;
  return (
    <tr id={`dc-${name}`} class={`dc ${state}`}>
      <th scope="row" class="name">
        {name}
        <span class="region">{region}</span>
      </th>
      <td class="is">
        <State datacenter={datacenter} />
      </td>
      <td class="targets">
        <Targets datacenter={datacenter} />
      </td>
      <td class="number rate">
        <span class="label">samples/s </span>
        <Trend name={name} />
        <span class="figure">{formatShort(datacenter.samplesPerSecond)}</span>
      </td>
      <td class="number lag">
        <span class="label">lag </span>
        {datacenter.lagMs === null ? <span class="none">none yet</span> : formatAge(datacenter.lagMs)}
      </td>
      <td class="members primaries">
        <span class="label">primaries </span>
        <ul>
          {datacenter.primaries.map((primary) => (
            <Primary key={primary.name} datacenter={name} primary={primary} />
          ))}
        </ul>
      </td>
      <td class="members secondaries">
        <span class="label">secondaries </span>
        <Secondaries datacenter={datacenter} />
      </td>
    </tr>
  );
}

function State({ datacenter: { state, sinceMs, reason } }: { readonly datacenter: DatacenterStatus }) {
  const nowMs = shownNowMs.value;
  return (
    <>
      <span class={`state ${state}`}>
        <i aria-hidden="true" />
        {state}
      </span>
      <span class="since">
        since {formatClock(sinceMs, nowMs)} <span class="ago">· {formatAge(nowMs - sinceMs)}</span>
      </span>
      {reason !== "" && <span class="reason">{reason}</span>}
    </>
  );
}

function Targets({ datacenter: { targets, up, down, state } }: { readonly datacenter: DatacenterStatus }) {
  const unheard = Math.max(0, targets - up - down);
  const share = (count: number) => (targets === 0 ? 0 : (100 * count) / targets);
  return (
    <>
      <span class="figures">
        {targets === 0 ? <span class="none">none known yet</span> : <b>{formatCount(up)}</b>}
        {targets > 0 && " up"}
        {down > 0 && <span class="bad"> {formatCount(down)} down</span>}
        {unheard > 0 && <span class="none"> {formatCount(unheard)} unheard</span>}
        {(state === "dark" || state === "unknown") && targets > 0 && <span class="none"> when last heard</span>}
      </span>
      <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        <rect class="bar-rest" width="100" height="4" />
        <rect class="bar-up" width={share(up)} height="4" />
        <rect class="bar-down" x={share(up)} width={down > 0 ? Math.max(1, share(down)) : 0} height="4" />
      </svg>
    </>
  );
}

const trendWidth = 84;
const trendHeight = 20;

/** Three minutes of samples a second, from zero up; drawn from the right, where now is. */
function Trend({ name }: { readonly name: string }) {
  const points = trends.value.get(name) ?? [];
  const top = Math.max(1e-9, ...points) * 1.1;
  const stepX = trendWidth / 89;
  const place = (value: number, i: number) => {
    const x = trendWidth - (points.length - 1 - i) * stepX;
    return `${x.toFixed(1)},${(trendHeight - 1 - (value / top) * (trendHeight - 2)).toFixed(1)}`;
  };
  const line = points.map(place).join(" ");
  const leftX = (trendWidth - (points.length - 1) * stepX).toFixed(1);
  return (
    <svg class="trend" width={trendWidth} height={trendHeight} aria-hidden="true">
      <line class="trend-base" x1="0" x2={trendWidth} y1={trendHeight - 0.5} y2={trendHeight - 0.5} />
      {points.length > 1 && (
        <>
          <polygon points={`${leftX},${trendHeight} ${line} ${trendWidth},${trendHeight}`} />
          <polyline points={line} />
        </>
      )}
    </svg>
  );
}

function Primary({ datacenter, primary }: { readonly datacenter: string; readonly primary: PrimaryStatus }) {
  const { name, reachable, leader, lagMs } = primary;
  const words = reachable === null ? "not asked" : reachable ? "answers" : "no answer";
  const lag = lagMs === null ? "" : `, ${formatAge(lagMs)} behind its log`;
  return (
    <li class={reachable === null ? "unasked" : reachable ? "ok" : "no"} title={`${name}: ${words} directly${lag}`}>
      <i class="dot" aria-hidden="true" />
      {shortName(name, datacenter)}
      {leader && reachable !== false && <em> leads</em>}
      {reachable !== true && <em class="no"> {words}</em>}
    </li>
  );
}

function Secondaries({ datacenter: { name, state, secondaries } }: { readonly datacenter: DatacenterStatus }) {
  if (secondaries.length === 0) return <span class="none">none</span>;
  // Nobody can tell here how they do; that its secondaries are silent too says nothing new.
  const tellable = state === "live" || state === "delayed";
  const silent = tellable ? secondaries.filter(({ ageMs }) => ageMs === null || ageMs > secondarySilentMs) : [];
  const cutOff = tellable ? secondaries.filter((each) => each.state === "cut_off" && !silent.includes(each)) : [];
  if (secondaries.length <= secondariesNamedMax) {
    return (
      <ul>
        {secondaries.map((each) => (
          <Secondary
            key={each.name}
            datacenter={name}
            secondary={each}
            silent={silent.includes(each)}
            tellable={tellable}
          />
        ))}
      </ul>
    );
  }
  const heard = tellable
    ? `${secondaries.length - silent.length} of ${secondaries.length} heard`
    : `${secondaries.length} in all`;
  return (
    <ul>
      <li class={tellable && silent.length + cutOff.length === 0 ? "ok" : "unasked"}>
        <i class="dot" aria-hidden="true" />
        {heard}
      </li>
      {cutOff.slice(0, secondariesNamedMax).map((each) => (
        <Secondary key={each.name} datacenter={name} secondary={each} silent={false} tellable={true} />
      ))}
      {cutOff.length > secondariesNamedMax && (
        <li class="no">and {cutOff.length - secondariesNamedMax} more cut off from their targets</li>
      )}
      {silent.slice(0, secondariesNamedMax).map((each) => (
        <Secondary key={each.name} datacenter={name} secondary={each} silent={true} tellable={true} />
      ))}
      {silent.length > secondariesNamedMax && <li class="no">and {silent.length - secondariesNamedMax} more silent</li>}
    </ul>
  );
}

interface SecondaryProps {
  readonly datacenter: string;
  readonly secondary: SecondaryStatus;
  readonly silent: boolean;
  readonly tellable: boolean;
}

/** Why a secondary that is heard gets no targets. */
const standings = { active: "", cut_off: "cut off", damped: "damped", draining: "draining" } as const;

function Secondary({ datacenter, secondary: { name, ageMs, state, targets }, silent, tellable }: SecondaryProps) {
  const age = ageMs === null ? "never heard" : `last heard ${formatAge(ageMs)} ago`;
  const standing = tellable && !silent && state ? standings[state] : "";
  const isBad = silent || standing === standings.cut_off;
  const title = `${name}: ${formatCount(targets)} targets, ${age}${standing && `, ${standing}`}`;
  return (
    <li class={isBad ? "no" : tellable ? "ok" : "unasked"} title={title}>
      <i class="dot" aria-hidden="true" />
      {shortName(name, datacenter)}
      <em> {formatCount(targets)}</em>
      {standing && <em class={isBad ? "no" : undefined}> {standing}</em>}
      {silent && <em class="no"> {ageMs === null ? "never heard" : `silent ${formatAge(ageMs)}`}</em>}
    </li>
  );
}

/** `ams-1-s2` is `s2` in the row of `ams-1`. */
function shortName(name: string, datacenter: string): string {
  return name.startsWith(`${datacenter}-`) ? name.slice(datacenter.length + 1) : name;
}
