import { DbopsError } from '../../errors.ts';
import { findDrillMarks, getArchiveTimeout, getLastArchived } from '../../sql/drill.ts';
import type { Store } from '../../storage/store.ts';
import { describeTarget, parseTarget, type Target } from '../restore/pitr/target.ts';
import type { Reached } from '../restore/pitr/recover.ts';
import { findWal } from '../wal/archive.ts';
import type { Drilling } from './context.ts';
import { prove, reasonText, type Proof } from './report.ts';
import { lookInto, type Restored } from './proofs/restored.ts';
import { markSource, type SourceTarget } from './source.ts';

/** What the recovery is to reach, and what was done on the source for it. */
export interface Aim {
  target: Target;
  /** Undefined: there are no marks, and `why` says why not. */
  marks: SourceTarget | undefined;
  why: string;
  proofs: Proof[];
}

/**
 * A target that nobody can reach by chance: a restore point between two marks that are committed now. Where there is no
 * source, or one was asked for, it is another one, and of the marks nothing is known.
 */
export async function aimAt(drilling: Drilling, wish: { to: string | undefined }): Promise<Aim> {
  const { source, backup, drill } = drilling;
  const without = (why: string, target: Target = { kind: 'latest' }, proofs: Proof[] = []): Aim => ({
    target,
    marks: undefined,
    why,
    proofs,
  });
  if (wish.to !== undefined)
    return without('they are made for a target of the drill itself, without --to', parseTarget(wish.to));
  if (typeof source === 'string') return without(`the source was not asked for them: ${source}`);
  if (backup.manifest.physical?.wal === 'included')
    return without('the backup has its own WAL, and there is no archive to get them from');
  try {
    const isArchived = await archiveOf(drilling);
    const marks = await markSource(source, { drill, isArchived });
    await tellTimeout(drilling);
    return { target: { kind: 'name', name: marks.name }, marks, why: '', proofs: [] };
  } catch (error) {
    const reason = reasonText(error);
    const isPrivilege = error instanceof DbopsError && error.code === 'privilege_missing';
    // That WAL does not come into the archive is what a drill is for; what is there is restored all the same.
    return without(
      reason,
      undefined,
      isPrivilege ? [] : [{ name: 'archived', outcome: 'failed', detail: reason }],
    );
  }
}

/** Whether a segment is where a recovery gets it from. */
async function archiveOf(drilling: Drilling): Promise<(segment: string) => Promise<boolean>> {
  const { settings, backup, source, openStore, signal } = drilling;
  const { systemIdentifier } = backup.manifest.server;
  // pgBackRest has an archive of its own, of which the server knows.
  if (backup.manifest.pgbackrest !== null && typeof source !== 'string')
    return async (segment) => ((await getLastArchived(source.db)) ?? '') >= segment;
  const stores = await Promise.all(settings.wal.copies.map(openStore));
  return async (segment) => {
    for (const store of stores) if (await hasSegment(store, systemIdentifier, segment, signal)) return true;
    return false;
  };
}

/** A recovery needs one good copy. A store that cannot be asked now may answer the next time. */
async function hasSegment(
  store: Store,
  system: string,
  segment: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    return (await findWal(store, system, segment, signal)) !== undefined;
  } catch (error) {
    if (!(error instanceof DbopsError) || error.exitCode > 128) throw error;
    return false;
  }
}

/** The drill itself ends a segment: without that, the last one is archived when it is full, or after archive_timeout. */
async function tellTimeout({ source, warnings }: Drilling): Promise<void> {
  if (typeof source === 'string') return;
  const seconds = await getArchiveTimeout(source.db);
  warnings.push(
    'The age of the last commit was measured with a segment that the drill itself ended. On a quiet server a commit waits ' +
      (seconds === 0
        ? 'for the archive until its segment is full: archive_timeout is 0.'
        : `up to ${String(seconds)} s longer for the archive: that is archive_timeout.`),
  );
}

/** Whether the recovery stopped where it was told to. */
export function proveTarget(aim: Aim, reached: Reached): Proof {
  const { target } = aim;
  const said = reached.stoppedBy ?? 'the end of the archive';
  const isThere =
    target.kind === 'name'
      ? said.includes(`restore point "${target.name}"`)
      : target.kind === 'latest' || reached.stoppedBy !== null;
  return isThere
    ? { name: 'target', outcome: 'ok', detail: said }
    : { name: 'target', outcome: 'failed', detail: `asked for ${describeTarget(target)}: ${said}` };
}

/** What was committed before the target is there, and what was committed after it is not. */
export async function proveMarks(drilling: Drilling, aim: Aim, restored: Restored): Promise<Proof[]> {
  const { drill, settings, source } = drilling;
  if (aim.marks === undefined || typeof source === 'string')
    return ['mark before', 'mark after'].map((name) => ({ name, outcome: 'unknown', detail: aim.why }));
  const { database } = source.db.server;
  let found: { before: boolean; after: boolean } | undefined;
  const before = await prove('mark before', async () => {
    found = await lookInto(restored, database, (db) => findDrillMarks(db, settings.stateSchema, drill));
    return found?.before === true
      ? { outcome: 'ok', detail: 'what was committed before the target is there' }
      : { outcome: 'failed', detail: 'what was committed before the target is not there' };
  });
  if (found === undefined)
    return [before, { name: 'mark after', outcome: 'unknown', detail: 'the marks cannot be read' }];
  return [
    before,
    found.after
      ? { name: 'mark after', outcome: 'failed', detail: 'what was committed after the target is there' }
      : { name: 'mark after', outcome: 'ok', detail: 'what was committed after the target is not there' },
  ];
}
