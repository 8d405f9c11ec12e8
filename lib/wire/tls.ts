// The certificates of a tier, read once at start. Both sides of every connection between hosts show one.

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";

/** PEM. */
export interface TlsMaterial {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

export class TlsError extends Error {
  override readonly name = "TlsError";
  /** `unreadable`: the file cannot be read. `bad_certificate`, `bad_key`: it is not what it should be. */
  readonly code: "unreadable" | "bad_certificate" | "bad_key";

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
  const pathOf = (key: keyof typeof files) => files[key].replaceAll("{name}", name);
  const read = async (key: keyof typeof files): Promise<Buffer> => {
    const path = pathOf(key);
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
  const certificateIn = (what: "ca_file" | "cert_file", pem: Buffer): X509Certificate => {
    try {
      return new X509Certificate(pem);
    } catch (error) {
      const message = `tls ${what} ${pathOf(what)}: expected a certificate (PEM)`;
      throw new TlsError("bad_certificate", message, { cause: error });
    }
  };
  certificateIn("ca_file", ca);
  const certificate = certificateIn("cert_file", cert);
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(key);
  } catch (error) {
    const message = `tls key_file ${pathOf("key_file")}: expected a private key (PEM) without a passphrase`;
    throw new TlsError("bad_key", message, { cause: error });
  }
  if (!certificate.checkPrivateKey(privateKey)) {
    const message = `tls key_file ${pathOf("key_file")}: expected the key of ${pathOf("cert_file")}, got another one`;
    throw new TlsError("bad_key", message);
  }
  return { ca, cert, key };
}

/** The identity in a certificate: its first URI in subjectAltName (RFC 5280, 4.2.1.6), as OpenSSL prints them. */
export function identityOf(subjectAltName: string | undefined): string | undefined {
  return /(?:^|, )URI:([^,"]+)/.exec(subjectAltName ?? "")?.[1];
}

/**
 * What OpenSSL said, without its addresses and places in source files: from
 * `4083…:error:0A000412:SSL routines:ssl3_read_bytes:ssl/tls alert bad certificate:…` what it calls the reason. An alert is
 * the other side's word. Any other text comes back as it is.
 */
export function plainReason(text: string): string {
  const reason = /:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+)/.exec(text)?.[1];
  if (reason === undefined) return text.trim();
  const alert = /^(?:ssl\/tls|sslv3|tlsv1|tlsv13) alert (.+)$/.exec(reason)?.[1];
  return alert === undefined ? `TLS: ${reason}` : `the other side ended the TLS handshake: ${alert}`;
}
