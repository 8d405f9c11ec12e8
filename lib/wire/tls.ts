// The certificates of a tier, read once at start. Both sides of every connection between hosts show one.

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";

/** PEM. */
export interface TlsMaterial {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

export class TlsError extends Error {
  override readonly name = "TlsError";
  /** `unreadable`: the file cannot be read. `bad_certificate`: it is not what it should be. */
  readonly code: "unreadable" | "bad_certificate";

  constructor(code: TlsError["code"], message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Reads the three files of the topology; `{name}` in a path stands for the process' name. Throws TlsError. */
export async function readTls(
  files: { readonly ca_file: string; readonly cert_file: string; readonly key_file: string },
  name: string,
): Promise<TlsMaterial> {
  const read = async (key: keyof typeof files): Promise<Buffer> => {
    const path = files[key].replaceAll("{name}", name);
    try {
      return await readFile(path);
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? String(error);
      throw new TlsError("unreadable", `tls ${key} ${path} cannot be read: ${reason}`, { cause: error });
    }
  };
  // One after the other, so that of several missing files it is always the same one that is named.
  const ca = await read("ca_file");
  const cert = await read("cert_file");
  const key = await read("key_file");
  for (const [what, pem] of Object.entries({ ca_file: ca, cert_file: cert })) {
    try {
      new X509Certificate(pem);
    } catch (error) {
      const path = files[what as "ca_file" | "cert_file"].replaceAll("{name}", name);
      throw new TlsError("bad_certificate", `tls ${what} ${path}: expected a certificate (PEM)`, { cause: error });
    }
  }
  return { ca, cert, key };
}

/** The identity in a certificate: its first URI in subjectAltName (RFC 5280, 4.2.1.6), as OpenSSL prints them. */
export function identityOf(subjectAltName: string | undefined): string | undefined {
  return /(?:^|, )URI:([^,"]+)/.exec(subjectAltName ?? "")?.[1];
}
