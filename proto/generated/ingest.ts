import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { Ack as _heliograph_v1_Ack, Ack__Output as _heliograph_v1_Ack__Output } from './heliograph/v1/Ack.ts';
import type { Backlog as _heliograph_v1_Backlog, Backlog__Output as _heliograph_v1_Backlog__Output } from './heliograph/v1/Backlog.ts';
import type { Drain as _heliograph_v1_Drain, Drain__Output as _heliograph_v1_Drain__Output } from './heliograph/v1/Drain.ts';
import type { Hello as _heliograph_v1_Hello, Hello__Output as _heliograph_v1_Hello__Output } from './heliograph/v1/Hello.ts';
import type { IngestClient as _heliograph_v1_IngestClient, IngestDefinition as _heliograph_v1_IngestDefinition } from './heliograph/v1/Ingest.ts';
import type { PushRequest as _heliograph_v1_PushRequest, PushRequest__Output as _heliograph_v1_PushRequest__Output } from './heliograph/v1/PushRequest.ts';
import type { PushResponse as _heliograph_v1_PushResponse, PushResponse__Output as _heliograph_v1_PushResponse__Output } from './heliograph/v1/PushResponse.ts';
import type { Refusal as _heliograph_v1_Refusal, Refusal__Output as _heliograph_v1_Refusal__Output } from './heliograph/v1/Refusal.ts';
import type { Welcome as _heliograph_v1_Welcome, Welcome__Output as _heliograph_v1_Welcome__Output } from './heliograph/v1/Welcome.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  heliograph: {
    v1: {
      Ack: MessageTypeDefinition<_heliograph_v1_Ack, _heliograph_v1_Ack__Output>
      Backlog: MessageTypeDefinition<_heliograph_v1_Backlog, _heliograph_v1_Backlog__Output>
      Drain: MessageTypeDefinition<_heliograph_v1_Drain, _heliograph_v1_Drain__Output>
      Hello: MessageTypeDefinition<_heliograph_v1_Hello, _heliograph_v1_Hello__Output>
      Ingest: SubtypeConstructor<typeof grpc.Client, _heliograph_v1_IngestClient> & { service: _heliograph_v1_IngestDefinition }
      PushRequest: MessageTypeDefinition<_heliograph_v1_PushRequest, _heliograph_v1_PushRequest__Output>
      PushResponse: MessageTypeDefinition<_heliograph_v1_PushResponse, _heliograph_v1_PushResponse__Output>
      Refusal: MessageTypeDefinition<_heliograph_v1_Refusal, _heliograph_v1_Refusal__Output>
      Welcome: MessageTypeDefinition<_heliograph_v1_Welcome, _heliograph_v1_Welcome__Output>
    }
  }
}

