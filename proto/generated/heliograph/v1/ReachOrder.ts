// Original file: proto/heliograph/v1/reach.proto

import type { ReachProbe as _heliograph_v1_ReachProbe, ReachProbe__Output as _heliograph_v1_ReachProbe__Output } from '../../heliograph/v1/ReachProbe.ts';
import type { ReachVerdict as _heliograph_v1_ReachVerdict, ReachVerdict__Output as _heliograph_v1_ReachVerdict__Output } from '../../heliograph/v1/ReachVerdict.ts';

export interface ReachOrder {
  'probe'?: (_heliograph_v1_ReachProbe | null);
  'verdict'?: (_heliograph_v1_ReachVerdict | null);
  'message'?: "probe"|"verdict";
}

export interface ReachOrder__Output {
  'probe'?: (_heliograph_v1_ReachProbe__Output | null);
  'verdict'?: (_heliograph_v1_ReachVerdict__Output | null);
}
