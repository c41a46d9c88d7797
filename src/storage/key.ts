import { createHash } from 'node:crypto';

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
