// Bugs that are put in on purpose, to see whether the simulator finds them. Each wraps a part that is handed to a tier; the
// tiers themselves know nothing of it.

import type { GlobalParts } from "#/global/global.ts";
import { KiB } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { openBatch, readBatchHeader, refuseBatch, sealBatch } from "#/lib/codec/batch.ts";
import { RunDecoder } from "#/lib/codec/decode.ts";
import type { EncodedBatch } from "#/lib/codec/encode.ts";
import { inflate } from "#/lib/codec/envelope.ts";
import type { BackChannel, LogReader } from "#/lib/commitlog/commitlog.ts";
import type { Disk, DiskFile } from "#/lib/journal/disk.ts";
import { type RunId, runKey } from "#/lib/model/identity.ts";
import type { LogEntry } from "#/lib/model/log.ts";
import { isStored } from "#/lib/model/outcome.ts";
import type { Scrape } from "#/lib/model/scrape.ts";
import type { LeaseStore } from "#/lib/pair/store.ts";
import type { PrimaryClient, PushResponse, ReachOrder } from "#/lib/wire/session.ts";
import type { PrimaryParts } from "#/primary/primary.ts";
import type { SecondaryParts } from "#/secondary/secondary.ts";

export interface Plant {
  readonly name: string;
  readonly what: string;
  secondary(parts: SecondaryParts): SecondaryParts;
  primary(parts: PrimaryParts): PrimaryParts;
  global(parts: GlobalParts): GlobalParts;
}

const same = <T>(parts: T): T => parts;
export const unplanted: Plant = { name: "none", what: "as it is", secondary: same, primary: same, global: same };

export const plants: readonly Plant[] = [
  plant("report_before_fsync", "a global's disk says it synced, and did not", {
    global: (parts) => ({ ...parts, disk: disk(parts.disk, { sync: async () => {} }) }),
  }),
  plant("name_not_synced", "a new journal file's name is never synced", {
    global: (parts) => ({ ...parts, disk: { ...parts.disk, syncDirectory: async () => {} } }),
  }),
  plant("write_error_swallowed", "a failed write counts as done", {
    global: (parts) => ({ ...parts, disk: disk(parts.disk, { write: swallow }) }),
  }),
  plant("sync_error_swallowed", "a failed fsync counts as done", {
    global: (parts) => ({ ...parts, disk: disk(parts.disk, { sync: swallow }) }),
  }),
  plant("watermark_over_hole", "a global misses an entry and reports the newest it has read", {
    global: (parts) => ({ ...parts, hub: (datacenter) => overHole(parts.hub(datacenter)) }),
  }),
  plant("reader_skips_one", "a global that starts skips the entry after its position", {
    global: (parts) => ({
      ...parts,
      hub: (datacenter) => {
        const view = parts.hub(datacenter);
        return { ...view, log: skipping(view.log) };
      },
    }),
  }),
  plant("decoder_kept", "a global reads a secondary's new run with the decoder of the run before", {
    global: (parts) => ({ ...parts, newDecoder: keptDecoders() }),
  }),
  plant("slot_counted_twice", "a global takes the scrapes of one slot by two secondaries for those of two slots", {
    global: (parts) => ({
      ...parts,
      newDecoder: changing(({ facts, ...scrape }, { secondary }) => ({
        ...scrape,
        facts: { ...facts, slot: facts.slot + (secondary.endsWith("2") ? slotsApart : 0) },
      })),
    }),
  }),
  plant(
    "first_scrape_wins",
    "a global keeps of one slot's scrapes the one that came first, whatever their generations",
    {
      global: (parts) => ({
        ...parts,
        newDecoder: changing(({ facts, ...scrape }) => ({ ...scrape, facts: { ...facts, generation: 0 } })),
      }),
    },
  ),
  plant("repeat_by_sequence_alone", "a primary takes a batch for a repeat by its sequence, whatever its run", {
    primary: (parts) => {
      const last = new Map<string, number>();
      const { commitLog } = parts;
      return {
        ...parts,
        commitLog: altered(commitLog, {
          async append(request, signal) {
            if (request.kind !== "batch") return await commitLog.append(request, signal);
            const { sequence } = readBatchHeader(request.payload);
            if (sequence <= (last.get(request.origin) ?? 0)) return { stream: "", sequence: 0, duplicate: true };
            const result = await commitLog.append(request, signal);
            last.set(request.origin, sequence);
            return result;
          },
        }),
      };
    },
  }),
  plant("accepted_before_append", "a primary acknowledges before the log has answered", {
    primary: (parts) => ({
      ...parts,
      commitLog: altered(parts.commitLog, {
        async append(request, signal) {
          if (request.kind !== "batch") return await parts.commitLog.append(request, signal);
          parts.commitLog.append(request, signal).catch(() => {});
          return { stream: "", sequence: 0, duplicate: false };
        },
      }),
    }),
  }),
  plant("hole_left", "a primary says that it put a batch that another misses into the log again, and did not", {
    primary: (parts) => ({
      ...parts,
      commitLog: altered(parts.commitLog, {
        async append(request, signal) {
          if (request.id.includes("/again/")) return { stream: "", sequence: 0, duplicate: false };
          return await parts.commitLog.append(request, signal);
        },
      }),
    }),
  }),
  plant("loss_ignored", "a primary does not hear that the log lost its tail", {
    primary: (parts) => ({ ...parts, commitLog: altered(parts.commitLog, { onLoss() {} }) }),
  }),
  plant("durable_at_one_global", "a primary takes the first global's word for both", {
    primary: (parts) => ({ ...parts, backChannel: oneForBoth(parts.backChannel) }),
  }),
  plant("spool_forgets_accepted", "a secondary deletes what is accepted", {
    secondary: (parts) => ({ ...parts, connect: (address) => believing(parts.connect(address)) }),
  }),
  plant("cut_off_believed_down", "a secondary that is told that it is cut off tells its targets as down", {
    secondary: (parts) => ({ ...parts, connect: (address) => blaming(parts.connect(address)) }),
  }),
  plant("drop_untold", "a secondary whose spool overflows never tells what it dropped", {
    secondary: (parts) => ({
      ...parts,
      spoolBytesMax: parts.spoolBytesMax ?? KiB,
      shards: (own) => parts.shards(own).map((shard) => Object.assign(Object.create(shard), { tellDropped() {} })),
    }),
  }),
  plant("watermark_runs_ahead", "a secondary's batches say that they tell of two minutes more than they do", {
    secondary: (parts) => ({
      ...parts,
      shards: (shard) => parts.shards({ ...shard, sink: (batch) => shard.sink(aheadBy(batch, 120_000)) }),
    }),
  }),
  plant("failures_not_counted", "a global forgets the outcomes of slots that brought nothing", {
    global: (parts) => ({ ...parts, newDecoder: leaving(({ facts }) => isStored(facts.outcome)) }),
  }),
  plant("lease_without_compare", "the lease is written whatever its revision is", {
    primary: (parts) => ({ ...parts, leaseStore: withoutCompare(parts.leaseStore) }),
  }),
  plant("renewal_believed", "a renewal that got no answer counts as done", {
    primary: (parts) => ({ ...parts, leaseStore: believed(parts.leaseStore) }),
  }),
  plant("lease_on_wall_clock", "leases and patience are measured with the wall clock", {
    primary: (parts) => ({ ...parts, clock: wallOnly(parts.clock) }),
  }),
];

/** More than any two that are compared. */
const slotsApart = 1_000_000;

function plant(name: string, what: string, parts: Partial<Plant>): Plant {
  return { ...unplanted, ...parts, name, what };
}

/** The same but for what is changed. A class's methods need their own `this`, which a spread would lose. */
function altered<T extends object>(real: T, changes: Partial<T>): T {
  return new Proxy(real, {
    get(target, name) {
      if (name in changes) return changes[name as keyof T];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

type FileCalls = { [K in "sync" | "write"]?: (call: () => Promise<void>) => Promise<void> };

function disk(real: Disk, calls: FileCalls): Disk {
  const wrap = (file: DiskFile): DiskFile => ({
    ...file,
    sync: () => (calls.sync ? calls.sync(() => file.sync()) : file.sync()),
    write: (bytes, offset) => (calls.write ? calls.write(() => file.write(bytes, offset)) : file.write(bytes, offset)),
  });
  return { ...real, open: async (path, options) => wrap(await real.open(path, options)) };
}

async function swallow(call: () => Promise<void>): Promise<void> {
  await call().catch(() => {});
}

function overHole<View extends { readonly log: LogReader; readonly backChannel: BackChannel }>(view: View): View {
  const newest = new Map<string, number>();
  let batches = 0;
  async function* read(entries: AsyncIterable<LogEntry>): AsyncGenerator<LogEntry> {
    for await (const entry of entries) {
      if (entry.kind === "batch") {
        const header = readBatchHeader(entry.payload);
        newest.set(runKey(header), header.sequence);
        if (++batches % 40 === 0) continue;
      }
      yield entry;
    }
  }
  return {
    ...view,
    log: altered(view.log, { read: (after, signal) => read(view.log.read(after, signal)) }),
    backChannel: {
      ...view.backChannel,
      publish: (report) =>
        view.backChannel.publish({
          ...report,
          watermarks: report.watermarks.map((each) => ({
            ...each,
            sequence: Math.max(each.sequence, newest.get(runKey(each)) ?? 0),
          })),
        }),
    },
  };
}

function skipping(log: LogReader): LogReader {
  return altered(log, {
    read: (after, signal) => log.read(after && { ...after, sequence: after.sequence + 1 }, signal),
  });
}

type NewDecoder = NonNullable<GlobalParts["newDecoder"]>;

/** One decoder a secondary's start. It is told that everything is of one run, or it would refuse what is not. */
function keptDecoders(): NewDecoder {
  const kept = new Map<string, { readonly run: RunId; readonly decoder: RunDecoder }>();
  return (run, options) => {
    const key = `${run.secondary}/${run.bootEpoch}/${run.shard}`;
    const { decoder, run: first } = kept.get(key) ?? { run, decoder: new RunDecoder(run, options) };
    kept.set(key, { run: first, decoder });
    let sequence = 0;
    return {
      get sequence() {
        return sequence;
      },
      decode(bytes, onScrape) {
        const { header, body } = openBatch(bytes);
        const step = header.sequence === sequence + 1 ? 1 : 2;
        sequence = header.sequence;
        const inflated = inflate(body, header.bodyBytes, "body", refuseBatch);
        const sealed = sealBatch({ ...header, ...first, sequence: decoder.sequence + step }, inflated);
        return decoder.decode(sealed, onScrape);
      },
    };
  };
}

function aheadBy(batch: EncodedBatch, ms: number): EncodedBatch {
  const { body, header } = openBatch(batch.bytes);
  const ahead = { ...header, watermarkMs: header.watermarkMs + ms };
  return { ...batch, header: ahead, bytes: sealBatch(ahead, inflate(body, header.bodyBytes, "body", refuseBatch)) };
}

function leaving(wanted: (scrape: Scrape) => boolean): NewDecoder {
  return (run, options) => {
    const decoder = new RunDecoder(run, options);
    return {
      get sequence() {
        return decoder.sequence;
      },
      decode: (bytes, onScrape) => decoder.decode(bytes, (scrape) => wanted(scrape) && onScrape(scrape)),
    };
  };
}

function changing(change: (scrape: Scrape, run: RunId) => Scrape): NewDecoder {
  return (run, options) => {
    const decoder = new RunDecoder(run, options);
    return {
      get sequence() {
        return decoder.sequence;
      },
      decode: (bytes, onScrape) => decoder.decode(bytes, (scrape) => onScrape(change(scrape, run))),
    };
  };
}

function oneForBoth(channel: BackChannel): BackChannel {
  return {
    ...channel,
    subscribe: (callback) =>
      channel.subscribe((report) => {
        callback(report);
        if (report.tier === "global") callback({ ...report, replica: report.replica === "g1" ? "g2" : "g1" });
      }),
  };
}

function believing(client: PrimaryClient): PrimaryClient {
  async function* read(incoming: AsyncIterable<PushResponse>): AsyncGenerator<PushResponse> {
    for await (const response of incoming) {
      yield response.ack ? { ...response, ack: { ...response.ack, durable: response.ack.accepted } } : response;
    }
  }
  return {
    ...client,
    push(signal) {
      const session = client.push(signal);
      return { ...session, incoming: read(session.incoming) };
    },
  };
}

function blaming(client: PrimaryClient): PrimaryClient {
  async function* read(incoming: AsyncIterable<ReachOrder>): AsyncGenerator<ReachOrder> {
    for await (const order of incoming) {
      yield order.verdict?.verdict === "cut_off" ? { verdict: { ...order.verdict, verdict: "targets_down" } } : order;
    }
  }
  return {
    ...client,
    reach(signal) {
      const session = client.reach(signal);
      return { ...session, incoming: read(session.incoming) };
    },
  };
}

function withoutCompare(store: LeaseStore): LeaseStore {
  return {
    ...store,
    write: async (value) => {
      let revision: number | undefined;
      while (revision === undefined) revision = await store.write(value, (await store.read())?.revision ?? 0);
      return revision;
    },
  };
}

function believed(store: LeaseStore): LeaseStore {
  return {
    ...store,
    write: (value, expectedRevision) => store.write(value, expectedRevision).catch(() => expectedRevision),
  };
}

function wallOnly(clock: Clock): Clock {
  return { ...clock, monotonicMs: () => clock.nowMs() };
}
