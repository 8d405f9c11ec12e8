// What is different between two generations: mostly that a few targets came or went, or that the share of one secondary moved.
//
// A difference names the generation that it is to, and carries a checksum of what it leads to, so that it is never applied to
// anything else. Both lists of targets are sorted by id, so one walk beside each other finds or applies it.

import { crc32 } from "#/lib/bytes/hash.ts";
import { ByteWriter } from "#/lib/bytes/writer.ts";
import { type AssignedTarget, type Generation, type GenerationName, isSameGeneration } from "#/lib/model/generation.ts";
import { sameTarget } from "#/lib/model/target.ts";

export interface GenerationDelta extends Omit<Generation, "targets"> {
  readonly base: GenerationName;
  /** Places in the base's list, ascending: these are gone. */
  readonly removed: readonly number[];
  /** By new owner, each once; places in the base's list, ascending. No place stands in two of these lists. */
  readonly moved: readonly OwnerMoves[];
  /** Sorted by id: those that are new, and whole those that are scraped otherwise than in the base. */
  readonly targets: readonly AssignedTarget[];
  /** Of the targets that come of it. */
  readonly result: { readonly targets: number; readonly checksum: number };
}

export interface OwnerMoves {
  readonly owner: string;
  readonly places: readonly number[];
}

/** unknown_base: it is the difference to another generation. wrong_result: applied, it does not give what it announces. */
export type DeltaErrorCode = "unknown_base" | "wrong_result";

export class DeltaError extends Error {
  override readonly name = "DeltaError";
  readonly code: DeltaErrorCode;

  constructor(code: DeltaErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** What is to be done to the base to have the next one. */
export function diffGenerations(base: Generation, next: Generation): GenerationDelta {
  const removed: number[] = [];
  const moves = new Map<string, number[]>();
  const targets: AssignedTarget[] = [];
  const known = base.targets;
  let place = 0;
  for (const assigned of next.targets) {
    const { id } = assigned.target;
    while (place < known.length && known[place]!.target.id < id) removed.push(place++);
    const earlier = known[place];
    if (earlier?.target.id !== id) targets.push(assigned);
    else {
      if (!sameTarget(earlier.target, assigned.target)) targets.push(assigned);
      else if (earlier.owner !== assigned.owner) {
        const places = moves.get(assigned.owner);
        if (places) places.push(place);
        else moves.set(assigned.owner, [place]);
      }
      place++;
    }
  }
  while (place < known.length) removed.push(place++);
  const { number, token, validFromMs } = base;
  const { targets: all, ...head } = next;
  return {
    ...head,
    base: { number, token, validFromMs },
    removed,
    moved: [...moves].map(([owner, places]) => ({ owner, places })),
    targets,
    result: { targets: all.length, checksum: checksumOf(all) },
  };
}

/** Targets that stay as they are stay the very objects of the base. Throws DeltaError. */
export function applyDelta(base: Generation, delta: GenerationDelta): Generation {
  if (base.datacenter !== delta.datacenter || !isSameGeneration(base, delta.base)) {
    const expected = `${delta.datacenter}'s ${nameOf(delta.base)}`;
    throw new DeltaError(
      "unknown_base",
      `${nameOf(delta)}: expected ${expected}, got ${base.datacenter}'s ${nameOf(base)}`,
    );
  }
  const { base: _base, moved, removed, result, targets, ...head } = delta;
  const all = removed.length + moved.length + targets.length === 0 ? base.targets : merged(base, delta);
  const checksum = all.length === result.targets ? checksumOf(all) : undefined;
  if (checksum !== result.checksum) {
    const expected = `${result.targets} targets with the checksum ${hex(result.checksum)}`;
    const got = `${all.length}${checksum === undefined ? "" : ` with ${hex(checksum)}`}`;
    throw new DeltaError("wrong_result", `${nameOf(delta)}: expected ${expected}, got ${got}`);
  }
  return { ...head, targets: all };
}

function merged(base: Generation, delta: GenerationDelta): AssignedTarget[] {
  const known = base.targets;
  const { moved, removed, targets } = delta;
  /** A place's new owner is `fates - 2`; 0 is as it was, 1 is gone. */
  const fates = new Uint32Array(known.length);
  const decide = (place: number, fate: number) => {
    if (place >= known.length || fates[place] !== 0) {
      const expected = `places below ${known.length}, each once`;
      throw new DeltaError("wrong_result", `${nameOf(delta)}: expected ${expected}, got ${place}`);
    }
    fates[place] = fate;
  };
  for (const place of removed) decide(place, 1);
  for (const [i, { places }] of moved.entries()) for (const place of places) decide(place, i + 2);
  const all: AssignedTarget[] = [];
  let added = 0;
  for (let place = 0; place < known.length; place++) {
    const earlier = known[place]!;
    const { id } = earlier.target;
    while (added < targets.length && targets[added]!.target.id < id) all.push(targets[added++]!);
    const fate = fates[place]!;
    if (targets[added]?.target.id === id) all.push(targets[added++]!);
    else if (fate === 0) all.push(earlier);
    else if (fate > 1) all.push({ target: earlier.target, owner: moved[fate - 2]!.owner });
  }
  while (added < targets.length) all.push(targets[added++]!);
  return all;
}

/**
 * CRC-32 over the 16 bytes of each id, then for each target the number of its owner (varint) in order of first use, then the
 * owners' names (strings) in that order.
 */
export function checksumOf(targets: readonly AssignedTarget[]): number {
  const numbers = new Map<string, number>();
  const owners = new ByteWriter(targets.length + 1024);
  const ids: string[] = [];
  for (const { owner, target } of targets) {
    ids.push(target.id);
    let number = numbers.get(owner);
    if (number === undefined) {
      number = numbers.size;
      numbers.set(owner, number);
    }
    owners.varint(number);
  }
  for (const owner of numbers.keys()) owners.string(owner);
  return crc32(owners.view(), crc32(Uint8Array.fromHex(ids.join(""))));
}

function nameOf({ number, token, validFromMs }: GenerationName): string {
  return `generation ${number} (token ${token}, valid from ${validFromMs})`;
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
