// A page for people as it is sent. It needs nothing but itself (no script, no font, no other host), so that it also works from a
// text browser over an ssh tunnel, and its policy forbids the browser everything else.

import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";

import { style } from "#/lib/page/style.ts";
import { escapeHtml } from "#/lib/page/text.ts";

export function documentOf(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escapeHtml(title)}</title><style>${style}</style></head><body>
${body}
</body></html>
`;
}

export function sendPage(reply: FastifyReply, page: string): FastifyReply {
  return reply
    .type("text/html; charset=utf-8")
    .header("cache-control", "no-store")
    .header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
    .send(page);
}

/** Pieces of one JSON document, each made when the one before is on its way. */
export function sendPieces(reply: FastifyReply, pieces: AsyncIterable<string>): FastifyReply {
  return reply.type("application/json; charset=utf-8").send(Readable.from(pieces, { objectMode: false }));
}
