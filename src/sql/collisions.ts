import type { Db } from '../pg/connection.ts';
import { inRange, type Move } from './drain.ts';
import { ident, relation } from './quote.ts';

/** A key that a row of both tables has, as people read it: (id, at) = (1, 2026-01-05 00:00:00+00). */
export interface CollisionRow {
  index: string;
  key: string;
}

/**
 * Rows of the range in the source whose unique key a row of the target has already: at most `limit` for each unique index
 * of the target. Leaves out indexes with expressions or a condition, and those over types from extensions, whose
 * operators are not found without a search_path: the server itself refuses such rows when they are moved. Privilege:
 * SELECT. Locks: ACCESS SHARE.
 */
export async function listCollisions(db: Db, move: Move, limit: number): Promise<CollisionRow[]> {
  const indexes = await db.query<{ name: string; columns: string[] }>({
    text: `/* dbops:drain.unique-indexes */
      select x.relname as name,
             (select pg_catalog.array_agg(a.attname::text order by k.place)
                from pg_catalog.unnest(i.indkey::int2[]) with ordinality as k(number, place)
                join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.number
               where k.place <= i.indnkeyatts) as columns
        from pg_catalog.pg_index as i
        join pg_catalog.pg_class as x on x.oid = i.indexrelid
       where i.indrelid = pg_catalog.to_regclass($1) and i.indisunique and i.indisvalid and i.indpred is null
         and not exists (select from pg_catalog.unnest(i.indkey::int2[]) with ordinality as k(number, place)
                           left join pg_catalog.pg_attribute as a
                             on a.attrelid = i.indrelid and a.attnum = k.number
                           left join pg_catalog.pg_type as t on t.oid = a.atttypid
                          where k.place <= i.indnkeyatts
                            and (k.number = 0 or t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace))
       order by x.relname`,
    values: [relation(move.target)],
  });
  const found: CollisionRow[] = [];
  for (const { name, columns } of indexes) {
    const equal = columns.map((column) => `t.${ident(column)} = s.${ident(column)}`).join(' and ');
    const values = columns.map((column) => `s.${ident(column)}::text`).join(', ');
    const rows = await db.query<{ key: string }>({
      text: `/* dbops:drain.collisions */
        select pg_catalog.concat('(', pg_catalog.concat_ws(', ', ${values}), ')') as key
          from only ${relation(move.source)} as s
         where ${inRange(move)} and exists (select from only ${relation(move.target)} as t where ${equal})
         order by s.${ident(move.key)} limit ${String(limit)}`,
    });
    found.push(...rows.map((row) => ({ index: name, key: `(${columns.join(', ')}) = ${row.key}` })));
  }
  return found;
}
