// What a primary shows of its data centre: who scrapes what, by the newest generation that it read, and whom the pair hears.

import type { FastifyInstance } from "fastify";
import type { Clock } from "#/lib/clock/clock.ts";
import type { LedgerSource } from "#/lib/ledger/account.ts";
import type { LedgerBook } from "#/lib/ledger/book.ts";
import { meterLedger } from "#/lib/ledger/meter.ts";
import { registerLedger } from "#/lib/ledger/routes.ts";
import { type AssignedSources, secondaryFacts } from "#/lib/page/assigned/source.ts";
import type { HeardByPrimary, LastWords } from "#/lib/page/assigned/words.ts";
import type { Replica } from "#/lib/replica/replica.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { type Priorities, unassignedReason } from "#/primary/assign.ts";
import type { SafetyBook } from "#/primary/safety.ts";
import { addressOf, type Datacenter } from "#/topology/schema.ts";

export interface PrimaryView {
  readonly primary: string;
  readonly datacenter: () => Datacenter;
  /** Undefined while it is replayed. */
  readonly replica: () => Replica | undefined;
  readonly words: Pick<LastWords, "words">;
  readonly discovery: { dropped(): Readonly<Record<string, number>>; priorities(): Priorities };
  readonly incomplete: () => string | undefined;
}

export function assignedSourcesOf(view: PrimaryView): AssignedSources {
  return {
    server: view.primary,
    incomplete: view.incomplete,
    list() {
      const datacenter = view.datacenter();
      const configured = datacenter.secondaries.map(({ capacity, http, name }) => ({
        name,
        capacity,
        url: `http://${addressOf(http)}`,
      }));
      return [
        {
          datacenter: datacenter.name,
          generation: () => view.replica()?.generation,
          last: (id) => view.replica()?.lastOutcome(id),
          secondaries: () => secondaryFacts(configured, view.words.words(), view.replica()?.generation),
          generations: (limit) => view.replica()?.generations(limit) ?? [],
          dropped: () => view.discovery.dropped(),
          whyUnassigned: (generation) => unassignedReason(generation, view.discovery.priorities()),
        },
      ];
    },
  };
}

/** What was due in its data centre, and what became of it. */
export function serveLedger(
  book: LedgerBook,
  at: {
    readonly app: FastifyInstance;
    readonly server: string;
    readonly incomplete: () => string | undefined;
    readonly clock: Clock;
    readonly metrics: Registry;
  },
): void {
  const { app, clock, incomplete, metrics, server } = at;
  const nowMs = () => clock.nowMs();
  const source: LedgerSource = { book, present: () => ({ nowMs: nowMs(), dark: false }) };
  meterLedger(source, metrics);
  registerLedger(app, { server, incomplete, nowMs, list: () => [source] });
}

/** The streams that end at this primary, and what the other one's report said of its own. */
export function heardByPair(
  primary: string,
  connected: HeardByPrimary["secondaries"],
  safety: Pick<SafetyBook, "reports">,
): readonly HeardByPrimary[] {
  const reported = safety
    .reports()
    .map(({ ageMs, name, report }) => ({ primary: name, ageMs, secondaries: report?.secondaries ?? [] }));
  return [{ primary, ageMs: 0, secondaries: connected }, ...reported];
}
