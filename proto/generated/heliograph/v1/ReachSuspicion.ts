// Original file: proto/heliograph/v1/reach.proto

import type { Long } from '@grpc/proto-loader';

export interface ReachSuspicion {
  'sinceMs'?: (number | string | Long);
  'failed'?: (number);
  'of'?: (number);
  'sample'?: (string)[];
}

export interface ReachSuspicion__Output {
  'sinceMs': (number);
  'failed': (number);
  'of': (number);
  'sample': (string)[];
}
