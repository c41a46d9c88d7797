import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { objectName } from '../../../archive/definition/names.ts';
import type { Requirement } from '../../../archive/definition/definition.ts';
import { loadRequirements } from '../../../archive/definition/requirements.ts';
import { refuseOtherTypes } from '../../../archive/restore/plan.ts';
import { DbopsError } from '../../../errors.ts';
import type { Db } from '../../../pg/connection.ts';
import { runPipeline } from '../../../process/pipeline.ts';
import { displayName, ident, literal, relation, visible, type RelationName } from '../../../sql/quote.ts';
import { listDefinitionColumns, type DefinitionColumnRow } from '../../../sql/definition.ts';
import { listRelationsNamed } from '../../../sql/relations.ts';
import { listForeignParents, listTreeRelations, type TreeRelationRow } from '../../../sql/restore-table.ts';
import { withPlain } from '../../fetch.ts';
import { readDatabaseStatements, withoutTablespace, type Dump } from '../database/dump.ts';
import { connectionString } from '../database/connection.ts';
import { loadDump, loadScript } from '../database/load.ts';
import { fetchContext } from '../database/plan.ts';
import { markStatement, markText } from '../database/working.ts';
import type { Member, TableContents } from './contents.ts';
import type { TableContext } from './context.ts';
import type { TablePlan } from './plan.ts';
import { workSchema } from './schema.ts';

/** A table of the dump with the name that it gets. */
export interface RestoredTable {
  member: Member;
  target: string;
}

/** What makes the tables in the work schema of the target database. */
export interface Definition {
  /** An archive of pg_dump with the work schema alone. */
  dump: Dump;
  /** The one that was asked for first. */
  tables: RestoredTable[];
  /** Of the table that was asked for. */
  columns: DefinitionColumnRow[];
  /** Sequences of the tables: as they are called in the backup, and what they are called now. */
  sequences: { source: RelationName; target: string }[];
  statistics: string[];
  requirements: Requirement[];
  /** What could not be made, one or more lines each. */
  problems: string[];
  warnings: string[];
}

const requirementsName = 'requirements.sql.zst';

/**
 * Makes the tables, empty, in a database of their own; moves them into the work schema there under the names that they
 * will have, and dumps that schema: pg_dump says all of a table that there is to say. The caller drops the database.
 * Throws refused, with nothing changed in the target.
 */
export async function readDefinition(
  context: TableContext,
  plan: TablePlan,
  from: { dump: Dump; contents: TableContents; directory: string },
): Promise<Definition> {
  const { dump, contents, directory } = from;
  await makeScratch(context, plan, dump);
  const problems = await loadDefinitions(context, plan, from);
  if (problems.length > 0 && !plan.wish.partial) {
    throw new DbopsError(
      'refused',
      `the definition of ${displayName(plan.table)} cannot be made here as it was`,
      {
        detail: problems.join('\n'),
        hint: 'Make what is missing first (roles, extensions), or go on without it by --partial.',
      },
    );
  }
  const db = await context.openDatabase(plan.working.name);
  try {
    const moved = await moveToWorkSchema(context, plan, db, contents);
    const path = join(directory, 'definition.dump');
    await runPipeline(
      [
        {
          path: plan.programs.pgDump,
          args: [
            '-Fc',
            '-s',
            '-w',
            '-n',
            workSchema(plan.working),
            '-f',
            path,
            connectionString(plan.working.name),
          ],
        },
      ],
      { env: context.connectionTo(plan.working.name), signal: context.signal },
    );
    return { ...moved, dump: { format: 'custom', path }, problems };
  } finally {
    await db.close();
  }
}

async function makeScratch(context: TableContext, plan: TablePlan, dump: Dump): Promise<void> {
  const { working, backup, programs } = plan;
  const { logical } = backup.manifest;
  const fetching = fetchContext(context, programs);
  const { create } = await readDatabaseStatements(fetching, dump, logical, ident(working.name));
  await context.db.execute(withoutTablespace(create, []));
  await context.db.execute(markStatement(working, backup.id, `definition of "${displayName(plan.table)}"`));
}

/** Returns what the server refused. */
async function loadDefinitions(
  context: TableContext,
  plan: TablePlan,
  from: { dump: Dump; contents: TableContents; directory: string },
): Promise<string[]> {
  const { dump, contents, directory } = from;
  const { programs, backup, server } = plan;
  const target = {
    database: plan.working.name,
    programs,
    maintenanceMemoryBytes: server.maintenanceMemoryBytes,
  };
  const problems: string[] = [];
  if (backup.manifest.files.some((file) => file.name === requirementsName)) {
    const script = join(directory, 'requirements.sql');
    await writeFile(script, await withPlain(fetchContext(context, programs), backup, requirementsName, text));
    const errors = await loadScript(context, script, target);
    if (errors.count > 0) problems.push(errors.describe());
  }
  const list = join(directory, 'definition.list');
  await writeFile(list, contents.definitions.map((entry) => `${entry.line}\n`).join(''));
  const errors = await loadDump(context, dump, target, ['-s', '-L', list]);
  if (errors.count > 0) problems.push(errors.describe());
  return problems;
}

async function moveToWorkSchema(
  context: TableContext,
  plan: TablePlan,
  db: Db,
  contents: TableContents,
): Promise<Omit<Definition, 'dump' | 'problems'>> {
  const side = workSchema(plan.working);
  const oids = await oidsOf(db, contents.members);
  const parents = await listForeignParents(db, oids);
  const tables = await targetNames(context, plan, contents.members);
  const parts = (await listTreeRelations(db, oids)).map((part) => {
    const own = tables[oids.indexOf(part.tableOid)];
    if (own === undefined) throw new Error('a part of a table without its table');
    return { ...part, target: objectName({ name: own.member.name }, inTarget(plan, own.target), part.name) };
  });
  await refuseTakenNames(context, plan, tables, parts);
  await db.executeTransaction([
    `create schema ${side}`,
    // Foreign keys are looked up as the owners of the tables.
    `grant usage on schema ${side} to public`,
    `comment on schema ${side} is ${literal(markText(plan.working, plan.backup.id, `into ${displayName(plan.target)}`))}`,
    ...parents.map(({ child, parent }) => `alter table ${child} no inherit ${parent}`),
    ...parts.flatMap((part) => partMoved(part, side)),
    ...tables.flatMap(({ member, target }) => tableMoved(member.name, target, side)),
  ]);
  const requirements = await needsOf(db, oids, side);
  await refuseOtherTypes(context.target, requirements);
  const of = (kind: string) => parts.filter((part) => part.kind === kind);
  const [root] = oids;
  return {
    tables,
    sequences: of('S').map(({ schema, name, target }) => ({ source: { schema, name }, target })),
    statistics: of('s').map((part) => part.target),
    requirements,
    columns: root === undefined ? [] : await listDefinitionColumns(db, root),
    warnings: parents.map(
      ({ child, parent }) => `${visible(child)} inherited from ${visible(parent)}, and does not any more`,
    ),
  };
}

type Part = TreeRelationRow & { target: string };

function inTarget(plan: TablePlan, name: string): RelationName {
  return { schema: plan.target.schema, name };
}

async function oidsOf(db: Db, members: Member[]): Promise<number[]> {
  const rows = await listRelationsNamed(
    db,
    members.map((member) => member.name),
  );
  return members.map(({ name }) => {
    const row = rows.find((item) => item.schema === name.schema && item.name === name.name);
    if (row !== undefined) return row.oid;
    throw new DbopsError('refused', `${displayName(name)} of the backup cannot be made here`, {
      hint: 'What the server refused stands above; "dbops restore database" restores all of the backup beside.',
    });
  });
}

/** Partitions keep their names, unless somebody has them: then they are named after the table. */
async function targetNames(
  context: TableContext,
  plan: TablePlan,
  members: Member[],
): Promise<RestoredTable[]> {
  const [root] = members;
  const taken = await listRelationsNamed(
    context.target,
    members.map((member) => inTarget(plan, member.name.name)),
  );
  const used = new Set([...taken.map((row) => row.name), plan.target.name]);
  return members.map((member) => {
    if (root === undefined || member === root) return { member, target: plan.target.name };
    const own = member.name.name;
    const target = used.has(own) ? objectName({ name: root.name }, plan.target, own) : own;
    used.add(target);
    return { member, target };
  });
}

/** Nothing is written yet. */
async function refuseTakenNames(
  context: TableContext,
  plan: TablePlan,
  tables: RestoredTable[],
  parts: Part[],
): Promise<void> {
  const names = [...tables, ...parts].map((item) => item.target);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  const [taken] = await listRelationsNamed(
    context.target,
    names.map((name) => inTarget(plan, name)),
  );
  const other = twice === undefined ? taken : inTarget(plan, twice);
  if (other === undefined) return;
  throw new DbopsError('refused', `${displayName(other)} is there already, or would be made twice`, {
    hint: 'A partition, an index or a sequence of the table would have this name: restore into another schema.',
  });
}

function partMoved(part: Part, side: string): string[] {
  const { kind, name, target, schema } = part;
  const what = kind === 'S' ? 'sequence' : kind === 's' ? 'statistics' : 'index';
  return [
    ...(name === target ? [] : [`alter ${what} ${relation(part)} rename to ${ident(target)}`]),
    // Indexes and sequences of columns go with their table.
    ...(kind === 's' ? [`alter statistics ${relation({ schema, name: target })} set schema ${side}`] : []),
  ];
}

function tableMoved(name: RelationName, target: string, side: string): string[] {
  return [
    `alter table ${relation(name)} set schema ${side}`,
    ...(name.name === target
      ? []
      : [`alter table ${relation({ schema: side, name: name.name })} rename to ${ident(target)}`]),
  ];
}

/** What the target has to have; what is in the work schema is made with the tables. */
async function needsOf(db: Db, oids: number[], side: string): Promise<Requirement[]> {
  const needed = new Map<string, Requirement>();
  for (const oid of oids) {
    const { requirements } = await loadRequirements(db, oid, { withTriggers: true });
    for (const item of requirements) {
      const isOwn = item.name === side || item.name.startsWith(`${side}.`);
      if (!isOwn && !needed.has(`${item.kind} ${item.name}`)) needed.set(`${item.kind} ${item.name}`, item);
    }
  }
  const rank = (item: Requirement) => (item.kind === 'schema' ? 0 : item.kind === 'extension' ? 1 : 2);
  return [...needed.values()].sort((one, other) => rank(one) - rank(other));
}
