// Original file: proto/heliograph/v1/reach.proto


export interface ReachProbe {
  'id'?: (string);
  'targets'?: (Buffer | Uint8Array | string);
}

export interface ReachProbe__Output {
  'id': (string);
  'targets': (Buffer);
}
