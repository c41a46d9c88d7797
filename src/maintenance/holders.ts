import type { JobContext } from '../partition/context.ts';
import { humanCount, humanSeconds } from '../output/human.ts';
import { countHiddenHolders, listHolders, type HolderRow } from '../sql/maintenance.ts';
import { ident, visible } from '../sql/quote.ts';

/** What is younger or nearer than that is the life of a busy server. */
const noticedSeconds = 60;
const noticedTransactions = 10_000;

/** Who keeps dead rows from being removed, as warnings: VACUUM cannot help while it is there, seen or not. */
export async function holderWarnings({ db }: Pick<JobContext, 'db'>): Promise<string[]> {
  const [oldest] = await listHolders(db);
  const seen = oldest === undefined || !isNoticed(oldest) ? [] : [describeHolder(oldest)];
  return [...seen, ...hiddenHolders(await countHiddenHolders(db), db.server.user)];
}

/** Pure. */
function hiddenHolders(
  { sessions, standbys }: { sessions: number; standbys: number },
  user: string,
): string[] {
  const hidden = [
    sessions === 0 ? undefined : `${String(sessions)} ${sessions === 1 ? 'session' : 'sessions'}`,
    standbys === 0 ? undefined : `${String(standbys)} ${standbys === 1 ? 'standby' : 'standbys'}`,
  ].filter((what) => what !== undefined);
  if (hidden.length === 0) return [];
  return [
    `whether ${hidden.join(' or ')} of other roles keep dead rows from being removed is unknown to role "${user}": ` +
      `grant pg_read_all_stats to ${ident(user)};`,
  ];
}

function isNoticed({ age, seconds }: HolderRow): boolean {
  return age >= noticedTransactions || (seconds ?? 0) >= noticedSeconds;
}

/** Pure. */
export function describeHolder(holder: HolderRow): string {
  const { kind, name, user, state, age, seconds, query } = holder;
  const facts = [
    user === null ? undefined : `user ${user}`,
    state ?? undefined,
    seconds === null ? undefined : `for ${humanSeconds(seconds)}`,
    `${humanCount(age)} transactions behind`,
  ].filter((fact) => fact !== undefined);
  const what = query === null || query === '' ? '' : `: ${visible(query.replaceAll(/\s+/g, ' ').trim())}`;
  return `dead rows newer than ${kind} ${visible(name)} (${facts.join(', ')}) cannot be removed while it is there${what}; ${remedy(holder)}`;
}

function remedy({ kind, name }: HolderRow): string {
  switch (kind) {
    case 'session':
      return `end it: select pg_terminate_backend(${name})`;
    case 'prepared transaction':
      return 'end it with COMMIT PREPARED or ROLLBACK PREPARED';
    case 'replication slot':
      return 'let its consumer catch up, or drop it with pg_drop_replication_slot';
    case 'standby':
      return 'look for a long query there, or set hot_standby_feedback to off';
  }
}
