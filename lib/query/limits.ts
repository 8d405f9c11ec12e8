// How much the query API takes on at once.

import { minuteMs } from "#/lib/bytes/units.ts";

/** A query without a `timeout`, or with a longer one, ends here: Prometheus' default. */
export const timeoutMsMax = 2 * minuteMs;

/** One process evaluates on one thread: more at once would only hold more memory (up to 850 MB each) and finish no sooner. */
export const queriesAtOnceMax = 4;

/** A dashboard of 30 panels for each of 30 people. Beyond that, waiting would outlast everyone's patience. */
export const queriesWaitingMax = 1000;

/** Above it a batch of text goes out: big enough to be worth a system call and a gzip block, small enough to be no burden. */
export const chunkTextLength = 64 * 1024;
