import { fileURLToPath } from 'node:url';

/** Where a store lies, as its URL says. */
export type StorePlace =
  | { kind: 'file'; /** Absolute. */ path: string }
  | { kind: 's3'; bucket: string; /** Empty, or ends with /. */ prefix: string };

/** What is wrong with a URL, for the list of configuration errors. It repeats no part that could be a secret. */
export interface StoreUrlProblem {
  problem: string;
}

const wanted = 'must be file:///absolute/path or s3://bucket/prefix';

/** Reads the URL of a store. Pure. */
export function parseStoreUrl(url: string): StorePlace | StoreUrlProblem {
  if (hasControlCharacter(url)) return { problem: 'must not hold control characters' };
  const [, scheme] = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(url) ?? [];
  if (scheme?.toLowerCase() === 'file') return parseFileUrl(url);
  if (scheme?.toLowerCase() === 's3') return parseS3Url(url);
  if (scheme === undefined) {
    const meant = url.startsWith('/') ? `; write it as "file://${url}"` : '';
    return { problem: `${wanted}${meant}` };
  }
  return { problem: `${wanted}; "${scheme}:" is no kind of store that dbops knows` };
}

/** Only file:///path: a host, or what is relative, would be another place than the one that is meant. */
function parseFileUrl(url: string): StorePlace | StoreUrlProblem {
  if (!url.slice('file:'.length).startsWith('///')) {
    return {
      problem:
        'must be file:///absolute/path, with three slashes: a relative path depends on where dbops runs',
    };
  }
  if (/[?#]/.test(url)) return { problem: `${wanted}, without ? and #; write them as %3F and %23` };
  try {
    const path = fileURLToPath(url);
    if (hasControlCharacter(path)) return { problem: 'must not hold control characters' };
    return { kind: 'file', path: path.length > 1 ? path.replace(/\/+$/, '') : path };
  } catch {
    return { problem: `${wanted}; what follows a % must be two hexadecimal digits, and no slash` };
  }
}

function parseS3Url(url: string): StorePlace | StoreUrlProblem {
  const [, authority = '', path = ''] = /^s3:\/\/([^/]*)\/*(.*)$/is.exec(url) ?? [];
  if (authority.includes('@') || authority.includes(':')) {
    return {
      problem:
        'must not hold credentials: it is shown in messages. Give accessKeyId and secretAccessKeyFile, a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment',
    };
  }
  if (authority === '') return { problem: 'must name a bucket: s3://bucket/prefix' };
  if (/[?#]/.test(url)) return { problem: 'must be s3://bucket/prefix, without ? and #' };
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/.test(authority)) {
    return { problem: 'must name a bucket of letters, digits, dots and hyphens: s3://bucket/prefix' };
  }
  const parts = path.split('/').filter((part) => part !== '');
  if (parts.some((part) => part === '.' || part === '..')) {
    return { problem: 'must not hold . or .. as a part of its prefix' };
  }
  return { kind: 's3', bucket: authority, prefix: parts.map((part) => `${part}/`).join('') };
}

function hasControlCharacter(text: string): boolean {
  // eslint-disable-next-line no-control-regex
  return /[\u0000-\u001f\u007f]/.test(text);
}
