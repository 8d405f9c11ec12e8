// Original file: proto/heliograph/v1/ingest.proto

import type { Hello as _heliograph_v1_Hello, Hello__Output as _heliograph_v1_Hello__Output } from '../../heliograph/v1/Hello.ts';

export interface PushRequest {
  'hello'?: (_heliograph_v1_Hello | null);
  'batch'?: (Buffer | Uint8Array | string);
  'message'?: "hello"|"batch";
}

export interface PushRequest__Output {
  'hello'?: (_heliograph_v1_Hello__Output | null);
  'batch'?: (Buffer);
}
