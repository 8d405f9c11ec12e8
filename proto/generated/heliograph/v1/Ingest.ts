// Original file: proto/heliograph/v1/ingest.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { PushRequest as _heliograph_v1_PushRequest, PushRequest__Output as _heliograph_v1_PushRequest__Output } from '../../heliograph/v1/PushRequest.ts';
import type { PushResponse as _heliograph_v1_PushResponse, PushResponse__Output as _heliograph_v1_PushResponse__Output } from '../../heliograph/v1/PushResponse.ts';

export interface IngestClient extends grpc.Client {
  Push(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_heliograph_v1_PushRequest, _heliograph_v1_PushResponse__Output>;
  Push(options?: grpc.CallOptions): grpc.ClientDuplexStream<_heliograph_v1_PushRequest, _heliograph_v1_PushResponse__Output>;
  push(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_heliograph_v1_PushRequest, _heliograph_v1_PushResponse__Output>;
  push(options?: grpc.CallOptions): grpc.ClientDuplexStream<_heliograph_v1_PushRequest, _heliograph_v1_PushResponse__Output>;
  
}

export interface IngestHandlers extends grpc.UntypedServiceImplementation {
  Push: grpc.handleBidiStreamingCall<_heliograph_v1_PushRequest__Output, _heliograph_v1_PushResponse>;
  
}

export interface IngestDefinition extends grpc.ServiceDefinition {
  Push: MethodDefinition<_heliograph_v1_PushRequest, _heliograph_v1_PushResponse, _heliograph_v1_PushRequest__Output, _heliograph_v1_PushResponse__Output>
}
