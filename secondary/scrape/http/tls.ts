// TLS to targets, as a scrape config has it: one context for all its connections, and the session that each target gave last, with
// which the next connection's handshake costs both sides little.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import tls, { type ConnectionOptions, type SecureContext } from "node:tls";
import type { TlsSettings, TlsVersion } from "#/lib/model/http.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";
import { HalvedCache } from "#/secondary/scrape/interned.ts";

/** Twice a full secondary's targets, about 2 kB each. */
const sessionsMax = 10_000;

const versions = { TLS10: "TLSv1", TLS11: "TLSv1.1", TLS12: "TLSv1.2", TLS13: "TLSv1.3" } as const satisfies Record<
  TlsVersion,
  string
>;
const versionMin = "TLS12";
/** What TLS before 1.2 has is refused by OpenSSL at its usual level of security. */
const oldCiphers = "DEFAULT:@SECLEVEL=0";

/** PEM. */
export interface TlsTexts {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

export class TlsSetup {
  readonly #settings: TlsSettings | undefined;
  readonly #texts: TlsTexts;
  readonly #sessions = new HalvedCache<Buffer>({ weightMax: sessionsMax });
  #context: SecureContext | undefined;

  constructor(settings?: TlsSettings, texts: TlsTexts = {}) {
    this.#settings = settings;
    this.#texts = texts;
  }

  /** Throws FetchError (failed_credentials) when what was given cannot be used. */
  prepare(): void {
    this.#context ??= contextOf(this.#settings, this.#texts);
  }

  /** `host` is what the target's URL has; `key` stands for connections that may resume each other's session. */
  options(host: string, key: string): ConnectionOptions {
    this.prepare();
    const name = this.#settings?.serverName ?? host;
    const session = this.#sessions.get(key);
    return {
      secureContext: this.#context!,
      // A name is asked for, an address is not (RFC 6066, section 3), but both are verified.
      ...(isIP(name) === 0 && { servername: name }),
      checkServerIdentity: (_asked, certificate) => tls.checkServerIdentity(name, certificate),
      rejectUnauthorized: !this.#settings?.insecureSkipVerify,
      ...(session && { session }),
    };
  }

  remember(key: string, session: Buffer): void {
    this.#sessions.set(key, session);
  }
}

function contextOf(settings: TlsSettings | undefined, { ca, cert, key }: TlsTexts): SecureContext {
  if (ca !== undefined) checkCertificate(ca, "tls_config.ca");
  if (cert !== undefined && key !== undefined) checkPair(cert, key);
  const minVersion = settings?.minVersion ?? versionMin;
  try {
    return tls.createSecureContext({
      ca: ca ?? knownAuthorities(),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      minVersion: versions[minVersion],
      ...(settings?.maxVersion && { maxVersion: versions[settings.maxVersion] }),
      ...(minVersion < versionMin && { ciphers: oldCiphers }),
    });
  } catch (cause) {
    throw new FetchError("failed_credentials", `tls_config cannot be used: ${(cause as Error).message}`, { cause });
  }
}

/** The system's authorities, as Prometheus has them, and those that Node brings or was told of (NODE_EXTRA_CA_CERTS). */
function knownAuthorities(): string[] {
  return [...new Set([...tls.getCACertificates("default"), ...tls.getCACertificates("system")])];
}

function checkCertificate(pem: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new FetchError("failed_credentials", `${what}: expected a certificate (PEM), got something else`, { cause });
  }
}

function checkPair(cert: string, key: string): void {
  const certificate = checkCertificate(cert, "tls_config.cert");
  let fits: boolean;
  try {
    fits = certificate.checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    const message = "tls_config.key: expected a private key (PEM) without a passphrase, got something else";
    throw new FetchError("failed_credentials", message, { cause });
  }
  if (fits) return;
  throw new FetchError("failed_credentials", "tls_config.key: expected the key of the certificate, got another one");
}
