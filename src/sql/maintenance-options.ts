import type { Db } from '../pg/connection.ts';
import { literal, relation, type RelationName } from './quote.ts';

/** The storage parameters of a table as they are. */
export interface OptionsRow {
  schema: string;
  name: string;
  /** relkind. */
  kind: string;
  /** By name; those of its TOAST table begin with "toast.". */
  parameters: Record<string, string>;
}

/** The storage parameters of these tables; those that are not there have no row. Privilege: none. Locks: none. */
export async function listOptions(db: Db, tables: RelationName[]): Promise<OptionsRow[]> {
  return await db.query<OptionsRow>({
    text: `/* dbops:maintenance-options.list */
      select n.nspname as schema, c.relname as name, c.relkind::text as kind,
             coalesce((select pg_catalog.json_object_agg(o.name, o.value)
                         from (select p.option_name as name, p.option_value as value
                                 from pg_catalog.pg_options_to_table(c.reloptions) as p
                                union all
                               select 'toast.' || p.option_name, p.option_value
                                 from pg_catalog.pg_options_to_table(t.reloptions) as p) as o), '{}') as parameters
        from unnest($1::text[], $2::text[]) as w(schema, name)
        join pg_catalog.pg_namespace as n on n.nspname = w.schema
        join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.name
        left join pg_catalog.pg_class as t on t.oid = c.reltoastrelid and c.reltoastrelid <> 0`,
    values: [tables.map((table) => table.schema), tables.map((table) => table.name)],
  });
}

/** Locks: SHARE UPDATE EXCLUSIVE, which readers and writers pass. */
export function setOptionsSql(table: RelationName, parameters: Record<string, string>): string {
  const list = Object.entries(parameters).map(([name, value]) => `${name} = ${literal(value).trim()}`);
  return `/* dbops:maintenance-options.set */ alter table ${relation(table)} set (${list.join(', ')})`;
}
