import type { Db } from '../pg/connection.ts';
import { ident, literal } from './quote.ts';

/** A job that can be gone on with after a kill: what it does, and how far it has come. */
export interface JobRow {
  name: string;
  spec: unknown;
  cursor: unknown;
  state: string;
}

/** One job, if it was begun and has not ended. No row where the state schema is not there. Privilege: SELECT. */
export async function findJob(db: Db, schema: string, name: string): Promise<JobRow | undefined> {
  const [there] = await db.query<{ found: boolean }>({
    text: '/* dbops:jobs.found */ select pg_catalog.to_regclass($1) is not null as found',
    values: [`${ident(schema)}.job`],
  });
  if (there?.found !== true) return undefined;
  const [row] = await db.query<JobRow>({
    text: `/* dbops:jobs.find */
      select j.name, j.spec, j.cursor, j.state from ${ident(schema)}.job as j where j.name = $1`,
    values: [name],
  });
  return row;
}

/** Begins a job; goes into the transaction that makes what the job works on. Privilege: INSERT. */
export function insertJobSql(schema: string, name: string, spec: unknown, state: string): string {
  return (
    `insert into ${ident(schema)}.job (name, spec, state) ` +
    `values (${literal(name)}, ${literal(JSON.stringify(spec))}, ${literal(state)})`
  );
}

/** Ends a job; goes into the transaction that completes it. Privilege: DELETE. */
export function deleteJobSql(schema: string, name: string): string {
  return `delete from ${ident(schema)}.job where name = ${literal(name)}`;
}

/** A job in a list. */
export interface ListedJobRow extends JobRow {
  changedAt: Date;
}

/** Jobs whose name begins so, oldest change first; none where the state schema is not there. Privilege: SELECT. */
export async function listJobs(db: Db, schema: string, prefix: string): Promise<ListedJobRow[]> {
  const [there] = await db.query<{ found: boolean }>({
    text: '/* dbops:jobs.found */ select pg_catalog.to_regclass($1) is not null as found',
    values: [`${ident(schema)}.job`],
  });
  if (there?.found !== true) return [];
  return await db.query<ListedJobRow>({
    text: `/* dbops:jobs.list */
      select j.name, j.spec, j.cursor, j.state, j.changed_at as "changedAt" from ${ident(schema)}.job as j
       where pg_catalog.starts_with(j.name, $1) order by j.changed_at, j.name`,
    values: [prefix],
  });
}

/**
 * Keeps how far a job has come (and its spec, where that is given); goes into the transaction of the batch. Says whether the job is still there. Privilege:
 * UPDATE. Locks: the job's row.
 */
export async function saveJob(
  db: Db,
  schema: string,
  job: { name: string; cursor: unknown; state: string; spec?: unknown },
): Promise<boolean> {
  const rows = await db.query<{ name: string }>({
    text: `/* dbops:jobs.save */
      update ${ident(schema)}.job as j
         set cursor = $2::jsonb, state = $3, spec = coalesce($4::jsonb, j.spec), changed_at = pg_catalog.clock_timestamp()
       where j.name = $1 returning j.name`,
    values: [
      job.name,
      JSON.stringify(job.cursor),
      job.state,
      job.spec === undefined ? null : JSON.stringify(job.spec),
    ],
  });
  return rows.length === 1;
}
