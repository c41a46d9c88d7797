import { createHash } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import { DbopsError } from '../errors.ts';
import type { Store, Stored } from './store.ts';

/** Hashes what an object holds, without decompressing it: for a further copy of parts that were read back once. */
export async function hashOf(store: Store, key: string, signal?: AbortSignal): Promise<Stored> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of (await store.get(key, { signal })) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    sizeBytes += chunk.length;
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

/** Throws copy_damaged when an object is not what was written. */
export function compareStored(store: Store, key: string, found: Stored, expected: Stored): void {
  if (found.sizeBytes !== expected.sizeBytes) {
    throw damaged(
      store,
      key,
      `it has ${String(found.sizeBytes)} bytes, and ${String(expected.sizeBytes)} were written`,
    );
  }
  if (found.sha256 !== expected.sha256) {
    throw damaged(store, key, `its sha256 is ${found.sha256}, and ${expected.sha256} was written`);
  }
}

/** An object whose bytes are not those that were written. */
export function damaged(store: Store, key: string, detail: string): DbopsError {
  return new DbopsError('copy_damaged', `${key} in store "${store.name}" is damaged`, {
    detail,
    hint: 'Look for a good copy: "dbops archive verify" and "dbops backup verify" read every store that should have one.',
  });
}

/** Passes bytes on at the pace of the program, hashing them. A program that has ended takes no more; its exit code tells. */
export async function forward(
  source: Readable,
  target: Writable | undefined,
  onBytes?: (bytes: number) => void,
): Promise<Stored> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    hash.update(chunk);
    sizeBytes += chunk.length;
    onBytes?.(chunk.length);
    if (target?.writable === true && !target.write(chunk)) await drained(target);
  }
  if (target?.writable === true) target.end();
  return { sizeBytes, sha256: hash.digest('hex') };
}

/** Resolves when a program takes more, or never will. */
async function drained(target: Writable): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      target.off('drain', done);
      target.off('close', done);
      resolve();
    };
    target.on('drain', done);
    target.on('close', done);
  });
}
