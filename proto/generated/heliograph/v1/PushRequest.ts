// Original file: proto/heliograph/v1/ingest.proto

import type { Hello as _heliograph_v1_Hello, Hello__Output as _heliograph_v1_Hello__Output } from '../../heliograph/v1/Hello.ts';
import type { Backlog as _heliograph_v1_Backlog, Backlog__Output as _heliograph_v1_Backlog__Output } from '../../heliograph/v1/Backlog.ts';

export interface PushRequest {
  'hello'?: (_heliograph_v1_Hello | null);
  'batch'?: (Buffer | Uint8Array | string);
  'backlog'?: (_heliograph_v1_Backlog | null);
  'message'?: "hello"|"batch"|"backlog";
}

export interface PushRequest__Output {
  'hello'?: (_heliograph_v1_Hello__Output | null);
  'batch'?: (Buffer);
  'backlog'?: (_heliograph_v1_Backlog__Output | null);
}
