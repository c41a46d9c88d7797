import { nearest } from '../../../config/nearest.ts';
import { splitTable } from '../../../config/settings.ts';
import { DbopsError } from '../../../errors.ts';
import { displayName, ident, relation, visible, type RelationName } from '../../../sql/quote.ts';
import { listRelationsNamed } from '../../../sql/relations.ts';
import { findSchema } from '../../../sql/restore.ts';
import { getRestoreServer, listDatabases, type RestoreServerRow } from '../../../sql/restore-database.ts';
import type { LogicalPart } from '../../manifest.ts';
import type { DumpBackup } from '../database/dump.ts';
import { findPrograms, refuseOlderServer } from '../database/plan.ts';
import { choosePgDump } from '../database/programs.ts';
import { listAbandoned, newWorking, type Working } from '../database/working.ts';
import type { AnyBackup, TableContext, TablePrograms } from './context.ts';
import { listAbandonedSchemas, workSchema } from './schema.ts';

export interface TableWish {
  /** schema.table, as typed. */
  table: string;
  into: string;
  /** It is one partition, to be attached again. */
  isPartition: boolean;
  /** Makes what can be made, and tells what could not. */
  partial: boolean;
}

export interface TablePlan {
  backup: DumpBackup;
  wish: TableWish;
  table: RelationName;
  target: RelationName;
  programs: TablePrograms;
  server: RestoreServerRow;
  working: Working;
  steps: string[];
  warnings: string[];
}

export type DumpedTable = LogicalPart['tables'][number];

/**
 * Looks at the backup and at the database, and says what would be done. Nothing is written. Throws refused, usage,
 * table_not_found, privilege_missing, unsupported_version, tool_failed.
 */
export async function planTable(
  context: TableContext,
  found: AnyBackup,
  wish: TableWish,
): Promise<TablePlan> {
  const table = splitTable(wish.table);
  const target = intoOf(wish.into);
  const backup = dumpWithRows(found, table, target);
  refuseUnknown(backup, table);
  const serverMajor = refuseOlderServer(context, backup);
  const programs = {
    ...(await findPrograms(context, backup, serverMajor)),
    pgDump: choosePgDump(await context.findTools(['pg_dump']), serverMajor),
  };
  await refuseTaken(context, target);
  const server = await getRestoreServer(context.db);
  if (!server.mayCreateDatabases) throw mayNotCreate(context.db.server.user);
  const working = newWorking('scratch');
  const plan = { backup, wish, table, target, programs, server, working, warnings: programs.warnings };
  const abandoned = {
    databases: await listAbandoned(context.db, await listDatabases(context.db)),
    schemas: await listAbandonedSchemas(context.target),
  };
  return { ...plan, steps: describe(plan, abandoned, context.target.server.database, context.jobs) };
}

function intoOf(into: string): RelationName {
  const target = splitTable(into);
  if (/[\r\n\\]/.test(relation(target))) {
    throw new DbopsError('usage', `${displayName(target)} has a line break or a backslash in its name`, {
      hint: 'Restore it under another name and rename it.',
    });
  }
  return target;
}

/** Throws refused for a backup without the rows of tables, with the commands that get them from it. */
function dumpWithRows(found: AnyBackup, table: RelationName, target: RelationName): DumpBackup {
  const { manifest, id } = found;
  const { logical, kind, database } = manifest;
  if (logical !== null && logical.format !== 'plain') return { ...found, manifest: { ...manifest, logical } };
  if (logical !== null) {
    throw new DbopsError('refused', `backup ${id} is of kind "${kind}" and holds no rows`, {
      hint: `Look for one with rows in "dbops backup list"; "dbops restore database ${id} --into <name>" makes its tables empty.`,
    });
  }
  const url = `postgresql://localhost:5499/${database ?? '<database>'}`;
  throw new DbopsError(
    'refused',
    `backup ${id} is of kind "${kind}": it holds a cluster, and no single table`,
    {
      hint: [
        'Recover the cluster beside, then bring the table over, with these commands.',
        `dbops restore pitr ${id} --to immediate --data-dir <directory> --port 5499 --start --yes`,
        `dbops backup create --kind table --table ${displayName(table)} --url ${url}`,
        `dbops restore table <id of that backup> --table ${displayName(table)} --into ${displayName(target)}`,
      ].join('\n'),
    },
  );
}

function refuseUnknown(backup: DumpBackup, table: RelationName): void {
  const { tables } = backup.manifest.logical;
  const found = tables.find((item) => item.schema === table.schema && item.name === table.name);
  if (found === undefined) {
    const guess = nearest(displayName(table), tables.map(displayName));
    throw new DbopsError('table_not_found', `backup ${backup.id} has no table ${displayName(table)}`, {
      hint:
        guess === undefined
          ? `"dbops restore database ${backup.id} --list" says what is in it.`
          : `Is ${guess} meant?`,
    });
  }
  refuseExcluded(backup, found);
}

/** Throws refused for a table whose rows were left out of the backup. */
export function refuseExcluded(backup: DumpBackup, table: DumpedTable): void {
  if (!table.dataExcluded) return;
  const patterns = backup.manifest.logical.excludedData.map(visible).join(', ');
  throw new DbopsError('refused', `the rows of ${displayName(table)} were left out of backup ${backup.id}`, {
    detail: patterns === '' ? undefined : `data that was excluded: ${patterns}`,
    hint: 'Look for another backup with "dbops backup list".',
  });
}

async function refuseTaken(context: TableContext, target: RelationName): Promise<void> {
  const [taken] = await listRelationsNamed(context.target, [target]);
  if (taken !== undefined) {
    throw new DbopsError('refused', `${displayName(target)} is there already`, {
      hint: 'Nothing is ever restored over a table: give another name with --into.',
    });
  }
  const schema = await findSchema(context.target, target.schema);
  if (schema?.mayCreate !== false) return;
  const { user } = context.target.server;
  throw new DbopsError(
    'privilege_missing',
    `role "${user}" may not create tables in schema "${visible(target.schema)}"`,
    { hint: `GRANT CREATE ON SCHEMA ${ident(target.schema)} TO ${ident(user)};` },
  );
}

function mayNotCreate(user: string): DbopsError {
  return new DbopsError('privilege_missing', `role "${user}" may not create databases`, {
    hint: `ALTER ROLE ${ident(user)} CREATEDB; the definition of the table is read in a database that is dropped again.`,
  });
}

function describe(
  plan: Omit<TablePlan, 'steps'>,
  abandoned: { databases: string[]; schemas: string[] },
  database: string,
  jobs: number,
): string[] {
  const { backup, table, target, working, programs } = plan;
  const side = workSchema(working);
  const { kind, logical } = backup.manifest;
  const path = logical.format === 'custom' ? 'dump.custom' : 'dump';
  return [
    `-- restore ${displayName(table)} of backup ${backup.id} from ${backup.stores.map((store) => store.name).join(', ')}`,
    ...abandoned.databases.map((name) => `drop database ${ident(name)};  -- left by an interrupted restore`),
    ...abandoned.schemas.map(
      (name) => `drop schema ${ident(name)} cascade;  -- left by an interrupted restore`,
    ),
    `create database ${working.name} template template0;  -- dropped at the end: the definitions are read there`,
    ...(kind === 'logical' ? [] : [`psql -X -f requirements.sql -d ${working.name}`]),
    `${programs.pgRestore} -s -L <the table and what it needs> -d ${working.name} ${path}`,
    `${programs.pgDump} -Fc -s -n ${side} -f definition ${working.name}`,
    '-- types, functions and extensions that the table needs, where they are missing',
    `${programs.pgRestore} --section=pre-data -d ${visible(database)} definition  -- makes schema ${side}`,
    `${programs.pgRestore} -a -L <rows> -f - ${path} | ${programs.psql}  -- ${String(jobs)} at a time`,
    '-- compare rows and hashes with the backup',
    `${programs.pgRestore} --section=post-data -j ${String(jobs)} definition`,
    '-- foreign keys: not valid first, then validated',
    `analyze ${relation({ schema: side, name: target.name })};`,
    'begin;',
    `alter table ${relation({ schema: side, name: target.name })} set schema ${ident(target.schema)};  -- and its partitions`,
    `drop schema ${side};`,
    'commit;',
    `drop database ${working.name};`,
  ];
}
