import { DbopsError } from '../../errors.ts';
import type { Db } from '../../pg/connection.ts';
import { findDefinitionTable, listDefinitionColumns } from '../../sql/definition.ts';
import {
  listDefinitionConstraints,
  listDefinitionIndexes,
  listDefinitionStatistics,
  type DefinitionIndexRow,
} from '../../sql/definition-constraints.ts';
import type { IndexDefinition, TableDefinition } from './definition.ts';
import { loadRequirements } from './requirements.ts';

/**
 * Reads the whole definition of a table, as it is for this session's snapshot. Throws object_changed when the table is
 * gone. Privilege: none. Locks: ACCESS SHARE for an instant.
 */
export async function loadDefinition(db: Db, oid: number): Promise<TableDefinition> {
  const table = await findDefinitionTable(db, oid);
  if (table === undefined) {
    throw new DbopsError('object_changed', `the table with oid ${String(oid)} is gone`, {
      hint: 'Somebody dropped it meanwhile; run the command again.',
    });
  }
  const columns = await listDefinitionColumns(db, oid);
  const constraints = await listDefinitionConstraints(db, oid);
  const indexes = await listDefinitionIndexes(db, oid);
  const statistics = await listDefinitionStatistics(db, oid);
  const { requirements, notes } = await loadRequirements(db, oid);
  const { schema, name, replicaIdentity, replicaIndex, ...facts } = table;
  return {
    ...facts,
    name: { schema, name },
    versionNum: db.server.versionNum,
    replicaIdentity: { kind: replicaIdentity, index: replicaIndex },
    columns,
    constraints: constraints.flatMap(({ kind, ...item }) =>
      kind === 'foreign key' ? [] : [{ ...item, kind }],
    ),
    foreignKeys: constraints
      .filter((item) => item.kind === 'foreign key')
      .map((item) => ({ name: item.name, definition: item.definition })),
    indexes: indexes.flatMap(usableIndex),
    statistics,
    requirements,
    notes: [...notes, ...indexes.flatMap(indexNote)],
  };
}

function usableIndex(row: DefinitionIndexRow): IndexDefinition[] {
  const { isValid, definition, ...index } = row;
  return isValid && definition !== null ? [{ ...index, definition }] : [];
}

function indexNote(row: DefinitionIndexRow): string[] {
  if (!row.isValid) return [`index ${row.name} was invalid and is left out`];
  return row.definition === null ? [`index ${row.name} could not be read and is left out`] : [];
}
