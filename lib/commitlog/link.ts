// What the log's two sides, the data centre's and the hub's, have in common towards NATS.

import { LogError } from "#/lib/commitlog/commitlog.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";
import { type NatsLink, NatsLinkError } from "#/lib/wire/jetstream.ts";
import { isTransient, JetStreamError } from "#/lib/wire/streams.ts";

interface Watched {
  readonly link: NatsLink;
  readonly datacenter: string;
  readonly metrics: Registry;
}

export function watchConnection({ link, datacenter, metrics }: Watched): void {
  const tell = () => metrics.set("heliograph_log_connected", link.connected ? 1 : 0, { datacenter });
  link.onChange(tell);
  tell();
}

/** What a caller of the log gets to see. */
export function logError(error: unknown): LogError {
  if (error instanceof LogError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (isTransient(error)) return new LogError("unavailable", message, { cause: error });
  if (error instanceof NatsLinkError && error.code === "too_large")
    return new LogError("too_large", message, { cause: error });
  if (error instanceof JetStreamError && error.code === "missing")
    return new LogError("missing", message, { cause: error });
  if (error instanceof JetStreamError || error instanceof NatsLinkError)
    return new LogError("refused", message, { cause: error });
  throw error;
}
