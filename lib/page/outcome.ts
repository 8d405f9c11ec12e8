// What an outcome means, for people who did not see the scrape: the secondary that did has more words for it.

import type { Outcome } from "#/lib/model/outcome.ts";

const sentences: Readonly<Record<Outcome, string>> = {
  stored: "",
  partial: "some series were refused",
  failed_timeout: "the body was not whole in time",
  failed_connect: "no connection could be made",
  failed_status: "it answered, but not with 200",
  failed_body_size: "the body is larger than body_size_limit",
  failed_parse: "what it answered is no exposition",
  failed_sample_limit: "it has more samples than sample_limit",
  failed_label_limit: "a label is beyond what the scrape config allows",
  failed_closed: "the target ended the connection in the middle",
  failed_clock: "the secondary's clock is too far off",
  missed_overload: "the secondary was too busy to ask",
  missed_down: "the secondary was not running",
  missed_clock: "the secondary's clock stepped over the slot",
  superseded: "another secondary had it by then",
  failed_tls: "the TLS handshake failed",
  failed_name: "the host's name has no address",
  failed_credentials: "its credentials or certificates could not be read",
  missed_cut_off: "the secondary was cut off from its targets, which others reached",
};

/** Empty when there is nothing to say. */
export function explain(outcome: Outcome): string {
  return sentences[outcome];
}
