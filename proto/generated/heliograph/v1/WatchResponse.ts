// Original file: proto/heliograph/v1/assignment.proto

import type { Long } from '@grpc/proto-loader';

export interface WatchResponse {
  'generation'?: (Buffer | Uint8Array | string);
  'nowMs'?: (number | string | Long);
}

export interface WatchResponse__Output {
  'generation': (Buffer);
  'nowMs': (number);
}
