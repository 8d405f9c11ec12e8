// Original file: proto/heliograph/v1/reach.proto

import type * as grpc from '@grpc/grpc-js'
import type { MethodDefinition } from '@grpc/proto-loader'
import type { ReachOrder as _heliograph_v1_ReachOrder, ReachOrder__Output as _heliograph_v1_ReachOrder__Output } from '../../heliograph/v1/ReachOrder.ts';
import type { ReachReport as _heliograph_v1_ReachReport, ReachReport__Output as _heliograph_v1_ReachReport__Output } from '../../heliograph/v1/ReachReport.ts';

export interface ReachClient extends grpc.Client {
  Report(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_heliograph_v1_ReachReport, _heliograph_v1_ReachOrder__Output>;
  Report(options?: grpc.CallOptions): grpc.ClientDuplexStream<_heliograph_v1_ReachReport, _heliograph_v1_ReachOrder__Output>;
  report(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<_heliograph_v1_ReachReport, _heliograph_v1_ReachOrder__Output>;
  report(options?: grpc.CallOptions): grpc.ClientDuplexStream<_heliograph_v1_ReachReport, _heliograph_v1_ReachOrder__Output>;
  
}

export interface ReachHandlers extends grpc.UntypedServiceImplementation {
  Report: grpc.handleBidiStreamingCall<_heliograph_v1_ReachReport__Output, _heliograph_v1_ReachOrder>;
  
}

export interface ReachDefinition extends grpc.ServiceDefinition {
  Report: MethodDefinition<_heliograph_v1_ReachReport, _heliograph_v1_ReachOrder, _heliograph_v1_ReachReport__Output, _heliograph_v1_ReachOrder__Output>
}
