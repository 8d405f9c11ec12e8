// How a generation is written to the log: whole, or as the difference to the one before.
//
// Whoever begins to read the log, with an empty disk or after a hole, must learn the newest generation from what is there. So
// each segment has a whole one, differences follow for a few minutes only, and the newest whole one is written again before the
// log drops it. Written again, it is the same generation: whoever knows it takes no notice.

import { minuteMs, secondMs } from "#/lib/bytes/units.ts";
import type { Clock } from "#/lib/clock/clock.ts";
import { encodeDelta, encodeGeneration } from "#/lib/codec/generation.ts";
import { generationBytesMax } from "#/lib/codec/limits.ts";
import type { LogReader, LogWriter } from "#/lib/commitlog/commitlog.ts";
import type { Logger } from "#/lib/logger/logger.ts";
import { diffGenerations } from "#/lib/model/delta.ts";
import type { Generation } from "#/lib/model/generation.ts";
import { changesBetween } from "#/lib/model/history.ts";
import type { LogPosition } from "#/lib/model/log.ts";
import type { GenerationTrail } from "#/lib/replica/generations.ts";
import type { Registry } from "#/lib/telemetry/registry.ts";

/** A generation that was written and is not read back within so long was lost with the log's tail: it is written again. */
const readBackMsMax = 10 * secondMs;

/** Differences since the last whole generation: who begins to read applies them all, and who lacks one waits for the next whole one. */
const deltasMax = 100;
const deltasMsMax = 10 * minuteMs;

/** A difference is worth its trouble when it is at most half of the whole. */
const deltaShareMax = 0.5;

/** What a whole generation would take is not measured at each difference, only bounded: this much of the limit is kept free. */
const fullBytesMax = generationBytesMax * 0.75;

/** How often the log is asked whether it begins to drop its oldest entries, and how long after a failure it is tried again. */
const inspectMs = minuteMs;

export interface GenerationWriterParts {
  readonly datacenter: string;
  readonly primary: string;
  readonly lease: { readonly token: number; held(): boolean };
  readonly log: Pick<LogWriter, "append"> & Pick<LogReader, "info">;
  /** The newest generation read from the log, and how far this primary has read. */
  readonly generation: () => Generation | undefined;
  readonly position: () => LogPosition | undefined;
  /** Where the log tells it whole; undefined when that is not known. */
  readonly trail: () => GenerationTrail | undefined;
  /** The log drops what is older. */
  readonly logAgeMaxMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Registry;
}

export class GenerationWriter {
  readonly #parts: GenerationWriterParts;
  #fullNext = false;
  #inspectedMs = Number.NEGATIVE_INFINITY;
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(parts: GenerationWriterParts) {
    this.#parts = parts;
  }

  /** Whether a reader that begins now learns the newest generation. Throws LogError. */
  async isToldWhole(): Promise<boolean> {
    const { clock, generation, log, logAgeMaxMs, position, trail } = this.#parts;
    const here = position();
    const nowMs = clock.nowMs();
    if (!generation() || !here || clock.monotonicMs() < this.#pausedUntilMs) return true;
    const told = trail();
    if (!told || told.full.position.stream !== here.stream) {
      // What is older than the newest segment is not the end: the whole one may be ahead.
      return (await log.info()).stream !== here.stream;
    }
    const { deltas, firstDeltaMs = nowMs, full } = told;
    if (deltas >= deltasMax || nowMs - firstDeltaMs >= deltasMsMax) return false;
    if (nowMs - full.storedMs >= logAgeMaxMs / 2) return false;
    if (clock.monotonicMs() - this.#inspectedMs < inspectMs) return true;
    this.#inspectedMs = clock.monotonicMs();
    const { firstSequence, lastSequence, stream } = await log.info();
    const isDropping = stream === here.stream && firstSequence > 1;
    return !isDropping || full.position.sequence >= firstSequence + (lastSequence - firstSequence) / 2;
  }

  /** What could not be written whole is not tried again at once. */
  pause(): void {
    this.#pausedUntilMs = this.#parts.clock.monotonicMs() + inspectMs;
  }

  /** False when it was not read back. Throws BadGeneration and LogError. */
  async write(planned: Generation, previous: Generation | undefined, signal: AbortSignal): Promise<boolean> {
    const { datacenter, generation, logger, metrics } = this.#parts;
    const delta = previous && this.#deltaOf(previous, planned);
    const payload = delta?.bytes ?? encodeGeneration(planned);
    const name = `generation/${datacenter}/${planned.number}/${planned.token}`;
    await this.#append(delta ? `${name}/delta` : name, payload, signal);
    const kind = delta ? "delta" : "full";
    const { causes = [], number, secondaries, targets } = planned;
    const changes = changesBetween(previous?.targets ?? [], targets);
    metrics.add("heliograph_primary_generations_total");
    metrics.add("heliograph_primary_generation_bytes_total", payload.length, { kind });
    metrics.add("heliograph_primary_moved_targets_total", changes.moved, { cause: mainCauseOf(planned) });
    logger.info(
      {
        generation: number,
        targets: targets.length,
        secondaries: secondaries.map(({ name }) => name),
        causes: causes.map(({ kind, subject }) => (subject === "" ? kind : `${kind} ${subject}`)),
        ...changes,
        form: kind,
        bytes: payload.length,
      },
      "A new generation stands in the log.",
    );
    // The next plan must follow this one: wait until the replica has read it back.
    const isBack = await this.#isReadBack(() => (generation()?.number ?? 0) >= number, signal);
    this.#fullNext = !isBack;
    return isBack;
  }

  /** Writes the newest one again, as it is and whole. As `write`. */
  async repeat(newest: Generation, signal: AbortSignal): Promise<boolean> {
    const { clock, datacenter, logger, metrics, position, trail } = this.#parts;
    const payload = encodeGeneration(newest);
    const name = `generation/${datacenter}/${newest.number}/${newest.token}/full/${Math.round(clock.nowMs())}`;
    const { sequence, stream } = await this.#append(name, payload, signal);
    metrics.add("heliograph_primary_generation_bytes_total", payload.length, { kind: "full" });
    logger.debug({ generation: newest.number, bytes: payload.length }, "The generation was written again as a whole.");
    return await this.#isReadBack(() => {
      const full = trail()?.full.position;
      const here = position();
      return (full?.stream === stream && full.sequence >= sequence) || (here !== undefined && here.stream !== stream);
    }, signal);
  }

  /** Undefined where it has to be whole, or might as well. */
  #deltaOf(previous: Generation, planned: Generation): { readonly bytes: Uint8Array } | undefined {
    const { clock, position, trail } = this.#parts;
    const told = trail();
    if (this.#fullNext || !told || told.full.position.stream !== position()?.stream) return undefined;
    const nowMs = clock.nowMs();
    if (told.deltas >= deltasMax || nowMs - (told.firstDeltaMs ?? nowMs) >= deltasMsMax) return undefined;
    const delta = diffGenerations(previous, planned);
    if (delta.targets.length + delta.removed.length > planned.targets.length * deltaShareMax) return undefined;
    const bytes = encodeDelta(delta);
    const isShort = bytes.length <= told.full.bytes * deltaShareMax;
    const fits = told.full.bytes + told.deltaBytes + bytes.length <= fullBytesMax;
    return isShort && fits ? { bytes } : undefined;
  }

  async #append(id: string, payload: Uint8Array, signal: AbortSignal) {
    const { log, primary } = this.#parts;
    return await log.append({ kind: "generation", origin: primary, id, payload }, signal);
  }

  async #isReadBack(isBack: () => boolean, signal: AbortSignal): Promise<boolean> {
    const { clock, lease } = this.#parts;
    const writtenMs = clock.monotonicMs();
    while (!signal.aborted && !isBack() && lease.held()) {
      if (clock.monotonicMs() - writtenMs > readBackMsMax) return false;
      await clock.sleep(20, signal);
    }
    return true;
  }
}

/** The first that says why targets moved. */
function mainCauseOf({ causes = [] }: Generation): string {
  return (causes.find(({ kind }) => kind !== "reload" && kind !== "periodic") ?? causes[0])?.kind ?? "periodic";
}
