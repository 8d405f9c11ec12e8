// What is fuzzed, as the fuzzer sees it: steps made by chance, and trials that take one step after the other.

import type { Random } from "#/lib/random/random.ts";

export interface Fuzzed<Step> {
  readonly name: string;
  /**
   * Some steps that belong together. Those that are new are inputs; the others are there so that something is known before.
   * The generator is told whether each was taken, or refused as it should be.
   */
  steps(random: Random): Generator<Step & { readonly isNew?: boolean }, void, boolean>;
  open(): Trial<Step>;
  /** For people, and enough to repeat it. */
  tell(step: Step): string;
  /** What of a step can be made smaller. */
  parts(step: Step): string;
  withParts(step: Step, parts: string): Step;
}

/** Bytes as a string literal. */
export function literal(bytes: string): string {
  return JSON.stringify(bytes).replace(/[^ -~]/g, (byte) => `\\u${byte.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Remembers what it was given. */
export interface Trial<Step> {
  readonly counts: Readonly<Record<string, number>>;
  /** What is wrong about it, or nothing. */
  try(step: Step): string | undefined;
  /** Whether the last step was one that can be taken. */
  readonly isTaken: boolean;
  /** The same of all steps together. */
  end(): string | undefined;
}
