// Where a pair's lease lies: one key with compare-and-swap on its revision (NATS.md: one KV key, history 1, no TTL).

export interface LeaseRecord {
  /** Grows with every write. The revision at acquisition is the holder's fencing token. */
  readonly revision: number;
  readonly value: Uint8Array;
}

export interface LeaseStore {
  /** Undefined when nobody ever held it. Throws when the store cannot be reached. */
  read(): Promise<LeaseRecord | undefined>;
  /** Writes if the revision is still `expectedRevision` (0: the key must not exist). The new revision, or undefined when another was faster. Throws when the store cannot be reached: whether it was written is then unknown. */
  write(value: Uint8Array, expectedRevision: number): Promise<number | undefined>;
}
