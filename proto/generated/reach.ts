import type * as grpc from '@grpc/grpc-js';
import type { MessageTypeDefinition } from '@grpc/proto-loader';

import type { ReachClient as _heliograph_v1_ReachClient, ReachDefinition as _heliograph_v1_ReachDefinition } from './heliograph/v1/Reach.ts';
import type { ReachHello as _heliograph_v1_ReachHello, ReachHello__Output as _heliograph_v1_ReachHello__Output } from './heliograph/v1/ReachHello.ts';
import type { ReachOrder as _heliograph_v1_ReachOrder, ReachOrder__Output as _heliograph_v1_ReachOrder__Output } from './heliograph/v1/ReachOrder.ts';
import type { ReachProbe as _heliograph_v1_ReachProbe, ReachProbe__Output as _heliograph_v1_ReachProbe__Output } from './heliograph/v1/ReachProbe.ts';
import type { ReachReport as _heliograph_v1_ReachReport, ReachReport__Output as _heliograph_v1_ReachReport__Output } from './heliograph/v1/ReachReport.ts';
import type { ReachResult as _heliograph_v1_ReachResult, ReachResult__Output as _heliograph_v1_ReachResult__Output } from './heliograph/v1/ReachResult.ts';
import type { ReachSuspicion as _heliograph_v1_ReachSuspicion, ReachSuspicion__Output as _heliograph_v1_ReachSuspicion__Output } from './heliograph/v1/ReachSuspicion.ts';
import type { ReachVerdict as _heliograph_v1_ReachVerdict, ReachVerdict__Output as _heliograph_v1_ReachVerdict__Output } from './heliograph/v1/ReachVerdict.ts';

type SubtypeConstructor<Constructor extends new (...args: any) => any, Subtype> = {
  new(...args: ConstructorParameters<Constructor>): Subtype;
};

export interface ProtoGrpcType {
  heliograph: {
    v1: {
      Reach: SubtypeConstructor<typeof grpc.Client, _heliograph_v1_ReachClient> & { service: _heliograph_v1_ReachDefinition }
      ReachHello: MessageTypeDefinition<_heliograph_v1_ReachHello, _heliograph_v1_ReachHello__Output>
      ReachOrder: MessageTypeDefinition<_heliograph_v1_ReachOrder, _heliograph_v1_ReachOrder__Output>
      ReachProbe: MessageTypeDefinition<_heliograph_v1_ReachProbe, _heliograph_v1_ReachProbe__Output>
      ReachReport: MessageTypeDefinition<_heliograph_v1_ReachReport, _heliograph_v1_ReachReport__Output>
      ReachResult: MessageTypeDefinition<_heliograph_v1_ReachResult, _heliograph_v1_ReachResult__Output>
      ReachSuspicion: MessageTypeDefinition<_heliograph_v1_ReachSuspicion, _heliograph_v1_ReachSuspicion__Output>
      ReachVerdict: MessageTypeDefinition<_heliograph_v1_ReachVerdict, _heliograph_v1_ReachVerdict__Output>
    }
  }
}

