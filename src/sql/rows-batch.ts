import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import { displayName, ident, literal, relation, type RelationName } from './quote.ts';

/** A column of the primary key, in its order. */
export interface KeyColumn {
  name: string;
  /** For casts of text. */
  type: string;
}

/**
 * Where a stretch begins or ends: values of the key as text, or a block. A fraction of a block is a line in it, in parts of
 * 65536, which a double keeps exactly. Null: at the beginning.
 */
export type Position = string[] | number | null;

/** A piece of one table: keys behind `after` up to and with `upto`, or blocks from `after` up to before `upto`. */
export interface Stretch {
  /** Which of the job's tables. */
  leaf: number;
  after: Position;
  upto: string[] | number;
  /** The one row whose key is `upto`: it was passed over, and its neighbours were not. */
  only?: true | undefined;
}

/** What a batch does, apart from where. */
export interface BatchShape {
  verb: 'purge' | 'move' | 'mask';
  keys: KeyColumn[];
  /** In terms of columns, or of columns of t. */
  condition: string;
  /** Of a move: where the rows go, and the columns that are written. */
  target?: { table: RelationName; columns: string[] } | undefined;
  /** A trigger may keep rows as they are: what fits is counted before. */
  mayKeep?: boolean | undefined;
  /** Of a mask. */
  set?: readonly (readonly [column: string, expression: string])[] | undefined;
}

/**
 * How a batch meets rows that others have locked. plain: waits for them, as long as lock_timeout lets it, and is the
 * fastest where there are none; careful: passes over them; look: changes nothing at all.
 */
export type BatchMode = 'plain' | 'careful' | 'look';

export interface BatchRow {
  /** Rows that fitted the condition when the batch began. */
  hits: number;
  /** Rows that were deleted, moved or changed. */
  changed: number;
  /** Of a mask: the keys of the others, at most `mostMissed` of them. */
  missed?: string[][] | undefined;
}

/** So many keys of rows that were passed over are kept, one by one. */
export const mostMissed = 1000;

/** Writes a value into a statement: as a parameter, or as a literal of a script. */
type Bind = (value: string, type: string) => string;

/**
 * What the planner may use in a batch. Of a comparison of rows it knows the first column alone, and would read a whole
 * table for a window of a few rows; and compiling costs more than a batch.
 */
export const batchSettings = { enable_seqscan: 'off', enable_bitmapscan: 'off', jit: 'off' };

/**
 * The rows of a window. The condition stands in a CASE, so that no index but that of the key fits: with the estimates of
 * before the job the planner would take another one, and read what earlier batches have left dead in it.
 */
function windowSql(shape: BatchShape, window: Stretch, bind: Bind): string {
  const condition = `case when (${shape.condition}\n) then true else false end`;
  return `${rangeSql(shape.keys, window, bind)} and ${condition}`;
}

function rangeSql(keys: KeyColumn[], window: Stretch, bind: Bind): string {
  if (typeof window.upto === 'number') {
    const first = typeof window.after === 'number' ? window.after : 0;
    return `t.ctid >= ${tidSql(first)} and ` + `t.ctid < ${tidSql(window.upto)}`;
  }
  const row = `(${keys.map((key) => `t.${ident(key.name)}`).join(', ')})`;
  const values = (position: readonly string[]) =>
    `(${keys.map((key, index) => bind(position[index] ?? '', key.type)).join(', ')})`;
  if (window.only === true) return `${row} = ${values(window.upto)}`;
  const after = Array.isArray(window.after) ? `${row} > ${values(window.after)} and ` : '';
  return `${after}${row} <= ${values(window.upto)}`;
}

/** Lines of a block are numbered from 1 in 16 bits ("ItemPointerData" in src/include/storage/itemptr.h). */
export const lineNumbers = 65_536;

function tidSql(position: number): string {
  const block = Math.floor(position);
  return `'(${String(block)},${String(Math.round((position - block) * lineNumbers))})'::pg_catalog.tid`;
}

/** The statement that changes rows; a move deletes and inserts in one, and says how many rows of each it were. */
function changeSql(shape: BatchShape, table: RelationName, which: string): string {
  const from = relation(table);
  if (shape.verb === 'mask') {
    const set = (shape.set ?? []).map(([column, expression]) => `${ident(column)} = (${expression}\n)`);
    return `update only ${from} as t set ${set.join(', ')} where ${which}`;
  }
  const gone = `delete from only ${from} as t where ${which}`;
  if (shape.target === undefined) return gone;
  const { columns } = shape.target;
  const list = (prefix: string) => columns.map((name) => `${prefix}${ident(name)}`).join(', ');
  return (
    `with gone as (${gone} returning ${list('t.')}), ` +
    `put as (insert into ${relation(shape.target.table)} (${list('')}) overriding system value ` +
    `select ${list('gone.')} from gone returning 1) ` +
    `select (select pg_catalog.count(*) from gone)::float8 as gone, (select pg_catalog.count(*) from put)::float8 as put`
  );
}

/** A batch that passes over locked rows: what it may change is locked first. */
function carefulSql(shape: BatchShape, table: RelationName, window: string): string {
  const from = relation(table);
  const chosen = `select t.ctid from only ${from} as t where ${window} for update skip locked`;
  return changeSql(
    shape,
    table,
    `t.ctid = any (array(${chosen})) and case when (${shape.condition}\n) then true else false end`,
  );
}

/**
 * Sends a batch and says how many rows it changed. Throws refused when fewer rows came in at the target than left: the
 * transaction must then be rolled back.
 */
async function change(db: Db, shape: BatchShape, text: string, values: string[]): Promise<number> {
  const tagged = `/* dbops:rows-batch.run */ ${text}`;
  if (shape.target === undefined) return await db.change({ text: tagged, values });
  const [row] = await db.query<{ gone: number; put: number }>({ text: tagged, values });
  if (row === undefined) throw new Error('a move came back without its counts');
  if (row.gone === row.put) return row.put;
  throw new DbopsError(
    'refused',
    `${displayName(shape.target.table)} took ${String(row.put)} of ${String(row.gone)} rows, so the batch was rolled back`,
    {
      detail: 'a trigger there keeps rows out; they would have been in neither table',
      hint: 'Disable the trigger for the time of the job, or move to another table with --create.',
    },
  );
}

/**
 * Runs one batch in the transaction that is open, over a window that ends where it says. Privilege: SELECT and DELETE or
 * UPDATE on the table, INSERT on the target. Locks: ROW EXCLUSIVE on both, and the rows. Throws refused when rows of a
 * move would be lost.
 */
export async function runBatch(
  db: Db,
  shape: BatchShape,
  table: RelationName,
  window: Stretch,
  mode: BatchMode,
): Promise<BatchRow> {
  const isCounted = mode !== 'plain' || shape.mayKeep === true;
  // A masked row may fit again: which rows were passed over is asked behind the change, of a purge or move before it.
  const before = isCounted && shape.verb !== 'mask' ? await countWindow(db, shape, table, window) : undefined;
  const changed = mode === 'look' ? 0 : await changeWindow(db, shape, table, window, mode);
  if (isCounted && shape.verb === 'mask') {
    const { rows, keys } = await listMissed(db, shape, table, window);
    return { hits: changed + rows, changed, missed: keys };
  }
  return { hits: before ?? changed, changed };
}

async function changeWindow(
  db: Db,
  shape: BatchShape,
  table: RelationName,
  window: Stretch,
  mode: 'plain' | 'careful',
): Promise<number> {
  const { bind, values } = parameters();
  const which = windowSql(shape, window, bind);
  const text = mode === 'plain' ? changeSql(shape, table, which) : carefulSql(shape, table, which);
  return await change(db, shape, text, values);
}

/** The rows of a window that fit and that this transaction has not written. */
async function listMissed(
  db: Db,
  shape: BatchShape,
  table: RelationName,
  window: Stretch,
): Promise<{ rows: number; keys: string[][] }> {
  const { bind, values } = parameters();
  const names = shape.keys.map((key) => `t.${ident(key.name)}`);
  const [row] = await db.query<{ rows: number; keys: string[][] }>({
    text: `/* dbops:rows-batch.missed */
      with missed as (
        select array[${names.map((name) => `${name}::text`).join(', ')}] as key from only ${relation(table)} as t
         where ${windowSql(shape, window, bind)}
           and t.xmin <> pg_catalog.pg_current_xact_id()::pg_catalog.xid)
      select (select pg_catalog.count(*) from missed)::float8 as rows,
             (select coalesce(pg_catalog.json_agg(m.key), '[]')
                from (select key from missed limit ${String(mostMissed)}) as m) as keys`,
    values,
  });
  return row ?? { rows: 0, keys: [] };
}

async function countWindow(db: Db, shape: BatchShape, table: RelationName, window: Stretch): Promise<number> {
  const { bind, values } = parameters();
  const [row] = await db.query<{ rows: number }>({
    text: `/* dbops:rows-batch.count */ select pg_catalog.count(*)::float8 as rows
      from only ${relation(table)} as t where ${windowSql(shape, window, bind)}`,
    values,
  });
  return row?.rows ?? 0;
}

function parameters(): { bind: Bind; values: string[] } {
  const values: string[] = [];
  const bind: Bind = (value, type) => {
    values.push(value);
    return `$${String(values.length)}::${type}`;
  };
  return { bind, values };
}

/** A batch as a statement of a script. */
export function batchScript(shape: BatchShape, table: RelationName, window: Stretch): string {
  const bind: Bind = (value, type) => `${literal(value)}::${type}`;
  return changeSql(shape, table, windowSql(shape, window, bind));
}

/**
 * The key at which a window of so many rows ends; the end of the stretch where there are fewer. It begins behind the last
 * batch, so that what that one left dead is not read again. Privilege: SELECT on the key. Locks: ACCESS SHARE.
 */
export async function findWindowEnd(
  db: Db,
  table: RelationName,
  keys: KeyColumn[],
  stretch: Stretch & { upto: string[] },
  size: number,
): Promise<string[]> {
  const { bind, values } = parameters();
  const names = keys.map((key) => `t.${ident(key.name)}`);
  const [row] = await db.query<{ key: string[] }>({
    text: `/* dbops:rows-batch.window-end */
      select array[${names.map((name) => `${name}::text`).join(', ')}] as key
        from only ${relation(table)} as t
       where ${rangeSql(keys, stretch, bind)}
       order by ${names.join(', ')} offset ${String(size - 1)} limit 1`,
    values,
  });
  return row?.key ?? stretch.upto;
}

/** The greatest key of a table; undefined when it has no rows. Privilege: SELECT. Locks: ACCESS SHARE. */
export async function findLastKey(
  db: Db,
  table: RelationName,
  keys: KeyColumn[],
): Promise<string[] | undefined> {
  const names = keys.map((key) => `t.${ident(key.name)}`);
  const [row] = await db.query<{ key: string[] }>({
    text: `/* dbops:rows-batch.last-key */
      select array[${names.map((name) => `${name}::text`).join(', ')}] as key
        from only ${relation(table)} as t
       order by ${names.map((name) => `${name} desc`).join(', ')} limit 1`,
  });
  return row?.key;
}
