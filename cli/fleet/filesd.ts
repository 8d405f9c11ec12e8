// Tells Prometheus-style discovery where the simulated servers are: file_sd JSON, in one file or split over several, one a
// data centre for instance.

import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

export interface FileSdOptions {
  /** `fleet.json`; split in three it becomes `fleet-1.json` to `fleet-3.json`. */
  readonly file: string;
  readonly addresses: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly split: number;
}

/** The files written. Each appears complete or not at all, because a watcher reads it the moment it changes. */
export async function writeFileSd({ file, addresses, labels, split }: FileSdOptions): Promise<readonly string[]> {
  await mkdir(dirname(file), { recursive: true });
  const files = Array.from({ length: split }, (_, part) =>
    split === 1 ? file : file.replace(/(\.json)?$/, `-${part + 1}$1`),
  );
  for (const [part, name] of files.entries()) {
    const targets = addresses.slice(...shareOf(addresses.length, part, split));
    await writeFile(`${name}.new`, `${JSON.stringify([{ targets, labels }], null, 1)}\n`);
    await rename(`${name}.new`, name);
  }
  return files;
}

/** Which of `count` things, from and before, part `part` of `split` has: runs of neighbours, as even as can be. */
export function shareOf(count: number, part: number, split: number): [from: number, before: number] {
  return [Math.floor((count * part) / split), Math.floor((count * (part + 1)) / split)];
}
