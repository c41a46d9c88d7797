import { listGaps, rangeWords, surveyStores, type StoreGap, type StoreWal } from '../../backup/wal/status.ts';
import { humanCount } from '../../output/human.ts';
import { getServerIdentity } from '../../sql/export.ts';
import { quickTimeoutMs } from '../../sql/quick.ts';
import { skip, type Check, type CheckContext, type Look, type Observation } from '../check.ts';
import { isWalWanted, notWanted } from '../wal-wanted.ts';

const mend = 'dbops wal status';

/** What lies in the stores for WAL. */
export const walArchive: Check[] = [
  {
    id: 'archiving.gaps',
    group: 'archiving',
    answers: 'whether segments are missing between those in the stores for WAL',
    why: 'A recovery ends at the first segment that is missing: what was committed after it comes back from a later base backup alone.',
    advice:
      'Make a base backup now, which needs nothing from before the gap; then look whether pg_wal or another store still has the segments.',
    profiles: ['daily', 'weekly', 'monthly'],
    asks: `the names of all segments in the stores of wal.copies, for at most ${String(quickTimeoutMs / 1000)} s`,
    look,
  },
];

async function look({ db, settings, signal, openStore, now }: CheckContext): Promise<Look> {
  if (!isWalWanted(settings)) return skip(notWanted);
  const { systemIdentifier } = await getServerIdentity(db);
  const late = AbortSignal.timeout(quickTimeoutMs);
  try {
    const stores = await Promise.all(settings.wal.copies.map(openStore));
    const surveyed = await surveyStores(stores, systemIdentifier, AbortSignal.any([signal, late]));
    return judge(surveyed, listGaps(surveyed, now));
  } catch (error) {
    if (!late.aborted || signal.aborted) throw error;
    const message = `the stores did not answer within ${String(quickTimeoutMs / 1000)} s`;
    const advice = '"dbops wal status" has more patience.';
    return { observations: [{ object: null, value: null, message, advice, mend }], summary: message };
  }
}

/** A gap is named by its store and its first segment, so that an old one can be ignored until its WAL is removed. */
function judge(stores: StoreWal[], gaps: StoreGap[]): Look {
  const unread = stores.flatMap(({ store, problem }): Observation[] =>
    problem === undefined
      ? []
      : [
          {
            object: store.name,
            value: null,
            severity: 'unknown',
            message: `store "${store.name}" is not known to be whole: ${problem}`,
            advice: 'Mend what it says; "dbops doctor" looks at stores.',
            mend,
          },
        ],
  );
  const missing = gaps.map((gap): Observation => ({
    object: `${gap.store}/${gap.first}`,
    value: null,
    severity: gap.isElsewhere ? 'warn' : 'crit',
    message: `store "${gap.store}" lacks ${rangeWords(gap)}, ${humanCount(gap.segments)} in all: ${gap.isElsewhere ? 'another store has them' : 'no recovery passes it'}`,
    advice: gap.isElsewhere
      ? 'Copy them from the other store, or keep that one until they are not needed.'
      : undefined,
    mend,
  }));
  const segments = stores.flatMap(({ survey }) => survey?.timelines ?? []).flatMap(({ ranges }) => ranges);
  const count = segments.reduce((sum, range) => sum + range.segments, 0);
  return {
    observations: [...unread, ...missing],
    summary: `${humanCount(count)} segments in ${String(stores.length)} ${stores.length === 1 ? 'store' : 'stores'}, none missing between others`,
  };
}
