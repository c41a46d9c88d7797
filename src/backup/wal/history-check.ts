import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DbopsError } from '../../errors.ts';
import { loseStore } from '../../storage/copies.ts';
import type { Store } from '../../storage/store.ts';
import { findHistory } from './archive.ts';
import { parseSegmentHeader, segmentHeaderBytes } from './page-header.ts';
import { pushFile, type PushTarget } from './push-file.ts';
import { formatLsn, historyName, parseWalName } from './segment.ts';
import { parseHistory, startOfTimeline, type TimelineHistory } from './timeline.ts';
import { readStart } from './local-file.ts';

/**
 * Keeps a clone's timeline out of the archive of its original: two servers that were promoted apart give the same number
 * to different timelines. The history of a timeline goes into the archive before its first segment, and from then on
 * every segment has to agree with it.
 */
export class HistoryCheck {
  readonly #target: PushTarget;
  readonly #folder: string;
  readonly #known = new Map<number, Promise<TimelineHistory | undefined>>();

  /** `folder` is pg_wal, where the server keeps its own histories. */
  constructor(target: PushTarget, folder: string) {
    this.#target = target;
    this.#folder = folder;
  }

  /** Throws refused for a segment that contradicts the archive. */
  async check(name: string): Promise<void> {
    const parsed = parseWalName(name);
    // The first timeline has no history, and a history is compared whole when it is pushed.
    if (parsed === undefined || parsed.timeline === 1 || parsed.kind === 'history') return;
    const { timeline } = parsed;
    const asked = this.#known.get(timeline) ?? this.#agree(timeline);
    this.#known.set(timeline, asked);
    const history = await asked;
    if (history === undefined) return;
    const header = parseSegmentHeader(await readStart(join(this.#folder, name), segmentHeaderBytes));
    // What is no segment is refused by name and header when it is pushed.
    if (header === undefined) return;
    const begins = startOfTimeline(history);
    if (header.startLsn + BigInt(header.segmentBytes) > begins) return;
    throw new DbopsError('refused', `${name} lies before the beginning of its timeline in the archive`, {
      detail: `there timeline ${String(timeline)} begins at ${formatLsn(begins)}`,
      hint: cloneHint,
    });
  }

  /** The history on which the archive and this server agree; undefined when neither has one. */
  async #agree(timeline: number): Promise<TimelineHistory | undefined> {
    const own = await this.#ownHistory(timeline);
    const { copies } = this.#target;
    let common: TimelineHistory | undefined;
    let isEverywhere = true;
    for (const store of [...copies.stores]) {
      const found = await this.#find(store, timeline);
      if (found === undefined) isEverywhere = false;
      else if (own === undefined || describe(own) === describe(found)) common = found;
      else {
        throw new DbopsError(
          'refused',
          `timeline ${String(timeline)} of this server is not that of the archive in store "${store.name}"`,
          { detail: `here: ${describe(own)}\nthere: ${describe(found)}`, hint: cloneHint },
        );
      }
    }
    if (own !== undefined && !isEverywhere) {
      const name = historyName(timeline);
      await pushFile(this.#target, { name, path: join(this.#folder, name), isOfServer: false });
    }
    return common ?? own;
  }

  async #find(store: Store, timeline: number): Promise<TimelineHistory | undefined> {
    const { copies, systemIdentifier, signal } = this.#target;
    try {
      return await findHistory(store, systemIdentifier, timeline, { signal });
    } catch (error) {
      loseStore(copies, store, error);
      return undefined;
    }
  }

  async #ownHistory(timeline: number): Promise<TimelineHistory | undefined> {
    const text = await readFile(join(this.#folder, historyName(timeline)), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : parseHistory(timeline, text);
  }
}

const cloneHint =
  'A copy of the server was promoted on its own and shares the archive: set archive_mode = off on the one that is no longer production, or give it stores of its own.';

function describe({ ancestors }: TimelineHistory): string {
  return ancestors.map((item) => `${String(item.timeline)} until ${formatLsn(item.until)}`).join(', ');
}
