// Who owns which target: consistent hashing with bounded loads.
//
// Each secondary has points on a ring, in proportion to its capacity; a target belongs to the secondary of the next point, or,
// when that one already has its share and a twentieth more, to the next one's that has not (Mirrokni, Thorup, Zadimoghaddam:
// Consistent Hashing with Bounded Loads, 2016). A secondary that joins or leaves so moves little more than its own share. The
// same input gives the same owners in every process, whatever the order it comes in.

import ConsistentHash from "consistent-hash";
import { assert } from "#/lib/assert/assert.ts";
import { contentId } from "#/lib/bytes/hash.ts";
import { compareText } from "#/lib/model/labels.ts";

export interface RingTarget {
  readonly id: string;
  /** How many ordinary targets it counts for; 1 when it is left out. */
  readonly weight?: number;
}

export interface RingSecondary {
  readonly name: string;
  /** In ordinary targets. */
  readonly capacity: number;
}

/** A prime below 2^24: the container folds its hash into it, so that all 24 bits of ours count. */
const ringRange = 16_777_213;

/**
 * Of a secondary of ordinary capacity. 1000 keep shares within some ±4 % before the bound, so that one that joins or leaves
 * moves at most 5.4 % of the targets of 20; with 400 it was up to 5.6 %, and more than 1000 gain little for their time.
 */
const pointsPerNode = 1000;
const ordinaryCapacity = 5000;

/** Small ones keep enough points to be even among themselves; large ones do not crowd the ring (2^24 places). */
const pointsMin = 250;
const pointsMax = 20_000;

/** The largest share, relative to what is fair by capacity. A smaller bound moves more targets at a join or leave. */
const loadBound = 1.05;

/**
 * The owner of each target by its id; "" for those that no secondary has room for. Ids and names must be distinct.
 * No secondary gets more than its capacity, nor more than 1.05 times its fair share (rounded up).
 */
export function assignOwners(
  targets: readonly RingTarget[],
  secondaries: readonly RingSecondary[],
): Map<string, string> {
  const ordered = targets.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return assignOwnersInOrder(ordered, secondaries);
}

/** The same for targets in the order in which they choose: where room runs out, the last ones are left without an owner. */
export function assignOwnersInOrder(
  targets: readonly RingTarget[],
  secondaries: readonly RingSecondary[],
): Map<string, string> {
  const ring = new Ring(secondaries);
  const totalWeight = targets.reduce((sum, target) => sum + (target.weight ?? 1), 0);
  const room = ring.roomFor(totalWeight);
  const owners = new Map<string, string>();
  for (const target of targets) {
    const weight = target.weight ?? 1;
    const owner = ring.firstOf(target.id, (name) => room.get(name)! >= weight);
    if (owner !== "") room.set(owner, room.get(owner)! - weight);
    owners.set(target.id, owner);
  }
  return owners;
}

/** The points of one set of secondaries; it never changes. */
export class Ring {
  readonly #ring = new ConsistentHash({ range: ringRange });
  readonly #secondaries: readonly RingSecondary[];

  constructor(secondaries: readonly RingSecondary[]) {
    // Two points may fall together, and then the later one counts: the order must not be the caller's.
    this.#secondaries = secondaries.toSorted((a, b) => compareText(a.name, b.name));
    for (const [index, { name, capacity }] of this.#secondaries.entries()) {
      assert(capacity > 0, `${name}: a secondary's capacity is positive, got ${capacity}`);
      assert(name !== this.#secondaries[index - 1]?.name, `${name}: stands twice among the secondaries`);
      const points = Math.round((pointsPerNode * capacity) / ordinaryCapacity);
      const bounded = Math.min(pointsMax, Math.max(pointsMin, points));
      this.#ring.add(name, bounded, pointsOf(name, bounded));
    }
  }

  /** The first secondary from the target's place on that will have it; "" when none will. */
  firstOf(targetId: string, accepts: (name: string) => boolean): string {
    const count = this.#secondaries.length;
    if (count === 0) return "";
    const key = keyOf(targetId);
    // Nearly always the first or second has room, and each further one costs a longer walk.
    for (let wanted = 2; ; wanted *= 4) {
      const candidates = this.#ring.get(key, Math.min(wanted, count)) as string[];
      for (const candidate of candidates) if (accepts(candidate)) return candidate;
      if (wanted >= count) return "";
    }
  }

  /** What each secondary may take of a load, by its name. */
  roomFor(load: number): Map<string, number> {
    const total = this.#secondaries.reduce((sum, { capacity }) => sum + capacity, 0);
    return new Map(
      this.#secondaries.map(({ name, capacity }) => {
        const share = Math.ceil((loadBound * load * capacity) / total);
        return [name, Math.min(capacity, share)];
      }),
    );
  }
}

/** The first points of a secondary's endless row: one with more capacity only adds to them. */
function pointsOf(name: string, count: number): number[] {
  const points: number[] = [];
  for (let block = 0; points.length < count; block++) {
    const digest = contentId(`${name.length}:${name}${block}`);
    for (let digit = 0; digit + 6 <= digest.length && points.length < count; digit += 6) {
      points.push(Number.parseInt(digest.slice(digit, digit + 6), 16) % ringRange);
    }
  }
  return points;
}

const nibbles = Array.from({ length: 16 }, (_, nibble) => String.fromCharCode(nibble));

/**
 * The container's own hash is poor on names with a common prefix, but keeps six characters of code 0 to 15 as they are: so
 * they carry 24 bits of ours, FNV-1a with MurmurHash3's finish.
 */
function keyOf(id: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash ^= hash >>> 16;
  let key = "";
  for (let shift = 20; shift >= 0; shift -= 4) key += nibbles[(hash >>> shift) & 15];
  return key;
}
