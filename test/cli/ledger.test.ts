// `/api/v1/ledger` and `heliograph ledger` against a server that has a ledger which was fed by hand.

import fastify from "fastify";
import t from "tap";
import { meterLedger } from "#/lib/ledger/meter.ts";
import { registerLedger } from "#/lib/ledger/routes.ts";
import { createRegistry } from "#/lib/telemetry/registry.ts";
import { heliograph } from "#/test/support/command.ts";
import { at, Feed, other, startMs, target } from "#/test/support/ledger.ts";

/**
 * One slot failed and one was told twice, two are missing in a hole, one nobody accounts for; the last ones are on their way, and
 * then nobody has the two targets any more.
 */
function fed(): Feed {
  const feed = new Feed();
  feed.generation([target, other], {
    number: 2,
    owner: "",
    validFromMs: at(57),
    secondaries: [{ name: "s1", capacity: 1 }],
  });
  for (let n = 0; n < 53; n++) {
    if (n === 20 || n === 21) continue;
    if (n !== 30) feed.tell(n, n === 10 ? "failed_connect" : "stored");
    if (n === 40) feed.tell(n, "missed_down", 2);
    feed.batch(n + 1, { sequence: n + 1, watermarkMs: at(n + 1) - 1000, createdMs: at(n + 1) - 1000 });
  }
  feed.pass(at(60), "s1");
  return feed;
}

async function serve(feed: Feed, incomplete: () => string | undefined = () => undefined): Promise<string> {
  const app = fastify();
  t.teardown(() => app.close());
  registerLedger(app, { server: "g1", incomplete, nowMs: () => feed.nowMs, list: () => [feed.source()] });
  return await app.listen({ host: "127.0.0.1", port: 0 });
}

const feed = fed();
const url = await serve(feed);

async function get(path: string, from = url): Promise<{ readonly status: number; readonly body: unknown }> {
  const answer = await fetch(`${from}${path}`);
  return { status: answer.status, body: await answer.json() };
}

const time = (ms: number) => new Date(ms).toISOString();

t.test("it answers what was due and what became of it, by owner", async (t) => {
  const { body, status } = await get("/api/v1/ledger");
  t.equal(status, 200);
  const none = { partial: 0, superseded: 0, dropped: {}, missed: {}, dark: 0, estimated: false };
  const told = { due: 57, stored: 49, failed: { connect: 1 }, lost: { hole: 2 }, inFlight: { backlog: 2, recent: 2 } };
  t.strictSame(body, {
    status: "success",
    data: {
      server: "g1",
      datacenters: [
        {
          datacenter: "fra",
          from: time(startMs - 1000),
          until: time(at(60)),
          settledUntil: time(at(53)),
          total: { ...none, ...told, due: 63, unassigned: 6, unexplained: 1, repeated: 1 },
          rows: [
            { ...none, ...told, owner: "s1", unassigned: 0, unexplained: 1, repeated: 1 },
            {
              ...none,
              owner: "",
              due: 6,
              stored: 0,
              failed: {},
              inFlight: {},
              lost: {},
              unassigned: 6,
              unexplained: 0,
              repeated: 0,
            },
          ],
        },
      ],
    },
  });
});

t.test("by minute and by generation the parts are together the whole", async (t) => {
  for (const [step, parts] of [
    ["minute", 11],
    ["generation", 2],
  ] as const) {
    const { body } = await get(`/api/v1/ledger?step=${step}&since=${time(startMs)}`);
    const [{ rows, total }] = (
      body as { data: { datacenters: [{ rows: { due: number; from: string }[]; total: { due: number } }] } }
    ).data.datacenters;
    t.equal(new Set(rows.map(({ from }) => from)).size, parts);
    t.equal(
      rows.reduce((sum, { due }) => sum + due, 0),
      63,
    );
    t.equal(total.due, 63);
  }
});

t.test("what cannot be asked is refused with what was expected, and a server that still replays says so", async (t) => {
  const refused = async (path: string, from?: string) => {
    const { body, status } = await get(path, from);
    return [status, (body as { error: string }).error];
  };
  const expected = "expected a time as 2026-01-31T12:00:00Z or in seconds since 1970, or how long ago, as 90m";
  t.same(await refused("/api/v1/ledger?since=yesterday"), [400, `since: ${expected}, got "yesterday"`]);
  t.same(await refused("/api/v1/ledger?step=day"), [400, 'step: expected one of total, minute, generation, got "day"']);
  t.same(await refused("/api/v1/ledger?datacenter=nyc"), [400, 'datacenter: expected one of fra, got "nyc"']);
  t.same(await refused("/api/v1/ledger/why?target=x"), [400, `time: ${expected}, got ""`]);
  const replaying = await serve(feed, () => "g1 is still replaying");
  t.same(await refused("/api/v1/ledger", replaying), [503, "g1 is still replaying"]);
});

t.test("why one sample is missing: owner, generation, and the batches that are missing", async (t) => {
  const { body } = await get(`/api/v1/ledger/why?target=10.0.0.1:9100&time=${at(21) / 1000}`);
  t.match(body, {
    data: {
      server: "g1",
      datacenter: "fra",
      due: time(at(21)),
      owner: "s1",
      generation: 1,
      category: "lost",
      reason: "hole",
      missing: { shard: 0, run: 1, from: 21, until: 22 },
      estimated: false,
    },
  });
});

t.test("the command prints a table, and ends with 1 when slots are unexplained", async (t) => {
  const { code, stderr, stdout } = await heliograph(["ledger", "--server", url]);
  t.equal(stderr, "");
  t.equal(code, 1);
  t.equal(
    stdout,
    `fra, 2024-05-01 11:59:59 to 12:10:08 UTC; settled until 12:08:58. Told twice and counted once: 1.
OWNER   DUE  STORED  FAILED  MISSED  UNASSIGNED  LOST  IN FLIGHT  UNEXPLAINED    SHARE  WHY
s1       57      49       1       –           –     2          4            1  85.96 %  failed connect 1, lost hole 2, in flight recent 2, in flight backlog 2
nobody    6       –       –       –           6     –          –            –   0.00 %  –
all      63      49       1       –           6     2          4            1  77.77 %  failed connect 1, lost hole 2, in flight recent 2, in flight backlog 2
`,
  );
});

t.test("the command prints minutes, and why one sample is missing", async (t) => {
  const [minutes, why, nobody, unknown] = await Promise.all([
    heliograph(["ledger", "--server", url, "--by", "minute", "--since", "2m"]),
    heliograph(["ledger", "why", "10.0.0.1:9100", time(at(30)), "--server", url]),
    heliograph(["ledger", "why", "10.0.0.9:9100", "1m", "--server", url]),
    heliograph(["ledger", "--by", "week", "--server", url]),
  ]);
  t.equal(minutes.code, 0);
  t.match(minutes.stdout, "FROM (UTC)");
  t.equal(why.code, 0);
  t.match(why.stdout, "s1 has told of all slots before a later time, and nothing accounts for this one");
  t.equal(nobody.code, 1);
  t.match(nobody.stderr, 'no target that was due within the ledger\'s time is like "10.0.0.9:9100"');
  t.equal(unknown.code, 2);
});

t.test("the last settled hour is a metric, whole minutes of it", (t) => {
  const metrics = createRegistry({ tier: "global" });
  meterLedger(feed.source(), metrics);
  for (let i = 0; i < 3; i++) metrics.expose();
  const slots = (outcome: string) => metrics.get("heliograph_ledger_slots", { datacenter: "fra", outcome });
  t.equal(metrics.get("heliograph_ledger_unexplained_slots", { datacenter: "fra" }), 1);
  t.same([slots("failed"), slots("lost"), slots("in_flight"), slots("unassigned")], [1, 2, 1, 0]);
  t.end();
});
