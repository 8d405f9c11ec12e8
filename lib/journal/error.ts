// What can go wrong with a journal. `corrupt`, `bad_version` and `missing_segment` say that the directory needs a person;
// `disk_full` and `write_failed` pass when the disk does; the rest are the caller's to avoid.

export type JournalErrorCode =
  | "corrupt"
  | "bad_version"
  | "missing_segment"
  | "disk_full"
  | "write_failed"
  | "too_large"
  | "buffer_full"
  | "closed";

export class JournalError extends Error {
  override readonly name = "JournalError";
  readonly code: JournalErrorCode;

  constructor(code: JournalErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
