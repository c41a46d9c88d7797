import type { Db } from '../pg/connection.ts';
import { ident, literal, relation, type RelationName } from './quote.ts';

/**
 * Settings under which rows are written and read as text, on every connection of the data plane. A role's own ones would
 * change the bytes. lc_monetary C prints the cents that are stored, whatever the currency was. row_security off makes a
 * role fail that would otherwise export only the rows it may see.
 */
export const pinnedSettings: Readonly<Record<string, string>> = {
  row_security: 'off',
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  extra_float_digits: '3',
  TimeZone: 'UTC',
  client_encoding: 'UTF8',
  bytea_output: 'hex',
  lc_monetary: 'C',
  xmloption: 'content',
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  search_path: '',
};

/** `set` for each of them; the empty search_path is written as SET wants it. */
export function pinStatements(): string[] {
  return [
    ...Object.entries(pinnedSettings).map(([name, value]) => `set ${name} = ${literal(value)}`),
    // PostgreSQL 17 and later know it; a role's own value would end a long copy.
    "select pg_catalog.set_config(s.name, '0', false) from pg_catalog.pg_settings as s where s.name = 'transaction_timeout'",
  ];
}

/**
 * For the sessions that copy while another of ours holds the table: somebody who waits for ACCESS EXCLUSIVE waits for
 * that one, and these would wait behind him. The server sees no deadlock in it, since ours waits for them outside it.
 */
const copyLockTimeout = "set lock_timeout = '5s'";

/** What a session of the data plane begins with to read in an exported snapshot. */
export function snapshotStatements(snapshotId: string): string[] {
  return [
    'begin isolation level repeatable read, read only',
    `set transaction snapshot ${literal(snapshotId)}`,
    ...pinStatements(),
    copyLockTimeout,
  ];
}

export interface ServerIdentity {
  systemIdentifier: string;
  encoding: string;
  lcMonetary: string;
}

/** Which cluster this is. Privilege: EXECUTE on pg_control_system(), which everybody has by default. */
export async function getServerIdentity(db: Db): Promise<ServerIdentity> {
  const [row] = await db.query<ServerIdentity>({
    text: `/* dbops:export.identity */
      select s.system_identifier::text as "systemIdentifier",
             pg_catalog.current_setting('server_encoding') as encoding,
             pg_catalog.current_setting('lc_monetary') as "lcMonetary"
        from pg_catalog.pg_control_system() as s`,
  });
  if (row === undefined) throw new Error('the server has no identity');
  return row;
}

export interface SnapshotRow {
  id: string;
  /** 64 bit transaction ids. */
  xmin: string;
  xmax: string;
  lsn: string;
  at: Date;
  /** Blocks of the heap. */
  blocks: number;
  /** Heap and TOAST. */
  sizeBytes: number;
}

/**
 * Begins the transaction of an export: the lock comes first, since a TRUNCATE or a rewrite between snapshot and lock would
 * leave an empty table to be exported. The caller ends the transaction. Privilege: SELECT. Locks: ACCESS SHARE, held.
 */
export async function beginSnapshot(db: Db, table: RelationName, oid: number): Promise<SnapshotRow> {
  await db.execute('begin isolation level repeatable read, read only');
  for (const statement of pinStatements()) await db.execute(statement);
  await db.execute(`lock table only ${relation(table)} in access share mode`);
  const [row] = await db.query<SnapshotRow>({
    text: `/* dbops:export.snapshot */
      select pg_catalog.pg_export_snapshot() as id,
             pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text as xmin,
             pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text as xmax,
             pg_catalog.pg_current_wal_insert_lsn()::text as lsn,
             pg_catalog.clock_timestamp() as at,
             (pg_catalog.pg_relation_size($1::oid) / pg_catalog.current_setting('block_size')::int8)::float8 as blocks,
             pg_catalog.pg_table_size($1::oid)::float8 as "sizeBytes"`,
    values: [oid],
  });
  if (row === undefined) throw new Error('the server gave no snapshot');
  return row;
}

/** Lists the columns of a table that have an order of numbers, and the key. */
export interface SummaryColumn {
  name: string;
  /** What is read of it: the column itself, or its mask. */
  expression: string;
}

export interface SummaryRow {
  rows: bigint;
  columns: { name: string; min: string | null; max: string | null; nulls: number }[];
}

/**
 * Counts the rows in the snapshot, and says between what the given columns lie. Reads the whole table. Privilege: SELECT.
 * Locks: ACCESS SHARE.
 */
export async function getSummary(db: Db, table: RelationName, columns: SummaryColumn[]): Promise<SummaryRow> {
  const parts = columns.map(({ expression }, index) => {
    const at = String(index);
    return (
      `pg_catalog.min(${expression})::text as min${at}, pg_catalog.max(${expression})::text as max${at}, ` +
      `pg_catalog.count(${expression}) as filled${at}`
    );
  });
  const [row] = await db.query<Record<string, string | bigint | null>>({
    text: `/* dbops:export.summary */
      select ${['pg_catalog.count(*) as rows', ...parts].join(',\n             ')}
        from only ${relation(table)} as t`,
  });
  const rows = BigInt(row?.['rows'] ?? 0);
  return {
    rows,
    columns: columns.map(({ name }, index) => ({
      name,
      min: textOf(row?.[`min${String(index)}`]),
      max: textOf(row?.[`max${String(index)}`]),
      nulls: Number(rows - BigInt(row?.[`filled${String(index)}`] ?? 0)),
    })),
  };
}

function textOf(value: string | bigint | null | undefined): string | null {
  return value === null || value === undefined ? null : String(value);
}

/** A column as it is copied: itself, or the expression that masks it. */
export interface CopiedColumn {
  name: string;
  mask: string | null;
}

/** The SELECT that a part is copied from: a range of heap blocks, the last one open-ended. TID ranges need PostgreSQL 14. */
export function partQuery(
  table: RelationName,
  columns: CopiedColumn[],
  blocks: { first: number; end: number | null },
): string {
  const list = columns.map(({ name, mask }) =>
    mask === null ? `t.${ident(name)}` : `(${mask}) as ${ident(name)}`,
  );
  const conditions = [
    ...(blocks.first === 0 ? [] : [`t.ctid >= '(${String(blocks.first)},0)'`]),
    ...(blocks.end === null ? [] : [`t.ctid < '(${String(blocks.end)},0)'`]),
  ];
  const where = conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`;
  return `select ${list.join(', ')} from only ${relation(table)} as t${where}`;
}

/**
 * A digest of what a change of the definition would change: columns with their types and enum labels. Compared once more
 * in the transaction that drops. Privilege: none. Locks: none.
 */
export async function getSignature(db: Db, oid: number): Promise<string> {
  const [row] = await db.query<{ signature: string }>({
    text: `/* dbops:export.signature */ select ${signatureExpression(oid)} as signature`,
  });
  return row?.signature ?? '';
}

function signatureExpression(oid: number): string {
  return (
    `(select pg_catalog.md5(coalesce(pg_catalog.string_agg(pg_catalog.concat_ws('/', a.attnum, a.attname, ` +
    `a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated, (select pg_catalog.string_agg(e.enumlabel, ',' ` +
    `order by e.enumsortorder) from pg_catalog.pg_enum as e where e.enumtypid = a.atttypid)), ';' ` +
    `order by a.attnum), '')) from pg_catalog.pg_attribute as a ` +
    `where a.attrelid = ${String(oid)} and a.attnum > 0 and not a.attisdropped)`
  );
}

/** The SQLSTATE that the proof raises when the rows are not those that were archived. */
export const changedState = 'DBOPS';

/**
 * A DO block that fails (SQLSTATE DBOPS) unless the table has exactly this many rows, none of them written since the
 * baseline, and the same definition. The raw xmin of a row is 32 bits, hence modulo 2^32; the baseline is the snapshot's
 * xmin, not its xmax, since a subtransaction of a transaction that was open at the export has a later id than xmin. A
 * baseline that is yet to come (ids were reset) says nothing, and every row is suspicious. The caller holds SHARE or more,
 * so that nobody writes meanwhile. Reads the whole table.
 */
export function proofSql(
  table: RelationName,
  oid: number,
  expected: { rows: number; baselineXmin: string; signature: string },
): string {
  const modulus = '4294967296';
  const body = `
declare
  found int8;
  suspicious int8;
  baseline constant int8 := ${BigInt(expected.baselineXmin).toString()};
  upcoming constant int8 := pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8;
begin
  if pg_catalog.to_regclass(${literal(relation(table)).trim()}) is distinct from ${String(oid)}::pg_catalog.oid then
    raise exception 'its name is that of another table now' using errcode = '${changedState}';
  end if;
  if ${signatureExpression(oid)} <> ${literal(expected.signature).trim()} then
    raise exception 'its definition was changed since it was archived' using errcode = '${changedState}';
  end if;
  select pg_catalog.count(*),
         pg_catalog.count(*) filter (where upcoming < baseline or upcoming - baseline >= ${modulus}
           or (t.xmin::text::int8 - baseline % ${modulus} + ${modulus}) % ${modulus} < upcoming - baseline)
    into found, suspicious
    from only ${relation(table)} as t;
  if found <> ${String(expected.rows)} then
    raise exception 'it has % rows, and ${String(expected.rows)} were archived', found using errcode = '${changedState}';
  end if;
  if suspicious > 0 then
    raise exception '% of its rows were written since it was archived', suspicious
      using errcode = '${changedState}', hint = 'compare';
  end if;
end`;
  return `do ${literal(body)}`;
}

/** Takes SHARE on a detached table and returns the snapshot under it: nothing that is open can still write to it. */
export async function beginComparison(db: Db, table: RelationName): Promise<{ id: string; xmin: string }> {
  await db.execute('begin isolation level repeatable read');
  for (const statement of pinStatements()) await db.execute(statement);
  await db.execute(`lock table only ${relation(table)} in share mode`);
  const [row] = await db.query<{ id: string; xmin: string }>({
    text: `/* dbops:export.comparison */
      select pg_catalog.pg_export_snapshot() as id,
             pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text as xmin`,
  });
  if (row === undefined) throw new Error('the server gave no snapshot');
  return row;
}
