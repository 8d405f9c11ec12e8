// A lease's key in a NATS key-value bucket: a stream `KV_<bucket>` with one message a key, as the `nats kv` tool knows it.
//
// The revision is the message's sequence, and a write names the revision that it expects to replace, so two writers never
// both succeed. Direct reads are off: a replica that is behind would answer them with an old revision.

import type { LeaseRecord, LeaseStore } from "#/lib/pair/store.ts";
import type { NatsLink } from "#/lib/wire/jetstream.ts";
import { JetStreamApi, JetStreamError, type StreamConfig } from "#/lib/wire/streams.ts";

/** A third of the shortest lease (lease.ts): a call that hangs leaves room for another. */
const callTimeoutMs = 1000;

/** A lease's record is 200 bytes. */
const valueBytesMax = 4096;

export interface LeaseStoreOptions {
  readonly link: NatsLink;
  readonly bucket: string;
  readonly key: string;
  readonly replicas: number;
}

/** The bucket is made when there is none. */
export function openLeaseStore({ link, bucket, key, replicas }: LeaseStoreOptions): LeaseStore {
  const api = new JetStreamApi(link, { timeoutMs: callTimeoutMs });
  const stream = `KV_${bucket}`;
  const subject = `$KV.${bucket}.${key}`;
  let made = false;
  link.onChange(() => {
    made = false;
  });
  const ensureBucket = async (): Promise<void> => {
    const last = (await api.streamInfo(stream))?.state.last_seq;
    if (last === undefined) await api.createStream(bucketConfig(bucket, replicas));
    // A record that a power cut tore: nats-server 2.9 takes what is written behind it and finds it never again, so that both of
    // a pair could hold the lease. Only what was there when it was seen is removed.
    else if (last > 0 && !(await api.hasMessage(stream, last))) await api.purge(stream, last + 1);
    made = true;
  };
  return {
    async read(): Promise<LeaseRecord | undefined> {
      if (!made) await ensureBucket();
      try {
        const message = await api.lastMessage(stream, subject);
        return message && { revision: message.seq, value: message.payload };
      } catch (error) {
        made = !isMissing(error) && made;
        throw error;
      }
    },
    async write(value, expectedRevision): Promise<number | undefined> {
      if (!made) await ensureBucket();
      try {
        const headers = { "Nats-Expected-Last-Subject-Sequence": String(expectedRevision) };
        const ack = await api.publish(subject, value, { headers, timeoutMs: callTimeoutMs });
        return ack.seq;
      } catch (error) {
        if (error instanceof JetStreamError && error.code === "conflict") return undefined;
        // No stream takes the subject: the bucket was lost with its disk.
        if ((error as { code?: unknown }).code === "no_responders") made = false;
        throw error;
      }
    },
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof JetStreamError && error.code === "missing";
}

function bucketConfig(bucket: string, replicas: number): StreamConfig {
  return {
    name: `KV_${bucket}`,
    description: "heliograph leases",
    subjects: [`$KV.${bucket}.>`],
    retention: "limits",
    storage: "file",
    discard: "new",
    max_msgs: -1,
    max_msgs_per_subject: 1,
    max_bytes: -1,
    // No lifetime: the contenders' own clocks decide when a lease is over, not the server's.
    max_age: 0,
    max_msg_size: valueBytesMax,
    max_consumers: -1,
    num_replicas: replicas,
    deny_delete: true,
    allow_rollup_hdrs: true,
    allow_direct: false,
  };
}
