// Original file: proto/heliograph/v1/ingest.proto

import type { Long } from '@grpc/proto-loader';

export interface Refusal {
  'bootEpoch'?: (number | string | Long);
  'shard'?: (number);
  'run'?: (number | string | Long);
  'sequence'?: (number | string | Long);
  'code'?: (string);
  'message'?: (string);
}

export interface Refusal__Output {
  'bootEpoch': (number);
  'shard': (number);
  'run': (number);
  'sequence': (number);
  'code': (string);
  'message': (string);
}
