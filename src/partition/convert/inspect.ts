import { DbopsError } from '../../errors.ts';
import {
  findConvertTable,
  listConvertColumns,
  listConvertConstraints,
  listConvertIndexes,
  listConvertPublications,
  listConvertStatistics,
  listConvertTriggers,
  listIncomingKeys,
  type ConvertColumnRow,
  type ConvertConstraintRow,
  type ConvertIndexRow,
  type ConvertPublicationRow,
  type ConvertStatisticsRow,
  type ConvertTableRow,
  type ConvertTriggerRow,
  type IncomingKeyRow,
} from '../../sql/convert.ts';
import {
  listDependentObjects,
  listDependentViews,
  type DependentObjectRow,
  type DependentViewRow,
} from '../../sql/convert-dependents.ts';
import { listRowSecured, listSubscriptions } from '../../sql/convert-hazards.ts';
import type { Db } from '../../pg/connection.ts';
import { listParents, type ParentRow } from '../../sql/parents.ts';
import { displayName, type RelationName } from '../../sql/quote.ts';

/** Everything about a table that a convert, or its undo, has to carry over or to refuse. */
export interface TableFacts {
  table: ConvertTableRow;
  /** Owner, grants, policies, replica identity, storage parameters. */
  parent: ParentRow;
  columns: ConvertColumnRow[];
  indexes: ConvertIndexRow[];
  constraints: ConvertConstraintRow[];
  incoming: IncomingKeyRow[];
  triggers: ConvertTriggerRow[];
  statistics: ConvertStatisticsRow[];
  publications: ConvertPublicationRow[];
  views: DependentViewRow[];
  dependents: DependentObjectRow[];
  /** Its policies hide rows from this role. */
  isRowSecured: boolean;
  /** Subscriptions that feed it. */
  subscriptions: string[];
}

/** The table of that name. Throws table_not_found, or not_partitioned's opposite as refused for what is no table. */
export async function getConvertTable(db: Db, name: RelationName): Promise<ConvertTableRow> {
  const table = await findConvertTable(db, name.schema, name.name);
  const label = displayName(name);
  if (table === undefined) {
    throw new DbopsError(
      'table_not_found',
      `table ${label} does not exist in database "${db.server.database}"`,
      { hint: 'Check the schema, the name and the case of its letters.' },
    );
  }
  if (table.kind !== 'r' && table.kind !== 'p') {
    throw new DbopsError('refused', `${label} is not a table`, {
      hint: 'Only plain tables can be converted; this is a view, a sequence, an index or a foreign table.',
    });
  }
  return table;
}

/** Reads the facts of one table: a dozen statements, no lock but ACCESS SHARE for an instant. */
export async function inspectTable(db: Db, table: ConvertTableRow): Promise<TableFacts> {
  const { oid } = table;
  const [parent] = await listParents(db, [{ oid, leafOid: oid }]);
  if (parent === undefined) {
    throw new DbopsError('object_changed', `table ${displayName(table)} vanished`, {
      hint: 'Run the command again.',
    });
  }
  return {
    table,
    parent,
    columns: await listConvertColumns(db, oid),
    indexes: await listConvertIndexes(db, oid),
    constraints: await listConvertConstraints(db, oid),
    incoming: await listIncomingKeys(db, oid),
    triggers: await listConvertTriggers(db, oid),
    statistics: await listConvertStatistics(db, oid),
    publications: await listConvertPublications(db, oid),
    views: await listDependentViews(db, oid),
    dependents: await listDependentObjects(db, oid),
    isRowSecured: (await listRowSecured(db, [oid])).length > 0,
    subscriptions: await listSubscriptions(db, oid),
  };
}
