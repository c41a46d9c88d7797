import { open, stat } from 'node:fs/promises';

/** The first bytes of a file, fewer when it is shorter. */
export async function readStart(path: string, bytes: number): Promise<Buffer> {
  const handle = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    const { bytesRead } = await handle.read(buffer, 0, bytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** In bytes. */
export async function fileSize(path: string): Promise<number> {
  return (await stat(path)).size;
}
