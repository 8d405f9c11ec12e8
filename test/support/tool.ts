// A program of others for a test that can do without it only by skipping.

import { findTool, ToolMissing, type ToolName } from "#/cli/tools.ts";

/** Its path, or the reason why there is none here. */
export async function toolOrReason(
  name: ToolName,
): Promise<{ readonly path: string; readonly missing: string | false }> {
  try {
    return { path: await findTool(name, { onProgress: () => {} }), missing: false };
  } catch (error) {
    if (!(error instanceof ToolMissing)) throw error;
    return { path: "", missing: error.message };
  }
}
