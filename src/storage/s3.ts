import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  RestoreObjectCommand,
  type RestoreRequest,
} from '@aws-sdk/client-s3';
import { Readable } from 'node:stream';
import type { StorePlace } from '../config/store-url.ts';
import type { StoreSettings } from '../config/stores.ts';
import { DbopsError } from '../errors.ts';
import { CheckedBody } from './body.ts';
import { checkFolder, checkKey, checkPrefix, isKey } from './key.ts';
import type { StoreOptions } from './open.ts';
import { S3Requests, type RequestOptions } from './s3-client.ts';
import { causeOf, errorName, statusOf } from './s3-errors.ts';
import { PartMemory } from './s3-parts.ts';
import { Upload } from './s3-upload.ts';
import type { GetOptions, PutOptions, Store, Stored, StoredObject, UnfinishedUpload } from './store.ts';

/** How long an object that was asked back from Glacier stays readable. */
const restoredDays = 7;

/** Objects in a bucket of AWS or of any server that speaks S3. */
export class S3Store implements Store {
  readonly name: string;
  readonly url: string;
  readonly #requests: S3Requests;
  readonly #memory: PartMemory;
  readonly #pageSize: number;

  constructor(settings: StoreSettings, place: Extract<StorePlace, { kind: 's3' }>, options: StoreOptions) {
    this.name = settings.name;
    this.url = `s3://${place.bucket}/${place.prefix}`.replace(/\/$/, '');
    this.#requests = new S3Requests(settings, place, options);
    this.#memory = new PartMemory(options.partSizeBytes);
    this.#pageSize = options.pageSize ?? 1000;
  }

  async put(
    key: string,
    body: AsyncIterable<Uint8Array> | Uint8Array,
    options: PutOptions = {},
  ): Promise<Stored> {
    checkKey(key);
    return await new Upload(this.#requests, this.#memory, key, options).run(body);
  }

  async get(key: string, options: GetOptions = {}): Promise<Readable> {
    checkKey(key);
    const { range, signal } = options;
    if (range?.end !== undefined && range.end <= range.start) return Readable.from([]);
    const wanted = range === undefined ? undefined : `bytes=${String(range.start)}-${lastByte(range.end)}`;
    const command = new GetObjectCommand({ ...this.#place(key), Range: wanted });
    try {
      const answer = await this.#requests.askForBody('GetObject', key, { signal }, (client, sending) =>
        client.send(command, sending),
      );
      const body = answer.Body as Readable;
      if (wanted !== undefined && answer.ContentRange === undefined) {
        body.destroy();
        throw new DbopsError('store_failed', `the store "${this.name}" does not know ranges of an object`, {
          hint: 'Is there a proxy in between that strips the Range header?',
        });
      }
      return new CheckedBody(body, {
        expectedBytes: answer.ContentLength,
        idleTimeoutMs: this.#requests.idleTimeoutMs,
        signal,
        describe: (cause) => this.#requests.failure('GetObject', key, cause, signal),
      });
    } catch (error) {
      throw await this.#readFailure(key, error);
    }
  }

  async head(key: string, options: RequestOptions = {}): Promise<StoredObject | undefined> {
    checkKey(key);
    const command = new HeadObjectCommand(this.#place(key));
    try {
      const answer = await this.#requests.ask('HeadObject', key, options, (client, sending) =>
        client.send(command, sending),
      );
      return {
        key,
        sizeBytes: answer.ContentLength ?? 0,
        modifiedAt: answer.LastModified ?? new Date(0),
      };
    } catch (error) {
      if (statusOf(causeOf(error)) === 404) return undefined;
      throw error;
    }
  }

  async *list(prefix: string, options: RequestOptions = {}): AsyncIterable<StoredObject> {
    checkPrefix(prefix);
    for await (const page of this.#pages(prefix, undefined, options)) {
      for (const object of page.Contents ?? []) {
        const key = object.Key?.slice(this.#requests.prefix.length) ?? '';
        if (!isKey(key)) continue;
        yield { key, sizeBytes: object.Size ?? 0, modifiedAt: object.LastModified ?? new Date(0) };
      }
    }
  }

  async listFolders(prefix: string, options: RequestOptions = {}): Promise<string[]> {
    checkFolder(prefix);
    const names: string[] = [];
    for await (const page of this.#pages(prefix, '/', options)) {
      for (const item of page.CommonPrefixes ?? []) {
        const name = item.Prefix?.slice(this.#requests.prefix.length + prefix.length, -1) ?? '';
        if (isKey(name)) names.push(name);
      }
    }
    return names;
  }

  async delete(key: string, options: RequestOptions = {}): Promise<void> {
    checkKey(key);
    const command = new DeleteObjectCommand(this.#place(key));
    try {
      await this.#requests.ask('DeleteObject', key, options, (client, sending) =>
        client.send(command, sending),
      );
    } catch (error) {
      if (errorName(causeOf(error)) !== 'NoSuchKey') throw error;
    }
  }

  async *listUploads(prefix: string): AsyncIterable<UnfinishedUpload> {
    checkPrefix(prefix);
    let marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {};
    for (;;) {
      const command = new ListMultipartUploadsCommand({
        Bucket: this.#requests.bucket,
        Prefix: `${this.#requests.prefix}${prefix}`,
        MaxUploads: this.#pageSize,
        ...marker,
      });
      const page = await this.#requests.ask('ListMultipartUploads', prefix, {}, (client, sending) =>
        client.send(command, sending),
      );
      for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? []) {
        const key = Key.slice(this.#requests.prefix.length);
        if (isKey(key)) yield { key, id: UploadId, startedAt: Initiated ?? new Date(0) };
      }
      if (page.IsTruncated !== true) return;
      marker = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    }
  }

  async abortUpload(upload: UnfinishedUpload): Promise<void> {
    checkKey(upload.key);
    const command = new AbortMultipartUploadCommand({ ...this.#place(upload.key), UploadId: upload.id });
    try {
      await this.#requests.ask('AbortMultipartUpload', upload.key, {}, (client, sending) =>
        client.send(command, sending),
      );
    } catch (error) {
      if (errorName(causeOf(error)) !== 'NoSuchUpload') throw error;
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface lets other stores wait
  async close(): Promise<void> {
    this.#requests.close();
  }

  async *#pages(prefix: string, delimiter: string | undefined, options: RequestOptions) {
    let token: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#requests.bucket,
        Prefix: `${this.#requests.prefix}${prefix}`,
        Delimiter: delimiter,
        MaxKeys: this.#pageSize,
        ContinuationToken: token,
      });
      const page = await this.#requests.ask('ListObjectsV2', prefix, options, (client, sending) =>
        client.send(command, sending),
      );
      yield page;
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  #place(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#requests.bucket, Key: `${this.#requests.prefix}${key}` };
  }

  async #readFailure(key: string, error: unknown): Promise<unknown> {
    const cause = causeOf(error);
    const name = errorName(cause);
    if (name === 'InvalidObjectState') return await this.#askBack(key, cause.StorageClass);
    if (name === 'InvalidRange' || statusOf(cause) === 416) {
      return new DbopsError(
        'store_failed',
        `${key} in the store "${this.name}" is shorter than the range that was asked for`,
        { cause },
      );
    }
    if (name !== 'NoSuchKey' && (name === 'NoSuchBucket' || statusOf(cause) !== 404)) return error;
    return new DbopsError('store_missing', `the store "${this.name}" holds no ${key}`, {
      hint: `Is ${this.url} the place that it was written to?`,
      cause,
    });
  }

  /** What a lifecycle rule has moved to Glacier is copied back within hours, once somebody asks for it. */
  async #askBack(key: string, storageClass: string | undefined): Promise<DbopsError> {
    const isTiered = storageClass === 'INTELLIGENT_TIERING';
    const request: RestoreRequest = isTiered
      ? {}
      : { Days: restoredDays, GlacierJobParameters: { Tier: 'Standard' } };
    const command = new RestoreObjectCommand({ ...this.#place(key), RestoreRequest: request });
    let words = 'it was asked back now';
    try {
      await this.#requests.ask('RestoreObject', key, {}, (client, sending) => client.send(command, sending));
    } catch (error) {
      if (errorName(causeOf(error)) !== 'RestoreAlreadyInProgress') return error as DbopsError;
      words = 'it was asked back before and is on its way';
    }
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html
    const wait = storageClass === 'GLACIER' ? '3 to 5 hours' : '12 hours';
    const stays = isTiered ? '' : `; it then stays readable for ${String(restoredDays)} days`;
    return new DbopsError(
      'store_failed',
      `${key} in the store "${this.name}" lies in ${storageClass ?? 'an archive class'} and cannot be read yet; ${words}`,
      { hint: `Run the same command again in ${wait}${stays}.` },
    );
  }
}

function lastByte(end: number | undefined): string {
  return end === undefined ? '' : String(end - 1);
}
