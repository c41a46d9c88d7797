import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import type { StorePlace } from '../config/store-url.ts';
import type { StoreSettings } from '../config/stores.ts';
import { interrupted } from '../errors.ts';
import type { StoreOptions } from './open.ts';
import { withRetries } from './retry.ts';
import { describeS3Failure, type RequestPlace, type Verb } from './s3-errors.ts';

const connectTimeoutMs = 10_000;

export interface RequestOptions {
  signal?: AbortSignal | undefined;
}

/** The requests to one bucket: with retries, timeouts, and errors of ours. */
export class S3Requests {
  readonly settings: StoreSettings;
  readonly bucket: string;
  /** Empty, or ends with /. */
  readonly prefix: string;
  readonly idleTimeoutMs: number;
  readonly #attempts: number;
  readonly #retryDelayMs: number;
  readonly #client: S3Client;
  readonly #bodies: S3Client;

  constructor(settings: StoreSettings, place: Extract<StorePlace, { kind: 's3' }>, options: StoreOptions) {
    this.settings = settings;
    this.bucket = place.bucket;
    this.prefix = place.prefix;
    this.idleTimeoutMs = options.idleTimeoutMs ?? 60_000;
    this.#attempts = options.attempts ?? 6;
    this.#retryDelayMs = options.retryDelayMs ?? 250;
    const config = clientConfig(settings);
    const connectionTimeout = Math.min(connectTimeoutMs, this.idleTimeoutMs);
    // The handler's own timeout knows progress in sending. It would also end the download of a reader that is slow,
    // so bodies are watched by CheckedBody instead.
    this.#client = new S3Client({
      ...config,
      requestHandler: { connectionTimeout, socketTimeout: this.idleTimeoutMs },
    });
    this.#bodies = new S3Client({
      ...config,
      credentials: this.#client.config.credentials,
      requestHandler: { connectionTimeout, socketTimeout: 0 },
    });
  }

  /** Makes a request, again where that may help. Throws store_failed, store_denied or interrupted. */
  async ask<Result>(
    verb: Verb,
    key: string,
    { signal }: RequestOptions,
    run: (client: S3Client, options: { abortSignal: AbortSignal }, attempt: number) => Promise<Result>,
  ): Promise<Result> {
    const abortSignal = signal ?? new AbortController().signal;
    const retries = { attempts: this.#attempts, delayMs: this.#retryDelayMs, signal };
    try {
      return await withRetries(retries, (attempt) => run(this.#client, { abortSignal }, attempt));
    } catch (error) {
      throw this.failure(verb, key, error, signal);
    }
  }

  /** As ask(), for a request whose answer is a body that is read later and slowly. */
  async askForBody<Result>(
    verb: Verb,
    key: string,
    { signal }: RequestOptions,
    run: (client: S3Client, options: { abortSignal: AbortSignal }) => Promise<Result>,
  ): Promise<Result> {
    const retries = { attempts: this.#attempts, delayMs: this.#retryDelayMs, signal };
    try {
      return await withRetries(retries, () =>
        this.#beforeSilence(signal, (abortSignal) => run(this.#bodies, { abortSignal })),
      );
    } catch (error) {
      throw this.failure(verb, key, error, signal);
    }
  }

  /** The error of a request, or of a body that came after it. */
  failure(verb: Verb, key: string, cause: unknown, signal?: AbortSignal): Error {
    if (signal?.aborted === true) return interrupted(signal);
    const { settings, bucket, prefix, idleTimeoutMs } = this;
    const place: RequestPlace = { settings, bucket, prefix, verb, key: `${prefix}${key}`, idleTimeoutMs };
    return describeS3Failure(place, cause);
  }

  close(): void {
    this.#client.destroy();
    this.#bodies.destroy();
  }

  /** Until the answer begins; what comes then has a watch of its own. */
  async #beforeSilence<Result>(
    signal: AbortSignal | undefined,
    run: (abortSignal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), this.idleTimeoutMs);
    const onAbort = () => silence.abort();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await run(silence.signal);
    } catch (error) {
      if (!silence.signal.aborted || signal?.aborted === true) throw error;
      throw Object.assign(new Error(`no answer for ${String(this.idleTimeoutMs / 1000)} s`), {
        name: 'TimeoutError',
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

function clientConfig(settings: StoreSettings): S3ClientConfig {
  const { accessKeyId, secretAccessKey } = settings;
  return {
    ...(settings.region === undefined
      ? settings.endpoint === undefined
        ? {}
        : { region: 'us-east-1' }
      : { region: settings.region }),
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    ...(settings.profile === undefined ? {} : { profile: settings.profile }),
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId, secretAccessKey } }),
    forcePathStyle: settings.pathStyle,
    followRegionRedirects: true,
    // Stores that are not AWS refuse the checksums that the SDK would add of its own accord.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Waiting for "100 continue" takes a connection of its own for every part.
    expectContinueHeader: false,
    // withRetries() decides instead: it can tell a silent store from a busy one, and ends with the run.
    maxAttempts: 1,
    customUserAgent: 'dbops',
  };
}
