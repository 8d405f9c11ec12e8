// Original file: proto/heliograph/v1/ingest.proto


export interface Drain {
  'admitted'?: (boolean);
}

export interface Drain__Output {
  'admitted': (boolean);
}
