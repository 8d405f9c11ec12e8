// The first page at a global's address: how every data centre is, and one question with one graph.

import { render } from "preact";
import { DatacenterTable } from "#/global/web/datacenters.tsx";
import { answerAgeMs, federation, lostReason, serverNowMs, startPolling } from "#/global/web/federation.ts";
import { formatAge, formatClock, formatCount, formatShort, formatZone } from "#/global/web/format.ts";
import { QueryPanel } from "#/global/web/panel.tsx";
import { startQuerying } from "#/global/web/query.ts";
import { type DatacenterStatus, datacenterStates, type FederationStatus } from "#/lib/model/status.ts";

function Page() {
  return (
    <>
      <Header />
      <Banner />
      <main>
        <section aria-labelledby="datacenters-title">
          <Summary />
          <DatacenterTable />
        </section>
        <QueryPanel />
      </main>
      <Footer />
    </>
  );
}

function Header() {
  const status = federation.value;
  const lost = lostReason.value !== "";
  let said = "Connecting …";
  if (lost) said = "no answer";
  else if (status) said = leadership(status);
  return (
    <header class="top">
      <a class="brand" href="/">
        <img src="/favicon.svg" alt="" width="22" height="22" />
        <span>Heliograph</span>
      </a>
      <h1>{status?.federation ?? ""}</h1>
      <p class={lost ? "server lost" : "server"}>
        {status && <strong>{status.replica}</strong>} <span class="said">{said}</span>
        <span class="pulse" aria-hidden="true" />
      </p>
    </header>
  );
}

function leadership({ replica, leader }: FederationStatus): string {
  if (leader === "") return "no leader known";
  return leader === replica ? "leads" : `stands by ${leader}`;
}

/** What concerns everything below it. Spoken by screen readers when it appears. */
function Banner() {
  const status = federation.value;
  const reason = lostReason.value;
  return (
    <div role="alert">
      {reason !== "" && (
        <p class="banner lost">
          <strong>This page has lost its server:</strong> {reason}.{" "}
          {status
            ? `What you see is ${formatAge(answerAgeMs.value)} old. Trying again every 2 s.`
            : "Trying again every 2 s."}
        </p>
      )}
      {status?.blind && reason === "" && (
        <p class="banner">
          <strong>The hub is blind:</strong> more than half of all data centres fell silent together, so their silence
          says nothing about them. Look at the hub's NATS servers first.
        </p>
      )}
    </div>
  );
}

function Summary() {
  const status = federation.value;
  if (!status) return <h2 id="datacenters-title">Data centres</h2>;
  const all = status.datacenters;
  const sum = (of: (datacenter: DatacenterStatus) => number) => all.reduce((total, each) => total + of(each), 0);
  // What is not heard now is neither up nor down: absence is not health.
  const heard = (each: DatacenterStatus) => each.state === "live" || each.state === "delayed";
  const targets = sum((each) => each.targets);
  const down = sum((each) => (heard(each) ? each.down : 0));
  const unheard = sum((each) => (heard(each) ? Math.max(0, each.targets - each.up - each.down) : each.targets));
  return (
    <div class={lostReason.value === "" ? "summary" : "summary stale"}>
      <h2 id="datacenters-title">Data centres</h2>
      <ul class="counts" aria-label="Data centres by state">
        {datacenterStates.map((state) => {
          const members = all.filter((each) => each.state === state);
          if (members.length === 0) return null;
          const first = `#dc-${members[0]!.name}`;
          return (
            <li key={state}>
              <a class={`state ${state}`} href={first}>
                <i aria-hidden="true" />
                {members.length} {state}
              </a>
            </li>
          );
        })}
      </ul>
      <p class="totals">
        <span>
          <b>{formatCount(sum((each) => (heard(each) ? each.up : 0)))}</b> of {formatCount(targets)} targets up
        </span>
        {down > 0 && <span class="bad">{formatCount(down)} down</span>}
        {unheard > 0 && <span>{formatCount(unheard)} not heard</span>}
        <span>
          <b>{formatShort(sum((each) => each.samplesPerSecond))}</b> samples/s
        </span>
      </p>
    </div>
  );
}

function Footer() {
  const nowMs = serverNowMs.value;
  return (
    <footer>
      <span>
        {formatClock(nowMs, nowMs)} {formatZone(nowMs)}
      </span>
      <a href="/targets">who scrapes what</a>
      <a href="/api/v1/datacenters">status as JSON</a>
      <a href="/metrics">own metrics</a>
    </footer>
  );
}

render(<Page />, document.getElementById("page")!);
startPolling();
startQuerying();
