import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { AssignmentClient as _heliograph_v1_AssignmentClient, AssignmentDefinition as _heliograph_v1_AssignmentDefinition } from './heliograph/v1/Assignment.ts';
import type { WatchRequest as _heliograph_v1_WatchRequest, WatchRequest__Output as _heliograph_v1_WatchRequest__Output } from './heliograph/v1/WatchRequest.ts';
import type { WatchResponse as _heliograph_v1_WatchResponse, WatchResponse__Output as _heliograph_v1_WatchResponse__Output } from './heliograph/v1/WatchResponse.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  heliograph: {
    v1: {
      Assignment: SubtypeConstructor<typeof grpc.Client, _heliograph_v1_AssignmentClient> & { service: _heliograph_v1_AssignmentDefinition }
      WatchRequest: MessageTypeDefinition<_heliograph_v1_WatchRequest, _heliograph_v1_WatchRequest__Output>
      WatchResponse: MessageTypeDefinition<_heliograph_v1_WatchResponse, _heliograph_v1_WatchResponse__Output>
    }
  }
}

