import { createHash } from 'node:crypto';
import { DbopsError } from '../../../errors.ts';

/** What PostgreSQL's own backup_manifest says, the list of files left out. */
export interface ServerManifest {
  startLsn: string;
  endLsn: string;
  /** On which the backup began, and on which it ended. */
  timeline: number;
  endTimeline: number;
  /** PostgreSQL 17 and later say it. */
  systemIdentifier: string | undefined;
  /** Files and the sum of their sizes; of an incremental one those that were sent. */
  files: number;
  bytes: number;
}

interface WalRange {
  Timeline: number;
  'Start-LSN': string;
  'End-LSN': string;
}

/** The part behind the list of files; a range of WAL has 80 bytes. */
const tailBytes = 16_384;
const checksumKey = '"Manifest-Checksum"';

/**
 * Reads a backup_manifest on its way, with bounded memory: the list of files grows with the tables. The checksum at its end
 * is that of everything before it, so that one which is cut off or altered is found.
 * https://www.postgresql.org/docs/current/backup-manifest-format.html
 */
export class ServerManifestReader {
  readonly #hash = createHash('sha256');
  #tail = Buffer.alloc(0);
  #head = '';
  #rest = '';
  #files = 0;
  #bytes = 0;

  /** Passes the bytes on. */
  async *through(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      this.#take(chunk);
      yield chunk;
    }
  }

  /** Throws tool_failed when it is not whole. */
  result(): ServerManifest {
    const tail = this.#tail.toString('utf8');
    const at = tail.lastIndexOf(checksumKey);
    const stated = /^"Manifest-Checksum": "([0-9a-f]{64})"\}\s*$/.exec(tail.slice(Math.max(at, 0)))?.[1];
    if (at === -1 || stated === undefined) throw notWhole('it has no end');
    // Digits of the checksum and what is before it are ASCII: characters are bytes from there on.
    const end = this.#tail.lastIndexOf(checksumKey);
    const found = this.#hash.update(this.#tail.subarray(0, end)).digest('hex');
    if (found !== stated) throw notWhole('its checksum is not that of its bytes');
    const ranges = rangesIn(tail.slice(0, at));
    // From the newest timeline back to that of the start.
    const [last, first] = [ranges[0], ranges.at(-1)];
    if (last === undefined || first === undefined) throw notWhole('it names no WAL');
    return {
      startLsn: first['Start-LSN'],
      endLsn: last['End-LSN'],
      timeline: first.Timeline,
      endTimeline: last.Timeline,
      systemIdentifier: /"System-Identifier": (\d+)/.exec(this.#head)?.[1],
      files: this.#files,
      bytes: this.#bytes,
    };
  }

  #take(chunk: Uint8Array): void {
    const all = Buffer.concat([this.#tail, chunk]);
    const settled = Math.max(0, all.byteLength - tailBytes);
    this.#hash.update(all.subarray(0, settled));
    this.#tail = all.subarray(settled);
    const text = Buffer.from(chunk).toString('latin1');
    if (this.#head.length < 1024) this.#head += text.slice(0, 1024);
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const size = /^\{ "(?:Encoded-)?Path": .*"Size": (\d+), "Last-Modified"/.exec(line)?.[1];
      if (size === undefined) continue;
      this.#files += 1;
      this.#bytes += Number(size);
    }
  }
}

function rangesIn(tail: string): WalRange[] {
  const list = /"WAL-Ranges": (\[[^\]]*\])/.exec(tail)?.[1];
  try {
    return JSON.parse(list ?? '[]') as WalRange[];
  } catch {
    return [];
  }
}

function notWhole(detail: string): DbopsError {
  return new DbopsError('tool_failed', 'the backup_manifest of pg_basebackup is not whole', { detail });
}
