// Certificates for tests, made by the openssl program: an authority, and leaves with a URI and an address in subjectAltName.

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface TestAuthority {
  readonly dir: string;
  /** Files of a certificate for that identity (or without one), as the topology names them; expired with -1 days. */
  issue(
    name: string,
    uri: string | undefined,
    address?: string,
    days?: number,
  ): Promise<{ ca_file: string; cert_file: string; key_file: string }>;
  close(): Promise<void>;
}

export async function makeAuthority(): Promise<TestAuthority> {
  const dir = await mkdtemp(join(tmpdir(), "heliograph-ca-"));
  const openssl = (...args: string[]) => run("openssl", args, { cwd: dir });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl(
    "req",
    "-x509",
    ...newKey,
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-days",
    "2",
    "-subj",
    "/CN=test authority",
  );
  return {
    dir,
    async issue(name, uri, address = "IP:127.0.0.1", days = 2) {
      await writeFile(join(dir, `${name}.ext`), `subjectAltName=${uri === undefined ? "" : `URI:${uri},`}${address}\n`);
      await openssl("req", ...newKey, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
      const signed = [
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-set_serial",
        `0x${randomBytes(8).toString("hex")}`,
        "-days",
        `${days}`,
        "-extfile",
        `${name}.ext`,
      ];
      await openssl("x509", "-req", "-in", `${name}.csr`, "-out", `${name}.pem`, ...signed);
      const [ca_file, cert_file, key_file] = ["ca.pem", `${name}.pem`, `${name}.key`].map((file) => join(dir, file));
      return { ca_file: ca_file!, cert_file: cert_file!, key_file: key_file! };
    },
    close: () => rm(dir, { recursive: true, force: true }),
  };
}
