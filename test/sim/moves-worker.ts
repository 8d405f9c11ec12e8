// A process that loses secondaries by one seed after the other, as pool.ts asks it to.

import { simulateMoves } from "#/test/sim/moves.ts";

process.on("disconnect", () => process.exit());
process.on("message", ({ seed }: { readonly seed: number }) => {
  void simulateMoves(seed).then((outcome) => process.send!(outcome));
});
