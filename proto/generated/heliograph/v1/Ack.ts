// Original file: proto/heliograph/v1/ingest.proto

import type { Long } from '@grpc/proto-loader';

export interface Ack {
  'bootEpoch'?: (number | string | Long);
  'shard'?: (number);
  'run'?: (number | string | Long);
  'accepted'?: (number | string | Long);
  'held'?: (number | string | Long);
  'durable'?: (number | string | Long);
}

export interface Ack__Output {
  'bootEpoch': (number);
  'shard': (number);
  'run': (number);
  'accepted': (number);
  'held': (number);
  'durable': (number);
}
