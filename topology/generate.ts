// Writes topology/schema.json, from which editors complete and check the topology file: `node topology/generate.ts`.

import { writeFileSync } from "node:fs";
import { z } from "zod";
import { topologySchema } from "#/topology/schema.ts";

/** The committed file's content; a test holds the two together. */
export function topologyJsonSchema(): string {
  const { $schema, ...schema } = z.toJSONSchema(topologySchema, { io: "input" });
  const titled = {
    $schema,
    $comment: "Made by topology/generate.ts from topology/schema.ts.",
    title: "Heliograph topology",
    ...schema,
  };
  return `${JSON.stringify(titled, null, 2)}\n`;
}

if (import.meta.main) writeFileSync(new URL("schema.json", import.meta.url), topologyJsonSchema());
