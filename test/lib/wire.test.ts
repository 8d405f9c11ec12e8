import t from "tap";
import { systemClock } from "#/lib/clock/clock.ts";
import { type Logger, silentLogger } from "#/lib/logger/logger.ts";
import { systemRandom } from "#/lib/random/random.ts";
import { connectPrimary, servePrimary } from "#/lib/wire/grpc.ts";
import { connectNats } from "#/lib/wire/jetstream.ts";
import { type PrimaryHandlers, WireError } from "#/lib/wire/session.ts";
import { identityOf, plainReason, readTls } from "#/lib/wire/tls.ts";
import { makeAuthority } from "#/test/support/certificates.ts";
import { startNats } from "#/test/support/nats.ts";
import { freePort } from "#/test/support/port.ts";
import { startRelay } from "#/test/support/relay.ts";

const log = silentLogger();
const clock = systemClock();
const listen = "127.0.0.1:0";
const running = new AbortController().signal;
const hello = {
  hello: {
    datacenter: "ams",
    secondary: "ams-s1",
    bootEpoch: 1_700_000_000_000,
    batchVersion: 1,
    softwareVersion: "1",
  },
};

/** Answers each batch with its length as an ack's sequence, and admits a backlog of more than one batch. */
const echo: PrimaryHandlers = {
  async push(session) {
    for await (const { backlog, batch } of session.incoming) {
      if (batch) await session.send({ ack: ackOf(batch.length) });
      if (backlog) await session.send({ drain: { admitted: backlog.batches > 1 } });
    }
  },
  async watch(request, send) {
    for (let i = 1; i <= 3; i++) await send({ generation: Buffer.from(`${request.secondary} ${i}`), nowMs: i });
  },
  async reach(session, peer) {
    for await (const { result } of session.incoming) {
      if (result) await session.send({ verdict: { verdict: `${peer} ${result.id}`, sinceMs: result.reached.length } });
    }
  },
};

const ackOf = (accepted: number) => ({ bootEpoch: 1, shard: 2, run: 3, accepted, held: 0, durable: 0 });

t.test("what a secondary reaches has a stream of its own on the same connection", async (t) => {
  const server = await servePrimary({ listen, log, handlers: echo });
  const client = connectPrimary({ address: server.address, log });
  const session = client.reach(running);
  await session.send({ hello: { datacenter: "ams", secondary: "ams-s1" } });
  await session.send({ result: { id: "p1/7", reached: ["a", "b"] } });
  for await (const { probe, verdict } of session.incoming) {
    t.notOk(probe);
    t.same(verdict, { verdict: "undefined p1/7", sinceMs: 2 });
    session.close();
    break;
  }
  client.close();
  await server.close();
});

t.test("a secondary and a primary talk both ways, and the primary may speak after the last batch", async (t) => {
  const server = await servePrimary({
    listen,
    log,
    handlers: {
      ...echo,
      async push(session, peer) {
        t.equal(peer, undefined);
        let batches = 0;
        for await (const message of session.incoming) {
          if (message.hello) t.same(message.hello, hello.hello);
          if (message.batch) batches++;
        }
        await session.send({ ack: ackOf(batches) });
      },
    },
  });
  const client = connectPrimary({ address: server.address, log });
  const session = client.push(running);
  await session.send(hello);
  for (let i = 0; i < 5; i++) await session.send({ batch: Buffer.from([1, 2, 3]) });
  session.close();
  session.close();
  const answers = [];
  for await (const answer of session.incoming) answers.push(answer);
  t.same(answers, [{ ack: ackOf(5) }]);
  await t.rejects(session.send(hello), { name: "WireError", code: "broken" });

  const request = { datacenter: "ams", secondary: "ams-s1", generation: 4, token: 9, takesDeltas: true };
  const generations = [];
  for await (const { generation } of client.watch(request, running)) generations.push(generation.toString());
  t.same(generations, ["ams-s1 1", "ams-s1 2", "ams-s1 3"]);
  client.close();
  await server.close();
});

t.test("a backlog is told in whole batches, and may be admitted or not", async (t) => {
  const server = await servePrimary({ listen, log, handlers: echo });
  const client = connectPrimary({ address: server.address, log });
  const session = client.push(running);
  await session.send(hello);
  await session.send({ backlog: { batches: 86_400 } });
  await session.send({ backlog: { batches: 0 } });
  const heard: unknown[] = [];
  for await (const response of session.incoming) {
    t.notOk(response.ack ?? response.welcome, "nothing else is meant");
    if (heard.push(response.drain) === 2) break;
  }
  t.same(heard, [{ admitted: true }, { admitted: false }]);
  session.close();
  client.close();
  await server.close();
});

t.test("a batch of 4 MiB passes, one of 6 MiB is refused, and the primary lives on", async (t) => {
  const server = await servePrimary({ listen, log, handlers: echo });
  const client = connectPrimary({ address: server.address, log });
  const session = client.push(running);
  await session.send({ batch: Buffer.alloc(4 * 1024 * 1024) });
  const answers = session.incoming[Symbol.asyncIterator]();
  t.equal((await answers.next()).value?.ack?.accepted, 4 * 1024 * 1024);
  session.send({ batch: Buffer.alloc(6 * 1024 * 1024) }).catch(() => {});
  await t.rejects(answers.next(), { name: "WireError", code: "refused" });
  const again = client.push(running);
  await again.send({ batch: Buffer.alloc(10) });
  t.equal((await again.incoming[Symbol.asyncIterator]().next()).value?.ack?.accepted, 10);
  client.close();
  await server.close();
});

t.test("who sends faster than the other side takes waits", async (t) => {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let received = 0;
  const server = await servePrimary({
    listen,
    log,
    handlers: {
      ...echo,
      async push(session) {
        await released;
        for await (const { batch } of session.incoming) if (batch) received++;
        await session.send({ ack: ackOf(received) });
      },
    },
  });
  const client = connectPrimary({ address: server.address, log });
  const session = client.push(running);
  let sent = 0;
  const sending = (async () => {
    for (let i = 0; i < 40; i++) {
      await session.send({ batch: Buffer.alloc(1024 * 1024, i) });
      sent++;
    }
    session.close();
  })();
  await clock.sleep(700);
  t.ok(sent < 25, `${sent} of 40 MiB had left while nothing was read`);
  release();
  await sending;
  t.equal((await session.incoming[Symbol.asyncIterator]().next()).value?.ack?.accepted, 40);
  client.close();
  await server.close();
});

t.test("a refusal says why, and a broken handler breaks only its own stream", async (t) => {
  const server = await servePrimary({
    listen,
    log,
    handlers: {
      ...echo,
      async push(session) {
        const { value } = await session.incoming[Symbol.asyncIterator]().next();
        if (value?.hello) throw new WireError("refused", "ams-s1 is not of this data centre");
        throw new Error("something broke");
      },
    },
  });
  const client = connectPrimary({ address: server.address, log });
  const refused = client.push(running);
  await refused.send(hello);
  await t.rejects(refused.incoming[Symbol.asyncIterator]().next(), {
    code: "refused",
    message: `push to ${server.address}: ams-s1 is not of this data centre`,
  });
  const broken = client.push(running);
  await broken.send({ batch: Buffer.alloc(1) });
  await t.rejects(broken.incoming[Symbol.asyncIterator]().next(), { code: "broken", message: /something broke/ });
  const generations = [];
  for await (const { nowMs } of client.watch(
    { datacenter: "ams", secondary: "s", generation: 0, token: 0, takesDeltas: false },
    running,
  )) {
    generations.push(nowMs);
  }
  t.same(generations, [1, 2, 3]);
  client.close();
  await server.close();
});

t.test("both sides hear that the other one is gone", async (t) => {
  let handlerEnded: (error: unknown) => void = () => {};
  const ended = new Promise((resolve) => {
    handlerEnded = resolve;
  });
  const handlers: PrimaryHandlers = {
    ...echo,
    async push(session, _peer, signal) {
      signal.addEventListener("abort", () => handlerEnded("aborted"));
      for await (const { batch } of session.incoming) if (batch) await session.send({ ack: ackOf(1) });
    },
  };

  await t.test("the secondary aborts", async (t) => {
    const server = await servePrimary({ listen, log, handlers });
    const client = connectPrimary({ address: server.address, log });
    const aborter = new AbortController();
    const session = client.push(aborter.signal);
    await session.send({ batch: Buffer.alloc(1) });
    const answers = session.incoming[Symbol.asyncIterator]();
    await answers.next();
    const next = answers.next();
    next.catch(() => {});
    aborter.abort();
    await t.rejects(next, { name: "WireError" });
    t.equal(await ended, "aborted");
    client.close();
    await server.close();
  });

  await t.test("the primary goes, and is away until it is back at its address", async (t) => {
    const address = `127.0.0.1:${await freePort()}`;
    const server = await servePrimary({ listen: address, log, handlers });
    const client = connectPrimary({ address, log });
    const session = client.push(running);
    await session.send({ batch: Buffer.alloc(1) });
    const answers = session.incoming[Symbol.asyncIterator]();
    await answers.next();
    await server.close();
    await server.close();
    await t.rejects(answers.next(), { name: "WireError" });
    await t.rejects(client.push(running).incoming[Symbol.asyncIterator]().next(), { code: "unavailable" });
    const back = await servePrimary({ listen: address, log, handlers });
    const startMs = clock.monotonicMs();
    for (;;) {
      const retry = client.push(running);
      retry.send({ batch: Buffer.alloc(1) }).catch(() => {});
      const answer = await retry.incoming[Symbol.asyncIterator]()
        .next()
        .catch(() => undefined);
      if (answer?.value?.ack) break;
      if (clock.monotonicMs() - startMs > 4000) throw new Error("the client did not find its way back");
      await clock.sleep(50);
    }
    client.close();
    await back.close();
  });
});

t.test("a port that is taken is refused by name", async (t) => {
  const server = await servePrimary({ listen, log, handlers: echo });
  await t.rejects(servePrimary({ listen: server.address, log, handlers: echo }), {
    name: "WireError",
    code: "refused",
    message: new RegExp(`cannot listen at ${server.address}`),
  });
  await server.close();
});

t.test("with TLS both show a certificate, and the primary knows who speaks", async (t) => {
  const [authority, foreign] = await Promise.all([makeAuthority(), makeAuthority()]);
  t.teardown(() => Promise.all([authority.close(), foreign.close()]));
  await authority.issue("ams-p1", "heliograph://ams/primary/ams-p1");
  const named = { ca_file: "ca.pem", cert_file: "{name}.pem", key_file: "{name}.key" };
  const files = Object.fromEntries(Object.entries(named).map(([key, file]) => [key, `${authority.dir}/${file}`]));
  const tls = await readTls(files as typeof named, "ams-p1");
  const peers: (string | undefined)[] = [];
  const server = await servePrimary({
    listen,
    tls,
    log,
    handlers: {
      ...echo,
      async push(session, peer, signal) {
        peers.push(peer);
        await echo.push(session, peer, signal);
      },
    },
  });
  const secondary = await readTls(await authority.issue("ams-s1", "heliograph://ams/secondary/ams-s1"), "ams-s1");
  const client = connectPrimary({ address: server.address, tls: secondary, log });
  const session = client.push(running);
  await session.send({ batch: Buffer.alloc(2) });
  t.equal((await session.incoming[Symbol.asyncIterator]().next()).value?.ack?.accepted, 2);
  t.same(peers, ["heliograph://ams/secondary/ams-s1"]);
  client.close();

  const stranger = await readTls(await foreign.issue("ams-s1", "heliograph://ams/secondary/ams-s1"), "ams-s1");
  for (const [who, clientTls] of [
    ["without a certificate", undefined],
    ["with a foreign authority's", stranger],
    ["with a foreign authority's, trusting ours", { ...stranger, ca: tls.ca }],
  ] as const) {
    const refused = connectPrimary({ address: server.address, ...(clientTls && { tls: clientTls }), log });
    const message = clientTls === undefined || clientTls === stranger ? /^push to / : /our certificate is refused/;
    await t.rejects(
      refused.push(running).incoming[Symbol.asyncIterator]().next(),
      { code: "unavailable", message },
      who,
    );
    refused.close();
  }
  const nameless = await readTls(await authority.issue("nameless", undefined), "nameless");
  const unknown = connectPrimary({ address: server.address, tls: nameless, log });
  const refusal = { code: "refused", message: /expected a certificate with a URI in subjectAltName, got one without/ };
  await t.rejects(unknown.push(running).incoming[Symbol.asyncIterator]().next(), refusal);
  const watched = unknown.watch(
    { datacenter: "ams", secondary: "ams-s1", generation: 0, token: 0, takesDeltas: false },
    running,
  );
  await t.rejects(watched[Symbol.asyncIterator]().next(), refusal);
  unknown.close();
  t.equal(peers.length, 1);
  await server.close();

  await t.rejects(readTls({ ...named, ca_file: "/nowhere/ca.pem" }, "x"), {
    code: "unreadable",
    message: "tls ca_file /nowhere/ca.pem cannot be read: ENOENT",
  });
  const bad = { ca_file: `${authority.dir}/ams-p1.key`, cert_file: files.cert_file!, key_file: files.key_file! };
  await t.rejects(readTls(bad, "ams-p1"), { code: "bad_certificate" });
  const cert_file = files.cert_file!;
  const noKey = { ca_file: files.ca_file!, cert_file, key_file: cert_file };
  await t.rejects(readTls(noKey, "ams-p1"), {
    code: "bad_key",
    message: /ams-p1\.pem: expected a private key \(PEM\)/,
  });
  const otherKey = { ca_file: files.ca_file!, cert_file, key_file: `${authority.dir}/ams-s1.key` };
  await t.rejects(readTls(otherKey, "ams-p1"), {
    code: "bad_key",
    message: /ams-s1\.key: expected the key of .*ams-p1\.pem, got another one$/,
  });
  const alert =
    "40838D00987F0000:error:0A000412:SSL routines:ssl3_read_bytes:ssl/tls alert bad certificate:" +
    "../deps/openssl/openssl/ssl/record/rec_layer_s3.c:918:SSL alert number 42\n";
  t.equal(plainReason(alert), "the other side ended the TLS handshake: bad certificate");
  t.equal(
    plainReason("0:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:a.c:1:\n"),
    "TLS: wrong version number",
  );
  t.equal(plainReason("CONNECTION_REFUSED"), "CONNECTION_REFUSED");
  t.equal(identityOf("DNS:a.example, URI:heliograph://x/y, URI:other://z"), "heliograph://x/y");
  t.equal(identityOf('DNS:"URI:heliograph://forged"'), undefined);
  t.equal(identityOf(undefined), undefined);
});

t.test("a link to NATS waits for its server, says so once, and finds it again and again", async (t) => {
  const said: string[] = [];
  const remember: Logger = {
    ...silentLogger(),
    info: (_fields, sentence) => said.push(sentence),
    warn: (fields, sentence) => said.push(`${sentence} (${fields.reason})`),
  };
  const config = ({ listen }: { listen: string }) =>
    `listen: "${listen}"\nmax_payload: 8MB\nauthorization: { user: "u", password: "p" }`;
  const server = await startNats(config);
  await server.kill();
  const options = { servers: [server.url], user: "u", clock, random: systemRandom(), name: "test" };
  const link = connectNats({ ...options, password: "p", log: remember });
  const stranger = connectNats({ ...options, password: "wrong", log: silentLogger() });
  const changes: boolean[] = [];
  link.onChange((connected) => changes.push(connected));
  const heard: string[] = [];
  link.subscribe("greetings", (message) => heard.push(Buffer.from(message.payload).toString()));
  const empty = Buffer.alloc(0);

  await clock.sleep(700);
  t.equal(link.connected, false);
  t.equal(link.publish("greetings", Buffer.from("lost")), false);
  await t.rejects(link.request("anyone", empty, { timeoutMs: 100 }), { code: "unavailable" });
  t.equal(said.length, 1, said.join());
  t.match(said[0], "NATS is away: trying until it is back.");

  for (let round = 1; round <= 2; round++) {
    await server.start();
    while (!link.connected) await clock.sleep(5);
    t.equal(link.publish("greetings", Buffer.from(`round ${round}`)), true);
    while (heard.length < round) await clock.sleep(5);
    await t.rejects(link.request("anyone", empty, { timeoutMs: 100 }), { code: "no_responders" });
    await t.rejects(link.request("greetings", empty, { timeoutMs: 50 }), { code: "timeout" });
    heard.length = round;
    const aborter = new AbortController();
    const request = link.request("greetings", empty, { timeoutMs: 5000, signal: aborter.signal });
    aborter.abort();
    await t.rejects(request, { name: "AbortError" });
    await clock.sleep(20);
    heard.length = round;
    await server.kill();
    while (link.connected) await clock.sleep(5);
  }
  t.same(heard, ["round 1", "round 2"]);
  t.same(changes, [true, false, true, false]);
  await server.start();
  while (!link.connected) await clock.sleep(5);
  t.throws(() => link.publish("greetings", Buffer.alloc(9 * 1024 * 1024)), { code: "too_large" });
  t.equal(stranger.connected, false, "one with a wrong password keeps trying and is never let in");
  await Promise.all([link.close(), stranger.close()]);
  await link.close();
  t.same(said.filter((sentence) => sentence === "Connected to NATS.").length, 3);
  await server.stop();
});

t.test("a peer that falls silent without a word is noticed, by secondaries within 5 s", async (t) => {
  const deadLine = async () => {
    const server = await servePrimary({ listen, log, handlers: echo });
    const relay = await startRelay(server.address);
    const client = connectPrimary({ address: relay.address, log });
    const session = client.push(running);
    await session.send({ batch: Buffer.alloc(1) });
    const answers = session.incoming[Symbol.asyncIterator]();
    await answers.next();
    relay.cut();
    const cutMs = clock.monotonicMs();
    await t.rejects(answers.next(), { code: "unavailable" });
    const noticedMs = clock.monotonicMs() - cutMs;
    t.ok(noticedMs < 5000, `a dead line after ${noticedMs.toFixed()} ms`);
    client.close();
    await relay.close();
    await server.close();
  };
  const silentServer = async () => {
    const server = await startNats(({ listen }) => `listen: "${listen}"`);
    const link = connectNats({ servers: [server.url], clock, random: systemRandom(), name: "test", log });
    while (!link.connected) await clock.sleep(5);
    server.pause();
    const pausedMs = clock.monotonicMs();
    while (link.connected) await clock.sleep(20);
    const noticedMs = clock.monotonicMs() - pausedMs;
    t.ok(noticedMs < 6500, `a silent NATS server after ${noticedMs.toFixed()} ms`);
    server.resume();
    while (!link.connected) await clock.sleep(5);
    await link.close();
    await server.stop();
  };
  await Promise.all([deadLine(), silentServer()]);
});

t.test("a link over TLS shows its certificate and checks the server's address", async (t) => {
  const authority = await makeAuthority();
  t.teardown(() => authority.close());
  const files = await authority.issue("nats", "heliograph://ams/nats/n1");
  const elsewhere = await authority.issue("elsewhere", "heliograph://ams/nats/n2", "IP:127.0.0.9");
  const config = ({ cert_file, key_file, ca_file }: typeof files) =>
    `tls: { cert_file: "${cert_file}", key_file: "${key_file}", ca_file: "${ca_file}", verify: true }`;
  const server = await startNats(({ listen }) => `listen: "${listen}"\n${config(files)}`);
  const impostor = await startNats(({ listen }) => `listen: "${listen}"\n${config(elsewhere)}`);
  const tls = await readTls(await authority.issue("ams-p1", "heliograph://ams/primary/ams-p1"), "ams-p1");
  const options = { tls, clock, random: systemRandom(), name: "test", log };
  const link = connectNats({ ...options, servers: [`tls://${server.address}`] });
  const refused = connectNats({ ...options, servers: [`tls://${impostor.address}`] });
  while (!link.connected) await clock.sleep(5);
  await clock.sleep(300);
  t.equal(refused.connected, false, "its certificate is for another address");
  await Promise.all([link.close(), refused.close()]);
  await Promise.all([server.stop(), impostor.stop()]);
});
