// Original file: proto/heliograph/v1/reach.proto


export interface ReachResult {
  'id'?: (string);
  'reached'?: (string)[];
}

export interface ReachResult__Output {
  'id': (string);
  'reached': (string)[];
}
