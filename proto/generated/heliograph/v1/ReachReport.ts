// Original file: proto/heliograph/v1/reach.proto

import type { ReachHello as _heliograph_v1_ReachHello, ReachHello__Output as _heliograph_v1_ReachHello__Output } from '../../heliograph/v1/ReachHello.ts';
import type { ReachSuspicion as _heliograph_v1_ReachSuspicion, ReachSuspicion__Output as _heliograph_v1_ReachSuspicion__Output } from '../../heliograph/v1/ReachSuspicion.ts';
import type { ReachResult as _heliograph_v1_ReachResult, ReachResult__Output as _heliograph_v1_ReachResult__Output } from '../../heliograph/v1/ReachResult.ts';

export interface ReachReport {
  'hello'?: (_heliograph_v1_ReachHello | null);
  'suspicion'?: (_heliograph_v1_ReachSuspicion | null);
  'result'?: (_heliograph_v1_ReachResult | null);
  'message'?: "hello"|"suspicion"|"result";
}

export interface ReachReport__Output {
  'hello'?: (_heliograph_v1_ReachHello__Output | null);
  'suspicion'?: (_heliograph_v1_ReachSuspicion__Output | null);
  'result'?: (_heliograph_v1_ReachResult__Output | null);
}
