import type { Db } from '../../pg/connection.ts';
import { listMarkedConstraints } from '../../sql/relations.ts';
import { begunPrefix, parseBegun } from './marker.ts';

/** A convert that was begun and not finished: rows at or past the cutover are refused until it is. */
export interface BegunConvert {
  tableOid: number;
  schema: string;
  table: string;
  constraint: string;
  key: string;
  cutover: string;
  /** Until the first inserts fail; negative when they do already. Null for ids, which have no clock. */
  hoursLeft: number | null;
}

/** Converts begun and not finished, in the whole database. One statement. Privilege: none. Locks: none. */
export async function findBegunConverts(db: Db, now: Date): Promise<BegunConvert[]> {
  const rows = await listMarkedConstraints(db, begunPrefix);
  return rows.map((row) => {
    const mark = parseBegun(row.comment);
    return {
      tableOid: row.tableOid,
      schema: row.schema,
      table: row.table,
      constraint: row.constraint,
      key: mark?.key ?? '',
      cutover: mark?.cutover ?? '',
      hoursLeft:
        mark?.at === undefined || mark.at === null
          ? null
          : (new Date(mark.at).getTime() - now.getTime()) / 3_600_000,
    };
  });
}
