import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DbopsError } from '../../../errors.ts';
import { isConnectionLoss } from '../../../pg/sqlstate.ts';
import { applyChanges } from '../../../plan/apply.ts';
import { transactionChange, type Change, type Step } from '../../../plan/step.ts';
import { displayName, ident, relation, type RelationName } from '../../../sql/quote.ts';
import { hasRelation } from '../../../sql/restore-database.ts';
import { runRestoreTool, type Dump } from '../database/dump.ts';
import { fetchContext } from '../database/plan.ts';
import { statementsIn, unquoted } from '../database/script.ts';
import type { NeedingEntry } from './contents.ts';
import type { TableContext } from './context.ts';
import type { RestoredTable } from './definition.ts';
import type { TablePlan } from './plan.ts';
import { optionsOf, workSchema } from './schema.ts';

/** A foreign key as the dump makes it. */
export interface ForeignKey {
  table: RelationName;
  name: string;
  /** Up to REFERENCES. */
  columns: string;
  to: RelationName;
  /** From the columns of the other table on. */
  rest: string;
  isValidated: boolean;
}

const word = String.raw`(?:"(?:[^"]|"")+"|[^\s";,.()]+)`;
const list = String.raw`\((?:"(?:[^"]|"")+"|[^"()])+\)`;
const pattern = new RegExp(
  String.raw`^ALTER TABLE (?:ONLY )?(${word})\.(${word})\s+ADD CONSTRAINT (${word}) (FOREIGN KEY ${list}) REFERENCES (${word})\.(${word})(${list}[^]*)$`,
);

/** Reads ALTER TABLE ... ADD CONSTRAINT ... FOREIGN KEY, as pg_dump writes it; undefined for another statement. */
export function foreignKeyIn(statement: string): ForeignKey | undefined {
  const match = pattern.exec(statement);
  if (match === null) return undefined;
  const [schema = '', table = '', name = '', columns = '', toSchema = '', toTable = '', rest = ''] =
    match.slice(1);
  return {
    table: { schema: unquoted(schema), name: unquoted(table) },
    name: unquoted(name),
    columns,
    to: { schema: unquoted(toSchema), name: unquoted(toTable) },
    rest: rest.replace(/ NOT VALID$/, ''),
    isValidated: !rest.endsWith(' NOT VALID'),
  };
}

/** The foreign keys of entries of a dump. */
export async function readForeignKeys(
  context: TableContext,
  plan: TablePlan,
  from: { dump: Dump; entries: NeedingEntry[]; directory: string },
): Promise<ForeignKey[]> {
  if (from.entries.length === 0) return [];
  const file = join(from.directory, 'foreign-keys.list');
  await writeFile(file, from.entries.map((entry) => `${entry.line}\n`).join(''));
  const fetching = fetchContext(context, plan.programs);
  const script = await runRestoreTool(fetching, ['-s', '-L', file, '-f', '-', from.dump.path]);
  return statementsIn(script).flatMap((statement) => foreignKeyIn(statement) ?? []);
}

/**
 * Makes foreign keys: not valid first, which reads nothing, then validated, while others write. One of a partitioned table is
 * made on its partitions and taken over from them: only PostgreSQL 18 makes one that is not valid. What cannot be made is
 * returned as a warning: the rows that it names are those of today. Locks: SHARE ROW EXCLUSIVE on the table that is named,
 * for an instant.
 */
export async function makeForeignKeys(
  context: TableContext,
  plan: TablePlan,
  keys: ForeignKey[],
  tables: RestoredTable[],
): Promise<string[]> {
  const warnings: string[] = [];
  for (const key of keys) {
    const label = `foreign key ${key.name} of ${displayName(key.table)}`;
    const own = tables.find(({ member }) => isSame(member.name, key.to));
    if (own === undefined && !(await hasRelation(context.target, key.to))) {
      warnings.push(`${label} is left out: ${displayName(key.to)} is not here`);
      continue;
    }
    const to = own === undefined ? key.to : { schema: workSchema(plan.working), name: own.target };
    try {
      await applyChanges(
        context.target,
        changesOf(context, plan, { key, to, tables }),
        { changes: 0 },
        optionsOf(context),
      );
    } catch (error) {
      if (!(error instanceof DbopsError) || isConnectionLoss(error) || context.signal.aborted) throw error;
      warnings.push(`${label} is not made, or not validated: ${error.message}`);
    }
  }
  return warnings;
}

function changesOf(
  context: TableContext,
  plan: TablePlan,
  { key, to, tables }: { key: ForeignKey; to: RelationName; tables: RestoredTable[] },
): Change[] {
  const [first] = tables.filter(({ member }) => isSame(member.name, key.table));
  if (first === undefined) return [];
  const isPartitioned = first.member.rows === undefined;
  const { dumpId } = first.member.table;
  const isBelow = ({ member }: RestoredTable) => member.rows !== undefined && member.above.includes(dumpId);
  const holders = isPartitioned ? tables.filter(isBelow) : [first];
  const named = (item: RestoredTable) => relation({ schema: workSchema(plan.working), name: item.target });
  const definition = `add constraint ${ident(key.name)} ${key.columns} REFERENCES ${relation(to)}${key.rest}`;
  const change = (table: string, sql: string, locks: Step['locks']): Change =>
    transactionChange({
      summary: `foreign key ${key.name} on ${table}`,
      table,
      event: 'restore_foreign_key',
      isIntermediate: true,
      leavesNothing: true,
      lockTimeoutMs: context.locks.timeoutMs,
      // Validation reads all rows, and stops nobody.
      statementTimeoutMs: null,
      steps: [{ sql, locks, why: 'as the backup has it' }],
    });
  const brief: Step['locks'] = [{ table: relation(to), mode: 'SHARE ROW EXCLUSIVE' }];
  return [
    ...holders.flatMap((item) => [
      change(named(item), `alter table ${named(item)} ${definition} not valid`, brief),
      ...(key.isValidated
        ? [
            change(named(item), `alter table ${named(item)} validate constraint ${ident(key.name)}`, [
              { table: relation(to), mode: 'ROW SHARE' },
            ]),
          ]
        : []),
    ]),
    ...(isPartitioned ? [change(named(first), `alter table ${named(first)} ${definition}`, brief)] : []),
  ];
}

function isSame(one: RelationName, other: RelationName): boolean {
  return one.schema === other.schema && one.name === other.name;
}
