// Original file: proto/heliograph/v1/ingest.proto

import type { Long } from '@grpc/proto-loader';

export interface Backlog {
  'batches'?: (number | string | Long);
}

export interface Backlog__Output {
  'batches': (number);
}
