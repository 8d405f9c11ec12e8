// A whole secondary that scrapes in its one thread.

import t from "tap";

import { testSecondary } from "#/test/support/secondary-conformance.ts";

testSecondary(t, 1);
