// Original file: proto/heliograph/v1/assignment.proto

import type { Long } from '@grpc/proto-loader';

export interface WatchRequest {
  'datacenter'?: (string);
  'secondary'?: (string);
  'generation'?: (number | string | Long);
  'token'?: (number | string | Long);
  'takesDeltas'?: (boolean);
}

export interface WatchRequest__Output {
  'datacenter': (string);
  'secondary': (string);
  'generation': (number);
  'token': (number);
  'takesDeltas': (boolean);
}
