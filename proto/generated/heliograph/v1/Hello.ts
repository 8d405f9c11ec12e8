// Original file: proto/heliograph/v1/ingest.proto

import type { Long } from '@grpc/proto-loader';

export interface Hello {
  'datacenter'?: (string);
  'secondary'?: (string);
  'bootEpoch'?: (number | string | Long);
  'batchVersion'?: (number);
  'softwareVersion'?: (string);
}

export interface Hello__Output {
  'datacenter': (string);
  'secondary': (string);
  'bootEpoch': (number);
  'batchVersion': (number);
  'softwareVersion': (string);
}
