import type { StoreSettings } from '../config/stores.ts';
import { DbopsError, type ErrorDetails } from '../errors.ts';

/** The requests that are made, with the IAM action that allows each, and whether that is granted on the bucket. */
const actions = {
  PutObject: { action: 's3:PutObject', on: 'objects' },
  CreateMultipartUpload: { action: 's3:PutObject', on: 'objects' },
  UploadPart: { action: 's3:PutObject', on: 'objects' },
  CompleteMultipartUpload: { action: 's3:PutObject', on: 'objects' },
  AbortMultipartUpload: { action: 's3:AbortMultipartUpload', on: 'objects' },
  ListMultipartUploads: { action: 's3:ListBucketMultipartUploads', on: 'bucket' },
  GetObject: { action: 's3:GetObject', on: 'objects' },
  // S3 denies the HEAD of what is not there to those who may not list.
  HeadObject: { action: 's3:GetObject and s3:ListBucket', on: 'objects' },
  ListObjectsV2: { action: 's3:ListBucket', on: 'bucket' },
  DeleteObject: { action: 's3:DeleteObject', on: 'objects' },
  RestoreObject: { action: 's3:RestoreObject', on: 'objects' },
} as const;

export type Verb = keyof typeof actions;

/** What the errors of the SDK and of Node have in common; all of it may be missing. */
export interface RawError {
  name?: string;
  message?: string;
  stack?: string;
  code?: string;
  Code?: string;
  cause?: unknown;
  $metadata?: { httpStatusCode?: number };
  $response?: { headers?: Record<string, string> };
  /** Of InvalidObjectState. */
  StorageClass?: string | undefined;
}

/** Where an error happened. */
export interface RequestPlace {
  settings: StoreSettings;
  bucket: string;
  prefix: string;
  verb: Verb;
  /** With the store's prefix. */
  key: string;
  idleTimeoutMs: number;
}

const meaningless = ['Error', 'Unknown', 'S3ServiceException', 'AggregateError', 'TypeError'];

/** S3's name of an error, such as NoSuchKey; before that Node's code, such as ECONNRESET, which the SDK renames. */
export function errorName(error: RawError): string {
  if (/^E[A-Z]/.test(error.code ?? '')) return error.code ?? '';
  const names = [error.name, error.Code, error.code, (error.cause as RawError | undefined)?.code];
  return names.find((name) => name !== undefined && !meaningless.includes(name)) ?? '';
}

export function statusOf(error: RawError): number | undefined {
  return error.$metadata?.httpStatusCode;
}

/** The error of a request as one of ours: what was asked of whom, and what helps. Secrets are in none of them. */
export function describeS3Failure(place: RequestPlace, cause: unknown): DbopsError {
  if (cause instanceof DbopsError) return cause;
  const error = cause as RawError;
  const name = errorName(error);
  const details = { cause: new S3Cause(error, name), detail: serverWords(name, error) };
  return (
    credentialsFailure(place, name, details) ??
    bucketFailure(place, name, details) ??
    networkFailure(place, name, error, details) ??
    denial(place, name, error, details) ??
    new DbopsError(
      'store_failed',
      `the store "${place.settings.name}" failed at ${place.verb} of ${shownKey(place)}`,
      {
        ...details,
        hint: hintForStatus(statusOf(error)),
      },
    )
  );
}

type Described = DbopsError | undefined;

function credentialsFailure({ settings }: RequestPlace, name: string, details: ErrorDetails): Described {
  const path = `stores.${settings.name}`;
  const denied = (message: string, hint: string) =>
    new DbopsError('store_denied', message, { ...details, hint });
  switch (name) {
    case 'CredentialsProviderError':
    case 'NoCredentials':
      return denied(
        `there are no credentials for the store "${settings.name}"`,
        `Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name ${path}.profile, or give ${path}.accessKeyId with secretAccessKeyFile; on AWS, give the host a role.`,
      );
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
    case 'InvalidToken':
    case 'ExpiredToken':
    case 'ExpiredTokenException':
    case 'TokenRefreshRequired':
      return denied(
        `the store "${settings.name}" does not accept the credentials`,
        name.startsWith('Expired') || name === 'TokenRefreshRequired'
          ? 'They have expired: sign in again, or use keys that last.'
          : `Check ${settings.accessKeyId === undefined ? 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile' : `${path}.accessKeyId and its secret`}; a wrong region or a proxy that changes requests spoils signatures too.`,
      );
    case 'RequestTimeTooSkewed':
      return denied(
        `the clock of this host differs too much from that of the store "${settings.name}"`,
        'Run an NTP client on this host.',
      );
    default:
      return undefined;
  }
}

function bucketFailure({ settings, bucket }: RequestPlace, name: string, details: ErrorDetails): Described {
  const failed = (message: string, hint: string) =>
    new DbopsError('store_failed', message, { ...details, hint });
  switch (name) {
    case 'NoSuchBucket':
      return failed(
        `the bucket "${bucket}" of the store "${settings.name}" does not exist`,
        `Create it, or correct stores.${settings.name}.url.`,
      );
    case 'PermanentRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
      return failed(
        `the bucket "${bucket}" of the store "${settings.name}" is in another region`,
        `Set stores.${settings.name}.region to the region of the bucket.`,
      );
    default:
      return undefined;
  }
}

/** Whether the store says that it has no room. There is no name for that which all agree on. Pure. */
export function isFull(error: RawError): boolean {
  const names = ['InsufficientStorage', 'QuotaExceeded', 'XMinioStorageFull'];
  return statusOf(error) === 507 || names.includes(errorName(error));
}

function full(store: string, details: ErrorDetails): DbopsError {
  return new DbopsError('store_failed', `the store "${store}" is full`, {
    ...details,
    hint: 'Make room there, or raise the quota, and run the same command again.',
  });
}

const unreachable = [
  'ENOTFOUND',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'EADDRNOTAVAIL',
];

function networkFailure(
  place: RequestPlace,
  name: string,
  error: RawError,
  details: ErrorDetails,
): Described {
  const { settings } = place;
  const failed = (message: string, hint: string) =>
    new DbopsError('store_failed', message, { ...details, hint });
  const endpoint = settings.endpoint === undefined ? 'its region' : `stores.${settings.name}.endpoint`;
  if (isFull(error)) return full(settings.name, details);
  if (unreachable.includes(name)) {
    return failed(
      `cannot reach the store "${settings.name}"`,
      `Check ${endpoint}, the network and the firewall of this host.`,
    );
  }
  if (name === 'TimeoutError' || name === 'ETIMEDOUT') {
    return failed(
      `the store "${settings.name}" was silent for ${String(place.idleTimeoutMs / 1000)} s at ${place.verb} of ${shownKey(place)}`,
      `Is it overloaded, or is something between that swallows packets? Check ${endpoint}, then run the same command again.`,
    );
  }
  if (/CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|EPROTO/.test(name)) {
    return failed(
      `no secure connection to the store "${settings.name}"`,
      'Name the certificate authority in NODE_EXTRA_CA_CERTS, and check http or https in the endpoint.',
    );
  }
  if (/[Rr]egion is missing/.test(error.message ?? '')) {
    return failed(
      `no region is known for the store "${settings.name}"`,
      `Set stores.${settings.name}.region, or AWS_REGION.`,
    );
  }
  return undefined;
}

function denial(place: RequestPlace, name: string, error: RawError, details: ErrorDetails): Described {
  if (name !== 'AccessDenied' && name !== 'AllAccessDisabled' && ![401, 403].includes(statusOf(error) ?? 0)) {
    return undefined;
  }
  const { verb, settings, bucket, prefix } = place;
  const { action, on } = actions[verb];
  const resource = `arn:aws:s3:::${bucket}${on === 'bucket' ? '' : `/${prefix}*`}`;
  const kms =
    settings.kmsKeyId === undefined
      ? ''
      : ' With kmsKeyId it also takes kms:GenerateDataKey and kms:Decrypt on that key.';
  return new DbopsError('store_denied', `the store "${settings.name}" denies ${verb} of ${shownKey(place)}`, {
    ...details,
    hint: `Allow ${action} on ${resource}.${kms}`,
  });
}

function hintForStatus(status: number | undefined): string {
  if (status === undefined || status < 400) return 'The connection broke off; run the same command again.';
  if (status === 501)
    return 'The server of the store does not know such a request; a later version of it may.';
  if (status >= 500 || status === 429) return 'It was asked several times; run the same command again later.';
  return 'Run "dbops doctor": it tries every kind of access that a store needs.';
}

function shownKey({ verb, bucket, key }: RequestPlace): string {
  if (actions[verb].on === 'bucket') return `s3://${bucket}`;
  return `s3://${bucket}/${key}`;
}

/** "503 SlowDown: Please reduce your request rate". */
function serverWords(name: string, error: RawError): string {
  const status = statusOf(error);
  const words = error.message === name || error.message === undefined ? '' : error.message;
  const head = [status === undefined ? '' : String(status), name].filter((part) => part !== '').join(' ');
  return [head, words]
    .filter((part) => part !== '')
    .join(': ')
    .slice(0, 1000);
}

/** The SDK's error without the request and the socket that hang on it: they hold signatures and memory. */
class S3Cause extends Error implements RawError {
  override readonly name: string;
  readonly $metadata: { httpStatusCode?: number };
  readonly StorageClass: string | undefined;

  constructor(error: RawError, name: string) {
    super(error.message);
    this.name = name;
    const httpStatusCode = statusOf(error);
    this.$metadata = httpStatusCode === undefined ? {} : { httpStatusCode };
    this.StorageClass = error.StorageClass;
    if (error.stack !== undefined) this.stack = error.stack;
  }
}

/** What the SDK had thrown, behind an error of ours. */
export function causeOf(error: unknown): RawError {
  return error instanceof DbopsError && error.cause instanceof S3Cause ? error.cause : {};
}
