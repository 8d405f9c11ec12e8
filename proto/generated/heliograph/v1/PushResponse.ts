// Original file: proto/heliograph/v1/ingest.proto

import type { Welcome as _heliograph_v1_Welcome, Welcome__Output as _heliograph_v1_Welcome__Output } from '../../heliograph/v1/Welcome.ts';
import type { Ack as _heliograph_v1_Ack, Ack__Output as _heliograph_v1_Ack__Output } from '../../heliograph/v1/Ack.ts';
import type { Refusal as _heliograph_v1_Refusal, Refusal__Output as _heliograph_v1_Refusal__Output } from '../../heliograph/v1/Refusal.ts';
import type { Drain as _heliograph_v1_Drain, Drain__Output as _heliograph_v1_Drain__Output } from '../../heliograph/v1/Drain.ts';

export interface PushResponse {
  'welcome'?: (_heliograph_v1_Welcome | null);
  'ack'?: (_heliograph_v1_Ack | null);
  'refusal'?: (_heliograph_v1_Refusal | null);
  'drain'?: (_heliograph_v1_Drain | null);
  'message'?: "welcome"|"ack"|"refusal"|"drain";
}

export interface PushResponse__Output {
  'welcome'?: (_heliograph_v1_Welcome__Output | null);
  'ack'?: (_heliograph_v1_Ack__Output | null);
  'refusal'?: (_heliograph_v1_Refusal__Output | null);
  'drain'?: (_heliograph_v1_Drain__Output | null);
}
