// Original file: proto/heliograph/v1/assignment.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { WatchRequest as _heliograph_v1_WatchRequest, WatchRequest__Output as _heliograph_v1_WatchRequest__Output } from '../../heliograph/v1/WatchRequest.ts';
import type { WatchResponse as _heliograph_v1_WatchResponse, WatchResponse__Output as _heliograph_v1_WatchResponse__Output } from '../../heliograph/v1/WatchResponse.ts';

export interface AssignmentClient extends grpc.Client {
  Watch(argument: _heliograph_v1_WatchRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_heliograph_v1_WatchResponse__Output>;
  Watch(argument: _heliograph_v1_WatchRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_heliograph_v1_WatchResponse__Output>;
  watch(argument: _heliograph_v1_WatchRequest, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<_heliograph_v1_WatchResponse__Output>;
  watch(argument: _heliograph_v1_WatchRequest, options?: grpc.CallOptions): grpc.ClientReadableStream<_heliograph_v1_WatchResponse__Output>;
  
}

export interface AssignmentHandlers extends grpc.UntypedServiceImplementation {
  Watch: grpc.handleServerStreamingCall<_heliograph_v1_WatchRequest__Output, _heliograph_v1_WatchResponse>;
  
}

export interface AssignmentDefinition extends grpc.ServiceDefinition {
  Watch: MethodDefinition<_heliograph_v1_WatchRequest, _heliograph_v1_WatchResponse, _heliograph_v1_WatchRequest__Output, _heliograph_v1_WatchResponse__Output>
}
