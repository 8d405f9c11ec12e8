// What all requests of a scrape config have in common: their headers and credentials, TLS and proxy, made once and made anew when a
// file that they come from changes.
//
// A scrape config's client keeps to itself: its connections, and with them the certificate that was shown on them, are never used
// for another's. Secrets go into requests and nowhere else; what is told to people passes `redact`.

import { Buffer } from "node:buffer";
import { resolve } from "node:path";
import type { Clock } from "#/lib/clock/clock.ts";
import { type Given, type HeaderSetting, type HttpSettings, isHeaderValue } from "#/lib/model/http.ts";
import type { Connections } from "#/secondary/scrape/http/connection.ts";
import { FetchError } from "#/secondary/scrape/http/error.ts";
import { type FileAccess, WatchedFiles } from "#/secondary/scrape/http/file.ts";
import {
  decoded,
  environmentProxy,
  fixedProxy,
  type ProxyChoice,
  type ProxyEnvironment,
} from "#/secondary/scrape/http/proxy.ts";
import { type RequestParts, Setup } from "#/secondary/scrape/http/request.ts";
import { TlsSetup } from "#/secondary/scrape/http/tls.ts";

/** The secret at that place of the job's scrape config, as this secondary's topology file has it. */
export type SecretLookup = (job: string, place: string) => string | undefined;

export interface ClientParts {
  readonly clock: Clock;
  readonly connections: Connections;
  readonly files: FileAccess;
  /** Where relative paths start: the topology file's directory. */
  readonly baseDir: string;
  readonly secrets: SecretLookup;
  readonly environment: ProxyEnvironment;
}

const plainSettings: Omit<HttpSettings, "id" | "job"> = { followRedirects: true, compression: true, headers: [] };

export class Client {
  readonly #parts: ClientParts;
  readonly #settings: Omit<HttpSettings, "id">;
  readonly #files: WatchedFiles;
  #setup: Setup | FetchError | undefined;
  /** What the connections depend on, and the setup they were made with. */
  #connected: { readonly content: string; readonly group: string; readonly tls: TlsSetup } | undefined;

  constructor(parts: ClientParts, settings?: HttpSettings) {
    this.#parts = parts;
    this.#settings = settings ?? { job: "", ...plainSettings };
    const { clock, files: access } = parts;
    const onChange = () => {
      this.#setup = undefined;
    };
    this.#files = new WatchedFiles(this.#paths(), { access, clock, onChange });
  }

  /** With what a request is made, or why none can be; undefined when `wait` must say it. */
  get setup(): Setup | FetchError | undefined {
    if (!this.#files.fresh) return undefined;
    return (this.#setup ??= this.#make());
  }

  /** Calls back when the files were looked at, unless the returned function is called before. */
  wait(done: (setup: Setup | FetchError) => void): () => void {
    return this.#files.wait(() => done((this.#setup ??= this.#make())));
  }

  *#paths(): Iterable<string> {
    const { authorization, headers, proxy, tls } = this.#settings;
    const all = [tls?.ca, tls?.cert, tls?.key, proxy?.url];
    if (authorization?.type === "basic") all.push(authorization.username, authorization.password);
    else if (authorization) all.push(authorization.credentials);
    for (const { values } of [...headers, ...(proxy?.connectHeaders ?? [])]) all.push(...values);
    for (const given of all) if (given && "file" in given) yield this.#path(given.file);
  }

  #path(file: string): string {
    return resolve(this.#parts.baseDir, file);
  }

  #make(): Setup | FetchError {
    try {
      return new Setup(this.#requestParts());
    } catch (error) {
      if (error instanceof FetchError) return error;
      throw error;
    }
  }

  #requestParts(): RequestParts {
    const { compression, followRedirects, headers, proxy, tls } = this.#settings;
    const secrets: string[] = [];
    const textOf = (given: Given, what: string) => this.#text(given, what, secrets);
    const authorization = this.#authorization(textOf, secrets);
    const proxyUrl = proxy?.url && textOf(proxy.url, "the proxy's URL");
    const pem = {
      ca: tls?.ca && textOf(tls.ca, "the authorities' certificates"),
      cert: tls?.cert && textOf(tls.cert, "the certificate"),
      key: tls?.key && textOf(tls.key, "the certificate's key"),
    };
    const connectLines = headerLines(proxy?.connectHeaders ?? [], textOf);
    const content = JSON.stringify([pem, proxyUrl, connectLines]);
    if (this.#connected?.content !== content) {
      const setup = new TlsSetup(tls, pem);
      if (tls) setup.prepare();
      if (this.#connected) this.#parts.connections.leave(this.#connected.group);
      this.#connected = { content, group: this.#parts.connections.newGroup(), tls: setup };
    }
    const isPublic = ({ values }: HeaderSetting) => values.every((value) => "text" in value);
    let choice: ProxyChoice | undefined;
    if (proxy) choice = proxyUrl ? fixedProxy(proxyUrl, proxy.noProxy) : environmentProxy(this.#parts.environment);
    return {
      group: this.#connected.group,
      tls: this.#connected.tls,
      proxy: choice,
      connectLines,
      followRedirects,
      compression,
      headers: headerLines(headers.filter(isPublic), textOf),
      credentials: [
        ...(authorization === undefined ? [] : [authorization]),
        ...headerLines(
          headers.filter((header) => !isPublic(header)),
          textOf,
        ),
      ],
      hasAuthorization: authorization !== undefined,
      secrets: [...secrets, ...passwordsIn(proxyUrl)],
    };
  }

  #authorization(textOf: (given: Given, what: string) => string, secrets: string[]): string | undefined {
    const { authorization } = this.#settings;
    if (!authorization) return undefined;
    if (authorization.type === "scheme") {
      const credentials = headerValue(textOf(authorization.credentials, "the credentials"), "the credentials");
      return `Authorization: ${authorization.scheme} ${credentials}`;
    }
    const user = textOf(authorization.username, "the user's name");
    const encoded = Buffer.from(`${user}:${textOf(authorization.password, "the password")}`).toString("base64");
    secrets.push(encoded);
    return `Authorization: Basic ${encoded}`;
  }

  /** Throws FetchError (failed_credentials). */
  #text(given: Given, what: string, secrets: string[]): string {
    if ("text" in given) return given.text;
    if ("secret" in given) {
      const { job } = this.#settings;
      const secret = this.#parts.secrets(job, given.secret);
      if (secret === undefined) {
        const message = `the topology file of this secondary has no ${given.secret} for the job ${job}: give it the primaries' file and restart it`;
        throw new FetchError("failed_credentials", message);
      }
      secrets.push(secret);
      return secret;
    }
    const path = this.#path(given.file);
    const content = this.#files.content(path);
    if (content instanceof Error) {
      const { code, message } = content as NodeJS.ErrnoException;
      throw new FetchError("failed_credentials", `the file with ${what}, ${path}, cannot be read: ${code ?? message}`);
    }
    const text = content.toString().trim();
    secrets.push(text);
    return text;
  }
}

/** Lines of a head, in the bytes that go over the wire. Throws FetchError (failed_credentials). */
function headerLines(headers: readonly HeaderSetting[], textOf: (given: Given, what: string) => string): string[] {
  return headers.flatMap(({ name, values }) =>
    values.map((value) => `${name}: ${headerValue(textOf(value, `the header ${name}`), `the header ${name}`)}`),
  );
}

/** Heads are written byte by byte; text beyond ASCII goes as UTF-8, as Go sends it. */
function headerValue(text: string, what: string): string {
  if (isHeaderValue(text)) return Buffer.from(text).toString("latin1");
  throw new FetchError("failed_credentials", `${what}: expected one line without control characters`);
}

function passwordsIn(proxyUrl: string | undefined): string[] {
  const url = proxyUrl === undefined ? null : URL.parse(proxyUrl);
  if (!url?.password) return [];
  const user = `${decoded(url.username)}:${decoded(url.password)}`;
  return [url.password, decoded(url.password), Buffer.from(user).toString("base64")];
}
