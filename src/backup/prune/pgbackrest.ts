import { ours } from '../../catalogue/stored.ts';
import type { BackupManifest, PgbackrestPart } from '../manifest.ts';
import type { BackupContext } from '../context.ts';
import { expirePgbackrest } from '../pgbackrest/expire.ts';
import { listPgbackrestBackups, type ListedPgbackrest } from '../pgbackrest/info.ts';
import { findPgbackrest, type PgbackrestSite } from '../pgbackrest/site.ts';

type Context = Pick<BackupContext, 'settings' | 'findTools' | 'signal'>;

/** What pgBackRest says of the backups of ours that lie in its repositories, by id. */
export interface PgbackrestFacts {
  /** Undefined where it was not asked, or could not be. */
  site: PgbackrestSite | undefined;
  /** Why one stays. */
  pinned: Map<string, string>;
  /** Why one is worth nothing any more. */
  lost: Map<string, string>;
}

/** Asks pgBackRest where there is a rule that may remove what it has. What cannot be asked stays, and says why. */
export async function askPgbackrest(context: Context, manifests: BackupManifest[]): Promise<PgbackrestFacts> {
  const facts: PgbackrestFacts = { site: undefined, pinned: new Map(), lost: new Map() };
  const own = manifests.flatMap(({ id, pgbackrest }) =>
    pgbackrest === null ? [] : [{ id, part: pgbackrest }],
  );
  if (own.length === 0 || context.settings.backup.retain.pgbackrest === undefined) return facts;
  try {
    facts.site = await findPgbackrest(context);
    const listed = await listPgbackrestBackups(facts.site, context.signal);
    for (const { id, part } of own) judge(facts, id, part, listed);
  } catch (error) {
    for (const { id } of own) facts.pinned.set(id, `pgBackRest cannot be asked: ${ours(error).message}`);
  }
  return facts;
}

function judge(facts: PgbackrestFacts, id: string, part: PgbackrestPart, listed: ListedPgbackrest[]): void {
  if (part.stanza !== facts.site?.stanza) {
    facts.pinned.set(id, `it is of stanza "${part.stanza}", which is not that of "backup.pgbackrest"`);
    return;
  }
  if (!listed.some((item) => item.part.label === part.label))
    facts.lost.set(id, `pgBackRest does not have ${part.label} any more`);
  // Those of ours are kept by the chain of parents; of the others only pgBackRest knows.
  const other = listed.find((item) => item.id === null && item.buildsOn.includes(part.label));
  if (other !== undefined)
    facts.pinned.set(id, `${other.part.label} builds on it, which pgBackRest made by itself`);
}

/** Removes a backup from the repositories of pgBackRest. Throws as expirePgbackrest(). */
export async function expireBackup(
  facts: PgbackrestFacts,
  { pgbackrest }: BackupManifest,
  signal: AbortSignal,
): Promise<void> {
  if (pgbackrest === null || facts.site === undefined) return;
  for (const repository of pgbackrest.repositories)
    await expirePgbackrest(facts.site, repository, [pgbackrest.label], signal);
}
