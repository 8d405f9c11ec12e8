// Builds the WebAssembly kernels from their sources: `node test/support/kernels.ts` writes each `NAME.as.ts` in the tree as
// `NAME.wasm` beside it. The files are committed, so that nothing has to be built to run; a test holds them against their sources.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import asc from "assemblyscript/asc";

export const kernelSources = ["lib/codec/kernel/column.as.ts", "secondary/scrape/kernel/walk.as.ts"] as const;

/** No runtime and no memory of its own: the kernels get theirs handed in. */
const options = ["-O3", "--noAssert", "--converge", "--runtime", "stub", "--enable", "simd"];
const memoryOptions = ["--importMemory", "--noExportMemory", "--initialMemory", "1"];

export function kernelFile(source: string): URL {
  return new URL(`../../${source.replace(/\.as\.ts$/, ".wasm")}`, import.meta.url);
}

export async function buildKernel(source: string): Promise<Uint8Array> {
  const file = fileURLToPath(new URL(`../../${source}`, import.meta.url));
  const text = readFileSync(file, "utf8");
  let built: Uint8Array | undefined;
  const { error, stderr } = await asc.main(["kernel.ts", "--outFile", "kernel.wasm", ...options, ...memoryOptions], {
    readFile: (name) => (name === "kernel.ts" ? text : null),
    writeFile: (_, contents) => {
      built = contents as Uint8Array;
    },
    listFiles: () => [],
  });
  if (error || !built) throw new Error(`${source} cannot be compiled: ${error?.message}\n${stderr.toString()}`);
  return built;
}

if (process.argv[1] === import.meta.filename) {
  for (const source of kernelSources) {
    const built = await buildKernel(source);
    writeFileSync(kernelFile(source), built);
    process.stdout.write(`${source}: ${built.length} bytes\n`);
  }
}
