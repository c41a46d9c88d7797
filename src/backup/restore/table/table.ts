import { renderTypes } from '../../../archive/definition/render-requirements.ts';
import { DbopsError } from '../../../errors.ts';
import { isConnectionLoss } from '../../../pg/sqlstate.ts';
import { withWorkDirectory } from '../../../process/work-directory.ts';
import { displayName, ident, relation, visible, type RelationName } from '../../../sql/quote.ts';
import { analyzeRestored } from '../../../sql/restore.ts';
import { hasRelation, showRun } from '../../../sql/restore-database.ts';
import { setSequence } from '../../../sql/restore-table.ts';
import type { LogicalPart } from '../../manifest.ts';
import { checkRestored } from '../database/check.ts';
import { fetchDump, runRestoreTool, tocName, type Dump } from '../database/dump.ts';
import { loadDump } from '../database/load.ts';
import { fetchContext } from '../database/plan.ts';
import { dropAbandoned, dropWorking } from '../database/working.ts';
import { contentsOf, entriesWithNeeds, type TableContents } from './contents.ts';
import type { TableContext } from './context.ts';
import { readDefinition, type Definition } from './definition.ts';
import { makeForeignKeys, readForeignKeys, type ForeignKey } from './foreign-keys.ts';
import { nextCommands, readAttach, type Attach } from './next.ts';
import { refuseExcluded, type TablePlan } from './plan.ts';
import { loadRows } from './rows.ts';
import { dropAbandonedSchemas, dropWorkSchema, workSchema } from './schema.ts';

export interface TableResult {
  backup: string;
  table: string;
  /** What it is called in the database. */
  into: string;
  /** Names of the partitions that were made with it. */
  partitions: string[];
  rows: number;
  seconds: number;
  /** Commands that go on from here, as text. */
  next: string[];
  warnings: string[];
}

/** What is known of the table before anything is written to the database. */
interface Prepared {
  dump: Dump;
  definition: Definition;
  keys: ForeignKey[];
  attach: Attach | undefined;
  directory: string;
  warnings: string[];
}

/**
 * Restores a table with its partitions: made in a schema of its own, compared with the backup, and only then given its place,
 * in one transaction. What fails before that takes everything away again. Throws partly_done where --partial let
 * something be left out: the table is there then.
 */
export async function restoreTable(context: TableContext, plan: TablePlan): Promise<TableResult> {
  const started = performance.now();
  await showRun(context.db, plan.working.token);
  await dropAbandoned(context.db, context.log);
  await dropAbandonedSchemas(context);
  return await withWorkDirectory(context.workDirectory, 'restore', async (directory) => {
    const prepared = await prepare(context, plan, directory);
    const side = workSchema(plan.working);
    let result: TableResult;
    try {
      result = await make(context, plan, prepared);
    } catch (error) {
      const isLeft = context.signal.aborted || isConnectionLoss(error);
      if (!isLeft) await dropWorkSchema(context, side);
      throw error;
    }
    context.applied.changes += 1;
    context.log.info(
      { event: 'table_restored', backup: plan.backup.id, table: result.into, rows: result.rows },
      `restored ${result.into} from backup ${plan.backup.id}`,
    );
    if (prepared.definition.problems.length > 0) throw lacking(plan, prepared.definition.problems);
    return { ...result, seconds: (performance.now() - started) / 1000 };
  });
}

function lacking(plan: TablePlan, problems: string[]): DbopsError {
  return new DbopsError('partly_done', `${displayName(plan.target)} was restored, but not all of it`, {
    detail: problems.join('\n'),
    hint: 'Its rows are those of the backup. Make what is missing by hand, or drop the table and restore it once more.',
  });
}

/** Everything that is found out beside the database: nothing is written to it. */
async function prepare(context: TableContext, plan: TablePlan, directory: string): Promise<Prepared> {
  const { backup, programs } = plan;
  const fetching = fetchContext(context, programs);
  const isDirectory = backup.manifest.logical.format === 'directory';
  const dump = await fetchDump(fetching, backup, directory, (name) => name === tocName);
  const contents = await readContents(context, plan, dump);
  if (isDirectory) {
    const files = contents.members.flatMap(({ rows }) =>
      rows === undefined ? [] : [`dump/${String(rows.dumpId)}.dat.zst`],
    );
    await fetchDump(fetching, backup, directory, (name) => files.includes(name));
  }
  const attach = await readAttach(context, plan, { dump, contents, directory });
  const all = await readForeignKeys(context, plan, { dump, entries: contents.foreignKeys, directory });
  const isOwn = (key: ForeignKey) => contents.members.some(({ name }) => isSame(name, key.table));
  const others = all.filter((key) => !isOwn(key));
  try {
    const definition = await readDefinition(context, plan, { dump, contents, directory });
    return {
      ...{ dump, definition, attach, directory },
      keys: all.filter(isOwn),
      warnings: [...definition.warnings, ...dependents(plan, contents, others)],
    };
  } finally {
    if (!context.signal.aborted) await dropWorking(context.db, context.log, plan.working.name);
  }
}

async function readContents(context: TableContext, plan: TablePlan, dump: Dump): Promise<TableContents> {
  const { backup, table, programs, wish } = plan;
  const { tables } = backup.manifest.logical;
  const list = await runRestoreTool(fetchContext(context, programs), ['-l', '-v', dump.path]);
  const contents = contentsOf(entriesWithNeeds(list), tables, table);
  if (contents === undefined) {
    throw new DbopsError('refused', `${displayName(table)} is no table in the dump of backup ${backup.id}`, {
      hint: `"dbops restore database ${backup.id} --list" says what is in it; foreign tables have no rows there.`,
    });
  }
  if (wish.isPartition && contents.attach === undefined) {
    throw new DbopsError('usage', `${displayName(table)} is not a partition in backup ${backup.id}`, {
      hint: 'Restore it with "dbops restore table".',
    });
  }
  for (const member of contents.members) {
    const known = tables.find((item) => isSame(item, member.name));
    if (known !== undefined) refuseExcluded(backup, known);
  }
  return contents;
}

/** What a DROP TABLE ... CASCADE took away with the table, where it is restored under its own name. */
function dependents(plan: TablePlan, contents: TableContents, keys: ForeignKey[]): string[] {
  if (!isSame(plan.table, plan.target)) return [];
  const names = [
    // Without the owner, which stands last.
    ...contents.dependents.map((entry) => entry.rest.replace(/ \S+$/, '').toLowerCase()),
    ...keys.map((key) => `foreign key ${key.name} of ${displayName(key.table)}`),
  ];
  if (names.length === 0) return [];
  return [`in the backup these depend on it, and are not restored with it: ${names.map(visible).join(', ')}`];
}

function isSame(one: RelationName, other: RelationName): boolean {
  return one.schema === other.schema && one.name === other.name;
}

async function make(context: TableContext, plan: TablePlan, prepared: Prepared): Promise<TableResult> {
  const { dump, definition, directory, keys } = prepared;
  const { backup, target } = plan;
  const side = workSchema(plan.working);
  await makeNeeds(context, plan, definition);
  await loadSection(context, plan, definition, 'pre-data');
  await loadRows(context, plan, dump, definition.tables, directory);
  await setSequences(context, plan, definition);
  const rows = await compare(context, plan, definition);
  await loadSection(context, plan, definition, 'post-data');
  const warnings = [...prepared.warnings, ...(await makeForeignKeys(context, plan, keys, definition.tables))];
  await analyzeRestored(context.target, relation({ schema: side, name: target.name }));
  await publish(context, plan, definition);
  return {
    backup: backup.id,
    table: displayName(plan.table),
    into: displayName(target),
    partitions: definition.tables.slice(1).map((item) => displayName({ ...target, name: item.target })),
    rows,
    seconds: 0,
    next: nextCommands(plan, definition, {
      attach: prepared.attach,
      hasOriginal: !isSame(plan.table, target) && (await hasRelation(context.target, plan.table)),
    }),
    warnings: [...plan.warnings, ...warnings],
  };
}

/** Types, functions, extensions and sequences of others that are missing. What is there and the same is kept. */
async function makeNeeds(context: TableContext, plan: TablePlan, definition: Definition): Promise<void> {
  const { target } = context;
  const known = plan.backup.manifest.logical.sequences;
  const missing: LogicalPart['sequences'] = [];
  for (const item of definition.requirements.filter((need) => need.kind === 'sequence')) {
    const state = known.find((sequence) => relation(sequence) === item.name);
    if (state !== undefined && !(await hasRelation(target, state))) missing.push(state);
  }
  await target.executeTransaction(renderTypes(definition));
  for (const sequence of missing) await setState(context, sequence, sequence);
}

async function loadSection(
  context: TableContext,
  plan: TablePlan,
  definition: Definition,
  section: 'pre-data' | 'post-data',
): Promise<void> {
  const { programs, server, wish, target } = plan;
  const { database } = context.target.server;
  const { maintenanceMemoryBytes } = server;
  const errors = await loadDump(context, definition.dump, { database, programs, maintenanceMemoryBytes }, [
    `--section=${section}`,
  ]);
  if (errors.count === 0) return;
  if (wish.partial) {
    definition.problems.push(errors.describe());
    return;
  }
  throw new DbopsError(
    'sql_failed',
    `the server refused ${String(errors.count)} statements that make ${displayName(target)}, and nothing of it is left`,
    {
      detail: errors.describe(),
      hint: 'Mend the cause and restore once more, or go on without these by --partial.',
    },
  );
}

async function setSequences(context: TableContext, plan: TablePlan, definition: Definition): Promise<void> {
  const { sequences } = plan.backup.manifest.logical;
  for (const { source, target } of definition.sequences) {
    const state = sequences.find((item) => isSame(item, source));
    if (state !== undefined) {
      await setState(context, { schema: workSchema(plan.working), name: target }, state);
    }
  }
}

async function setState(
  context: TableContext,
  name: RelationName,
  state: LogicalPart['sequences'][number],
): Promise<void> {
  const { lastValue, isCalled } = state;
  if (lastValue !== null && isCalled !== null)
    await setSequence(context.target, name, { lastValue, isCalled });
}

/** Returns the rows. Throws copy_damaged where they are not those that the dump's own snapshot had. */
async function compare(context: TableContext, plan: TablePlan, definition: Definition): Promise<number> {
  const { logical } = plan.backup.manifest;
  const schema = workSchema(plan.working);
  const renamed = {
    ...logical,
    // Large objects are no part of a table.
    format: 'plain' as const,
    tables: definition.tables.flatMap(({ member, target }) => {
      const known = logical.tables.find((item) => isSame(item, member.name));
      return known === undefined ? [] : [{ ...known, schema, name: target }];
    }),
    sequences: definition.sequences.flatMap(({ source, target }) => {
      const known = logical.sequences.find((item) => isSame(item, source));
      return known === undefined ? [] : [{ ...known, schema, name: target }];
    }),
  };
  const checked = await checkRestored(context, context.target.server.database, renamed, 'hash');
  if (checked.differences.length === 0) return checked.rows;
  const { target, backup } = plan;
  throw new DbopsError(
    'copy_damaged',
    `what was restored as ${displayName(target)} is not what backup ${backup.id} recorded, and nothing of it is left`,
    {
      detail: checked.differences
        .map((item) => item.text.replaceAll(`${schema}.`, `${visible(target.schema)}.`))
        .join('\n'),
      hint: `Look for another backup with "dbops backup list"; "dbops backup verify ${backup.id}" reads this one.`,
    },
  );
}

/** From here on others see it. Nobody else uses the tables: no lock is waited for. */
async function publish(context: TableContext, plan: TablePlan, definition: Definition): Promise<void> {
  const schema = workSchema(plan.working);
  const place = ident(plan.target.schema);
  await context.target.executeTransaction([
    `create schema if not exists ${place}`,
    ...definition.tables.map(
      (item) => `alter table ${relation({ schema, name: item.target })} set schema ${place}`,
    ),
    ...definition.statistics.map(
      (name) => `alter statistics ${relation({ schema, name })} set schema ${place}`,
    ),
    `drop schema ${schema}`,
  ]);
}
