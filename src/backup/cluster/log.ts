import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const pollMs = 50;
const readBytes = 65_536;

/** Follows a log file that a server writes. */
export interface FollowedLog {
  /** Reads what is there by now, and stops. */
  end: () => Promise<void>;
}

/** Tells each whole line that is appended to a file from `from` bytes on. What a line says must not throw. */
export function followLog(file: string, from: number, onLine: (line: string) => void): FollowedLog {
  let at = from;
  let rest = '';
  let isOver = false;
  const readOn = async () => {
    const handle = await open(file, 'r').catch(() => undefined);
    if (handle === undefined) return;
    try {
      for (;;) {
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(readBytes), 0, readBytes, at);
        if (bytesRead === 0) return;
        at += bytesRead;
        const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) onLine(line);
      }
    } finally {
      await handle.close();
    }
  };
  const following = (async () => {
    while (!isOver) {
      await readOn();
      await sleep(pollMs);
    }
    await readOn();
    if (rest !== '') onLine(rest);
  })();
  following.catch(() => undefined);
  return {
    end: async () => {
      isOver = true;
      await following;
    },
  };
}
