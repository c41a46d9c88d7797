import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
  type CompletedPart,
  type S3Client,
} from '@aws-sdk/client-s3';
import { createHash, randomUUID } from 'node:crypto';
import { DbopsError } from '../errors.ts';
import { chunksOf, withoutWrapper } from './body.ts';
import { contentMd5, mostParts, type PartMemory } from './s3-parts.ts';
import type { S3Requests } from './s3-client.ts';
import { causeOf, errorName, statusOf } from './s3-errors.ts';
import type { PutOptions, Stored } from './store.ts';

/** So long a failed upload is cleaned up; what then remains is swept away later. */
const cleanUpMs = 15_000;

interface Condition {
  IfNoneMatch?: string;
}

type Commit = (
  condition: Condition,
  client: S3Client,
  options: { abortSignal: AbortSignal },
) => Promise<unknown>;

/** One object on its way: at once when it is small, else in parts. */
export class Upload {
  readonly #requests: S3Requests;
  readonly #memory: PartMemory;
  readonly #key: string;
  readonly #options: PutOptions;
  /** In the metadata of the object: tells an answer that was lost from an object of somebody else. */
  readonly #token = randomUUID();
  readonly #hash = createHash('sha256');
  readonly #stop = new AbortController();
  readonly #parts: CompletedPart[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  #failure: Error | undefined;
  #uploadId: string | undefined;
  #sizeBytes = 0;

  constructor(requests: S3Requests, memory: PartMemory, key: string, options: PutOptions) {
    this.#requests = requests;
    this.#memory = memory;
    this.#key = key;
    this.#options = options;
  }

  /** Throws store_exists where the key is taken and must not be. */
  async run(body: AsyncIterable<Uint8Array> | Uint8Array): Promise<Stored> {
    const { signal } = this.#options;
    const onAbort = () => this.#stop.abort(signal?.reason);
    this.#memory.begin();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const { ifAbsent, withoutLooking } = this.#options;
      if (ifAbsent === true && withoutLooking !== true) await this.#refuseTaken();
      await this.#send(body);
      return { sizeBytes: this.#sizeBytes, sha256: this.#hash.digest('hex') };
    } catch (error) {
      // The parts that are stopped by this fail as well; the first failure is the one that is told.
      this.#failure ??= withoutWrapper(error) as Error;
      this.#stop.abort(signal?.reason);
      await this.#cleanUp();
      throw this.#failure;
    } finally {
      this.#memory.end();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Before anything is sent; the conditional request at the end decides. Whoever may not list is denied the HEAD of
   * what is not there.
   */
  async #refuseTaken(): Promise<void> {
    const found = await this.#find().catch((error: unknown) => {
      if (error instanceof DbopsError && error.code === 'store_denied') return undefined;
      throw error;
    });
    if (found !== undefined) throw this.#exists();
  }

  async #send(body: AsyncIterable<Uint8Array> | Uint8Array): Promise<void> {
    let part = this.#memory.take(1);
    let filled = 0;
    for await (const chunk of chunksOf(body, this.#options.signal)) {
      this.#hash.update(chunk);
      this.#sizeBytes += chunk.byteLength;
      this.#options.onBytes?.(chunk.byteLength);
      for (let offset = 0; offset < chunk.byteLength;) {
        // A full part goes when more follows it: an object that fits into one needs no multipart upload.
        if (filled === part.byteLength) {
          await this.#startPart(part, filled);
          part = this.#memory.take(this.#parts.length + 1);
          filled = 0;
        }
        const taken = Math.min(chunk.byteLength - offset, part.byteLength - filled);
        part.set(chunk.subarray(offset, offset + taken), filled);
        filled += taken;
        offset += taken;
      }
      if (this.#failure !== undefined) throw this.#failure;
    }
    if (this.#uploadId === undefined) {
      await this.#putWhole(part.subarray(0, filled));
      this.#memory.giveBack(part);
      return;
    }
    await this.#startPart(part, filled);
    await Promise.all(this.#inFlight);
    if (this.#failure !== undefined) throw this.#failure;
    await this.#complete(this.#uploadId);
  }

  async #putWhole(bytes: Buffer): Promise<void> {
    const sha256 = this.#hash.copy().digest('hex');
    const input = {
      ...this.#place(),
      ...this.#writing({ sha256 }),
      Body: bytes,
      ContentLength: bytes.byteLength,
      ContentMD5: contentMd5(bytes),
    };
    await this.#commit('PutObject', (condition, client, options) =>
      client.send(new PutObjectCommand({ ...input, ...condition }), options),
    );
  }

  /** Resolves when the part is under way and there is memory for the next. */
  async #startPart(part: Buffer, filled: number): Promise<void> {
    const uploadId = (this.#uploadId ??= await this.#create());
    while (this.#inFlight.size > (this.#memory.mayDouble ? 1 : 0)) await Promise.race(this.#inFlight);
    const number = this.#parts.length + 1;
    const failure = this.#failure ?? (number > mostParts ? this.#tooLarge() : undefined);
    if (failure !== undefined) throw failure;
    const completed: CompletedPart = { PartNumber: number };
    this.#parts.push(completed);
    const sending = this.#sendPart(uploadId, completed, part.subarray(0, filled))
      .then(
        () => this.#memory.giveBack(part),
        (error: unknown) => {
          this.#failure ??= error as Error;
          this.#stop.abort();
        },
      )
      .finally(() => {
        this.#inFlight.delete(sending);
      });
    this.#inFlight.add(sending);
  }

  async #sendPart(uploadId: string, part: CompletedPart, bytes: Buffer): Promise<void> {
    const command = new UploadPartCommand({
      ...this.#place(),
      UploadId: uploadId,
      PartNumber: part.PartNumber,
      Body: bytes,
      ContentLength: bytes.byteLength,
      ContentMD5: contentMd5(bytes),
    });
    const { signal } = this.#stop;
    const answer = await this.#requests.ask('UploadPart', this.#key, { signal }, (client, options) =>
      client.send(command, options),
    );
    part.ETag = answer.ETag;
  }

  async #create(): Promise<string> {
    const command = new CreateMultipartUploadCommand({ ...this.#place(), ...this.#writing() });
    const { UploadId } = await this.#requests.ask(
      'CreateMultipartUpload',
      this.#key,
      this.#options,
      (client, options) => client.send(command, options),
    );
    if (UploadId === undefined)
      throw this.#requests.failure('CreateMultipartUpload', this.#key, new Error('no UploadId came'));
    return UploadId;
  }

  async #complete(uploadId: string): Promise<void> {
    const input = { ...this.#place(), UploadId: uploadId, MultipartUpload: { Parts: this.#parts } };
    await this.#commit('CompleteMultipartUpload', (condition, client, options) =>
      client.send(new CompleteMultipartUploadCommand({ ...input, ...condition }), options),
    );
    this.#uploadId = undefined;
    await this.#checkCompleted();
  }

  /**
   * Looks at what the store made of the parts. What another has put under the key meanwhile is never deleted. Whoever may
   * not look takes the store's word, as for an object that goes up whole.
   */
  async #checkCompleted(): Promise<void> {
    const found = await this.#find().catch((error: unknown) => {
      if (error instanceof DbopsError && error.code === 'store_denied') return 'denied' as const;
      throw error;
    });
    if (found === 'denied') return;
    const isOurs = found?.token === this.#token;
    // A store that keeps no metadata shows the size alone.
    if (found?.sizeBytes === this.#sizeBytes && (isOurs || found.token === undefined)) return;
    // Half an object must not stay under a key that promises a whole one.
    if (isOurs) await this.#delete();
    // Some servers look at the condition and put the object in place in two steps, between which another may come.
    if (found?.token !== undefined && !isOurs && this.#options.ifAbsent === true) throw this.#exists();
    const words =
      found?.token === undefined || isOurs
        ? `${String(this.#sizeBytes)} bytes were sent, ${String(found?.sizeBytes ?? 0)} are there`
        : 'another upload has replaced it meanwhile';
    throw this.#requests.failure('CompleteMultipartUpload', this.#key, new Error(words));
  }

  /**
   * The request that makes the object visible. Where its answer was lost, or a second attempt is told that the first
   * had done it, the object itself is asked.
   */
  async #commit(verb: 'PutObject' | 'CompleteMultipartUpload', send: Commit): Promise<void> {
    const { ifAbsent, withoutLooking, signal } = this.#options;
    let condition: Condition = ifAbsent === true ? { IfNoneMatch: '*' } : {};
    let attempts = 0;
    const ask = () =>
      this.#requests.ask(verb, this.#key, this.#options, (client, options, attempt) => {
        attempts = attempt;
        return send(condition, client, options);
      });
    try {
      await ask().catch(async (error: unknown) => {
        // Stores that know no conditional writes say so; then the look before the upload has to do.
        const hasLooked = ifAbsent === true && withoutLooking !== true;
        if (!hasLooked || statusOf(causeOf(error)) !== 501) throw error;
        condition = {};
        await ask();
      });
    } catch (error) {
      const cause = causeOf(error);
      const status = statusOf(cause);
      const isUncertain = attempts > 1 || status === undefined || status < 400 || status >= 500;
      if (isUncertain && signal?.aborted !== true) {
        const found = await this.#find().catch(() => undefined);
        if (found?.token === this.#token && found.sizeBytes === this.#sizeBytes) return;
      }
      if (ifAbsent === true && (errorName(cause) === 'PreconditionFailed' || status === 412)) {
        throw this.#exists();
      }
      throw error;
    }
  }

  async #find(): Promise<{ sizeBytes: number; token: string | undefined } | undefined> {
    try {
      const command = new HeadObjectCommand(this.#place());
      const answer = await this.#requests.ask('HeadObject', this.#key, this.#options, (client, options) =>
        client.send(command, options),
      );
      return { sizeBytes: answer.ContentLength ?? 0, token: answer.Metadata?.['dbops-upload'] };
    } catch (error) {
      if (statusOf(causeOf(error)) === 404) return undefined;
      throw error;
    }
  }

  async #delete(): Promise<void> {
    const command = new DeleteObjectCommand(this.#place());
    const signal = AbortSignal.timeout(cleanUpMs);
    await this.#requests
      .ask('DeleteObject', this.#key, { signal }, (client, options) => client.send(command, options))
      .catch(() => undefined);
  }

  /** Parts that arrive after the abort would stay for ever, so those under way are waited for. */
  async #cleanUp(): Promise<void> {
    await Promise.all(this.#inFlight);
    if (this.#uploadId === undefined) return;
    const command = new AbortMultipartUploadCommand({ ...this.#place(), UploadId: this.#uploadId });
    const signal = AbortSignal.timeout(cleanUpMs);
    await this.#requests
      .ask('AbortMultipartUpload', this.#key, { signal }, (client, options) => client.send(command, options))
      .catch(() => undefined);
  }

  #place(): { Bucket: string; Key: string } {
    return { Bucket: this.#requests.bucket, Key: `${this.#requests.prefix}${this.#key}` };
  }

  #writing(metadata: Record<string, string> = {}) {
    const { kmsKeyId, storageClass } = this.#requests.settings;
    return {
      Metadata: { 'dbops-upload': this.#token, ...metadata },
      ...(kmsKeyId === undefined ? {} : { ServerSideEncryption: 'aws:kms' as const, SSEKMSKeyId: kmsKeyId }),
      ...(storageClass === undefined ? {} : { StorageClass: storageClass as 'STANDARD' }),
    };
  }

  #exists(): DbopsError {
    const store = this.#requests.settings.name;
    return new DbopsError('store_exists', `the store "${store}" holds ${this.#key} already`);
  }

  #tooLarge(): DbopsError {
    const most = Math.floor(this.#memory.mostBytes / 1024 ** 3);
    return new DbopsError(
      'store_failed',
      `${this.#key} is larger than the ${String(most)} GiB that one object may have`,
      {
        hint: 'Let the table be archived by more jobs: each part of an archive is an object of its own.',
      },
    );
  }
}
