import { quietStep, transactionChange, type Change, type Step } from '../../plan/step.ts';
import { displayName, ident, literal, relation, visible, type RelationName } from '../../sql/quote.ts';
import type { FoundArchive } from '../catalogue.ts';
import type { TableDefinition } from '../definition/definition.ts';
import { renderAfterLoad } from '../definition/render-after-load.ts';
import { renderTypes } from '../definition/render-requirements.ts';
import { renderTable } from '../definition/render-table.ts';

/** The comment on a table that is being restored, with the archive's id; what a kill leaves is begun anew. */
export const restoringMarker = 'dbops:restoring';

/** What a restore does to the database, in its order. */
export interface RestoreChanges {
  prepare: Change;
  /** One a part, as psql would do it beside the parts; a run streams them from the store instead. */
  load: Change[];
  /** Independent of each other. */
  indexes: Change[];
  finish: Change;
  analyze: Change;
  /** The rows are proven: comments, owner, grants. */
  publish: Change;
  /** Where it is wished, as "partition attach" does it. */
  attach: Change[];
}

export interface RestoreFacts {
  makesSchema: boolean;
  /** An interrupted restore left its table. */
  remains: boolean;
  parent: RelationName | undefined;
}

/** Enough for sorting a part of a large index in memory; the server's own value is often meant for autovacuum. */
const maintenanceMemory = '256MB';

/** Statements of a restore. Nobody else uses the table before the end: waits for locks are not limited, nor is the time. */
export function restoreChanges(
  archive: FoundArchive,
  definition: TableDefinition,
  target: RelationName,
  facts: RestoreFacts,
): RestoreChanges {
  const label = displayName(target);
  const table = relation(target);
  const after = renderAfterLoad(definition, target);
  const own = { table: label, lockTimeoutMs: null, statementTimeoutMs: null } as const;
  const steps = (list: string[], why: string) => list.map((sql) => quietStep(sql, why));
  const memory = quietStep(`set local maintenance_work_mem = '${maintenanceMemory}'`, 'sorts more in memory');
  return {
    prepare: transactionChange({
      ...own,
      summary: `make ${label}, empty, from archive ${archive.id}`,
      event: 'restore_begun',
      fields: { archive: archive.id },
      steps: [
        ...(facts.remains
          ? [quietStep(`drop table ${table}`, 'what an interrupted restore left is begun anew')]
          : []),
        ...(facts.makesSchema
          ? [quietStep(`create schema ${ident(target.schema)}`, 'the table is wanted in it')]
          : []),
        ...steps(renderTypes(definition), 'what the table needs; what is there and the same is kept'),
        ...steps(renderTable(definition, target), 'columns and checks as they were archived'),
        quietStep(
          `comment on table ${table} is ${literal(`${restoringMarker} ${archive.id}`)}`,
          'marks it until its rows are proven',
        ),
      ],
    }),
    load: archive.manifest.parts.map((part) => ({
      ...own,
      summary: `load ${part.name}, ${String(part.rows)} rows`,
      kind: 'single',
      event: 'restore_part_loaded',
      steps: [...pinSteps(archive), loadStep(table, part.name)],
    })),
    indexes: after.indexes.map(({ name, statements }) =>
      transactionChange({
        ...own,
        summary: `build index ${visible(name)}`,
        event: 'restore_index_built',
        steps: [memory, ...steps(statements, 'built once, when the rows are there')],
      }),
    ),
    finish: transactionChange({
      ...own,
      summary: `add the constraints, statistics and comments of ${label}`,
      event: 'restore_constraints_added',
      steps: [memory, ...steps(after.statements, 'as they were archived')],
    }),
    analyze: {
      ...own,
      summary: `analyze ${label}`,
      kind: 'single',
      event: 'restore_analyzed',
      steps: [quietStep(`analyze ${table}`, 'the planner knows nothing of the table yet')],
    },
    publish: transactionChange({
      ...own,
      summary: `restored ${label} from archive ${archive.id}`,
      event: 'archive_restored',
      fields: { archive: archive.id, rows: archive.manifest.rows },
      steps: [
        quietStep(after.tableComment, 'its own comment takes the place of the mark'),
        ...steps(after.access, 'owner, grants and policies'),
      ],
    }),
    attach: facts.parent === undefined ? [] : [attachChange(archive, target, facts.parent)],
  };
}

function pinSteps(archive: FoundArchive): Step[] {
  return pinnedStatements(archive).map((sql) => quietStep(sql, 'as the rows were written'));
}

/** The session settings under which the rows were written, and under which they read the same. */
export function pinnedStatements(archive: FoundArchive): string[] {
  return Object.entries(archive.manifest.settings)
    .filter(([name]) => /^[a-z_]+$/i.test(name))
    .map(([name, value]) => `set ${name} = ${literal(value)}`);
}

function loadStep(table: string, part: string): Step {
  // The manifest came from a store: its names are not trusted in a shell.
  const name = /^[\w.-]+$/.test(part) ? part : 'part';
  return quietStep(
    `\\copy ${table} from program 'zstd -dc ${name}'`,
    'for a psql in the folder of the archive; a run reads the store, and commits when hash and count are right',
  );
}

function attachChange(archive: FoundArchive, target: RelationName, parent: RelationName): Change {
  return transactionChange({
    summary: `attach ${displayName(target)} to ${displayName(parent)}`,
    table: displayName(parent),
    event: 'partition_attached',
    steps: [
      {
        sql: `alter table ${relation(parent)} attach partition ${relation(target)} ${archive.manifest.bounds}`,
        locks: [{ table: relation(parent), mode: 'SHARE UPDATE EXCLUSIVE' }],
        why: 'as "dbops partition attach" does it: a CHECK of the bounds is validated first',
      },
    ],
  });
}
