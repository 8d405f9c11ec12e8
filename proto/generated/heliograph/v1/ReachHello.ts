// Original file: proto/heliograph/v1/reach.proto


export interface ReachHello {
  'datacenter'?: (string);
  'secondary'?: (string);
}

export interface ReachHello__Output {
  'datacenter': (string);
  'secondary': (string);
}
