import { DbopsError } from '../../../errors.ts';
import { bodyOf, startPipeline } from '../../../process/pipeline.ts';
import { damaged, forward } from '../../../storage/read.ts';
import type { Making } from '../maker.ts';
import type { FrameStarts } from './frames.ts';
import { findLastMember, readMember } from './tar-member.ts';

/** So many frames are read at first: 16 MiB of the tar, the list of a hundred thousand files. */
const firstFrames = 4;
const growth = 8;

/** A tar that was stored in frames of pzstd. */
export interface StoredTar {
  file: string;
  sizeBytes: number;
  frames: FrameStarts;
  zstd: string;
}

/**
 * Reads the last file of a tar back out of the store, of which only the end is decompressed. Undefined when the tar does
 * not end with a file of this name. Throws copy_damaged when what is stored cannot be decompressed, or what the store throws.
 */
export async function readLastOfStored(
  making: Making,
  tar: StoredTar,
  name: string,
): Promise<AsyncIterable<Uint8Array> | undefined> {
  if (tar.sizeBytes === 0) return undefined;
  for (let count = firstFrames; ; count *= growth) {
    const start = tar.frames.startOfLast(count);
    const place = await findLastMember(plainFrom(making, tar, start), name);
    if (place !== undefined) return readMember(plainFrom(making, tar, start), place);
    if (start === 0) return undefined;
  }
}

/** What is stored from a frame on, decompressed. */
async function* plainFrom(
  { context, place, sink, stores }: Making,
  { file, zstd }: StoredTar,
  start: number,
): AsyncGenerator<Uint8Array> {
  const { signal } = context;
  const source = await sink.get(file, { start });
  const running = startPipeline([{ path: zstd, args: ['-q', '-dc'] }], { isFed: true, signal });
  const feeding = forward(source, running.input).catch((error: unknown) => {
    running.stop();
    throw error;
  });
  feeding.catch(() => undefined);
  try {
    yield* bodyOf(running);
    await feeding;
  } catch (error) {
    // A store that breaks off says more than a program that was stopped for it.
    await feeding;
    const [store] = stores;
    if (store === undefined || !(error instanceof DbopsError) || error.code !== 'tool_failed') throw error;
    throw damaged(
      store,
      `${place}${file}`,
      `${error.message}${error.detail === undefined ? '' : `: ${error.detail}`}`,
    );
  } finally {
    running.stop();
    source.destroy();
  }
}
