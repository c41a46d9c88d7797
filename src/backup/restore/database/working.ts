import { randomBytes } from 'node:crypto';
import type { Log } from '../../../output/log.ts';
import type { Db } from '../../../pg/connection.ts';
import { ident, literal } from '../../../sql/quote.ts';
import { listDatabases, listLiveRuns, type DatabaseRow } from '../../../sql/restore-database.ts';

/** A database or a schema that a run works in until it is whole, or that it only looks into. */
const workingName = /^dbops_(restoring|scratch|drill)_([0-9a-f]{12})$/;

/** What the comment on such a database begins with. */
const marker = 'dbops:restoring';

/** The name of a run, and of the database that it works in. */
export interface Working {
  token: string;
  name: string;
}

export function newWorking(kind: 'restoring' | 'scratch' | 'drill'): Working {
  const token = randomBytes(6).toString('hex');
  return { token, name: `dbops_${kind}_${token}` };
}

/** The comment on what belongs to a run, for people and for other runs. */
export function markText(working: Working, backup: string, purpose: string): string {
  return `${marker} backup ${backup} ${purpose}, run ${working.token}`;
}

/** COMMENT ON DATABASE that tells people, and other runs, whose it is. */
export function markStatement(working: Working, backup: string, purpose: string): string {
  return `comment on database ${ident(working.name)} is ${literal(markText(working, backup, purpose))}`;
}

/** Databases that killed runs have left: by their names ours, and no session of their run is alive. */
export async function listAbandoned(db: Db, databases?: DatabaseRow[]): Promise<string[]> {
  return await abandonedOf(db, databases ?? (await listDatabases(db)));
}

/** Those of some databases, or schemas, that belong to a run which is not alive. */
export async function abandonedOf(
  db: Db,
  rows: Pick<DatabaseRow, 'name' | 'comment' | 'isOwn'>[],
): Promise<string[]> {
  const found = rows.flatMap((row) => {
    const [, kind, token] = workingName.exec(row.name) ?? [];
    // Between its making and its mark a database has no comment; that of a drill has the one that was restored.
    const isOurs = kind === 'drill' || row.comment === null || row.comment.startsWith(marker);
    return token === undefined || !isOurs || !row.isOwn ? [] : [{ token, name: row.name }];
  });
  if (found.length === 0) return [];
  const alive = await listLiveRuns(
    db,
    found.map((item) => item.token),
  );
  return found.filter((item) => !alive.includes(item.token)).map((item) => item.name);
}

/** Drops what killed runs have left. A child of a killed run may be in it for an instant longer. */
export async function dropAbandoned(db: Db, log: Log): Promise<void> {
  for (const name of await listAbandoned(db)) {
    await db.execute(`drop database if exists ${ident(name)} with (force)`);
    log.info(
      { event: 'restore_swept', database: name },
      `dropped database ${name}, which an interrupted restore had left`,
    );
  }
}

/** Takes away a database that is of no use. What cannot be dropped now is dropped by the next restore. */
export async function dropWorking(db: Db, log: Log, name: string): Promise<void> {
  try {
    await db.execute(`drop database if exists ${ident(name)} with (force)`);
  } catch (error) {
    log.warn(
      { event: 'take_back_failed', reason: error instanceof Error ? error.message : String(error) },
      `database ${name} could not be dropped; the next restore drops it`,
    );
  }
}
