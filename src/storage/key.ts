import { createHash } from 'node:crypto';
import { DbopsError } from '../errors.ts';

/** File systems take 255 bytes in a name; temporary names are longer than the final one. */
const mostBytes = 200;

/**
 * One part of a key, from any text (the names of databases and tables): what is not a letter, a digit or one of
 * _ - . = + is percent-encoded in UTF-8, and so is a dot at the beginning, so that no name leaves its folder or collides
 * with another. What is longer than a file system takes is cut and closed with a hash of the whole.
 */
export function keyPart(text: string): string {
  const encoded = [...Buffer.from(text, 'utf8')]
    .map((byte) =>
      /[A-Za-z0-9_\-.=+]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : percent(byte),
    )
    .join('');
  // "." and ".." name folders, and a leading dot marks temporary files.
  const safe = encoded.startsWith('.') ? `%2E${encoded.slice(1)}` : encoded === '' ? '%00' : encoded;
  if (safe.length <= mostBytes) return safe;
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
  return `${safe.slice(0, mostBytes - 17).replace(/%.?$/, '')}~${hash}`;
}

function percent(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

/** Joins parts, each encoded. */
export function storeKey(...parts: string[]): string {
  return parts.map(keyPart).join('/');
}

/** S3 takes 1,024 bytes for the prefix of the store and the key together. */
const mostKeyBytes = 900;

/**
 * Throws store_failed for what is no key: with an empty part, one that begins with a dot (.. leaves the store,
 * temporary files begin with a dot), or a control character. Keys come out of manifests too, which somebody else may
 * have written.
 */
export function checkKey(key: string): void {
  if (isKey(key)) return;
  throw new DbopsError('store_failed', `${JSON.stringify(key)} cannot be a key in a store`, {
    hint: 'A key has parts of letters and digits between slashes, none of them empty or beginning with a dot. Was a manifest changed by hand?',
  });
}

/** Whether a listing shows it: what others laid beside our objects under other names is not ours. Pure. */
export function isKey(key: string): boolean {
  return Buffer.byteLength(key) <= mostKeyBytes && key.split('/').every(isPart);
}

/** As checkKey, for a prefix: its last part may be empty, or the beginning of a name. */
export function checkPrefix(prefix: string): void {
  checkKey(prefix === '' || prefix.endsWith('/') ? `${prefix}x` : prefix);
}

/** As checkPrefix, for the name of a folder: empty, or with a slash at its end. */
export function checkFolder(prefix: string): void {
  if (prefix !== '' && !prefix.endsWith('/')) throw new Error(`the folder "${prefix}" lacks its slash`);
  checkPrefix(prefix);
}

function isPart(part: string): boolean {
  // eslint-disable-next-line no-control-regex
  return part !== '' && !part.startsWith('.') && !/[\u0000-\u001f\u007f\\\p{Surrogate}]/u.test(part);
}

/** The order of S3's listings: by the bytes of UTF-8. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
