// Original file: proto/heliograph/v1/reach.proto

import type { Long } from '@grpc/proto-loader';

export interface ReachVerdict {
  'verdict'?: (string);
  'sinceMs'?: (number | string | Long);
}

export interface ReachVerdict__Output {
  'verdict': (string);
  'sinceMs': (number);
}
