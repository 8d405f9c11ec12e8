// Original file: proto/heliograph/v1/ingest.proto

import type { Long } from '@grpc/proto-loader';

export interface Welcome {
  'primary'?: (string);
  'windowBatches'?: (number);
  'nowMs'?: (number | string | Long);
  'softwareVersion'?: (string);
  'keepAliveMs'?: (number);
  'admitsDrains'?: (boolean);
}

export interface Welcome__Output {
  'primary': (string);
  'windowBatches': (number);
  'nowMs': (number);
  'softwareVersion': (string);
  'keepAliveMs': (number);
  'admitsDrains': (boolean);
}
