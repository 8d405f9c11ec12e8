// Original file: proto/heliograph/v1/ingest.proto

import type { Welcome as _heliograph_v1_Welcome, Welcome__Output as _heliograph_v1_Welcome__Output } from '../../heliograph/v1/Welcome.ts';
import type { Ack as _heliograph_v1_Ack, Ack__Output as _heliograph_v1_Ack__Output } from '../../heliograph/v1/Ack.ts';
import type { Refusal as _heliograph_v1_Refusal, Refusal__Output as _heliograph_v1_Refusal__Output } from '../../heliograph/v1/Refusal.ts';

export interface PushResponse {
  'welcome'?: (_heliograph_v1_Welcome | null);
  'ack'?: (_heliograph_v1_Ack | null);
  'refusal'?: (_heliograph_v1_Refusal | null);
  'message'?: "welcome"|"ack"|"refusal";
}

export interface PushResponse__Output {
  'welcome'?: (_heliograph_v1_Welcome__Output | null);
  'ack'?: (_heliograph_v1_Ack__Output | null);
  'refusal'?: (_heliograph_v1_Refusal__Output | null);
}
