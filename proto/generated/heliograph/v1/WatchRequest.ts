// Original file: proto/heliograph/v1/assignment.proto

import type { Long } from '@grpc/proto-loader';

export interface WatchRequest {
  'datacenter'?: (string);
  'secondary'?: (string);
  'generation'?: (number | string | Long);
}

export interface WatchRequest__Output {
  'datacenter': (string);
  'secondary': (string);
  'generation': (number);
}
