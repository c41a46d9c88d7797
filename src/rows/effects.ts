import type { RowsDefinition, RowsVerb } from '../config/rows.ts';
import { DbopsError } from '../errors.ts';
import { sqlStateOf } from '../pg/sqlstate.ts';
import { displayName, ident, relation, visible, type RelationName } from '../sql/quote.ts';
import { readTimeoutMs } from '../sql/relations.ts';
import {
  findReferencedRow,
  listReferences,
  type ReferenceRow,
  type RowsTableRow,
} from '../sql/rows-table.ts';
import { listRowsParts, type RowsPart } from '../sql/rows-parts.ts';
import type { RowsContext } from './context.ts';

/** What the statement is called that a job sends. */
const eventOf = { purge: 'delete', move: 'delete', mask: 'update' } as const;

const actions: Record<string, string> = {
  a: 'refuses',
  r: 'refuses',
  c: 'changes with it (CASCADE)',
  n: 'empties (SET NULL)',
  d: 'resets (SET DEFAULT)',
};

/**
 * What a job sets off besides, for people: triggers, foreign keys, replication. Throws refused for what would do
 * something else than was asked (a rule), what would refuse in the middle (rows that are pointed at), and what would
 * change other tables unless that was allowed.
 */
export async function findEffects(
  context: Pick<RowsContext, 'db'>,
  table: RowsTableRow,
  definition: RowsDefinition,
  condition: string,
): Promise<Effects> {
  const event = eventOf[definition.verb];
  const parts = await listRowsParts(context.db, table.oid);
  // Batches name the tables that hold rows, so it is their rules and triggers that count.
  for (const part of [table, ...parts]) refuseRules(part, event);
  const references = (await listReferences(context.db, table.oid)).filter(
    (reference) =>
      event === 'delete' || reference.referenced.some((column) => Object.hasOwn(definition.set, column)),
  );
  const told = [...firing(table, parts, event), ...publicationsOf(table, event)];
  for (const reference of references) {
    told.push(await checkReference(context, table, definition, reference, condition));
  }
  const mayKeep = [table, ...parts].some((item) =>
    item.triggers.some(
      (trigger) => trigger.timing === 'before' && trigger.level === 'row' && trigger.events.includes(event),
    ),
  );
  return { told, mayKeep };
}

/** What a job sets off besides. */
export interface Effects {
  /** For people. */
  told: string[];
  /** A trigger fires before each row and may keep it as it is. */
  mayKeep: boolean;
}

/** Triggers that fire; those for each statement are fired by the tables that batches name, not by the one above them. */
function firing(table: RowsTableRow, parts: RowsPart[], event: 'update' | 'delete'): string[] {
  const fired =
    table.kind === 'p'
      ? { ...table, triggers: table.triggers.filter((trigger) => trigger.level === 'row') }
      : table;
  return [...triggersOf(fired, event), ...parts.flatMap((part) => ownTriggersOf(part, table, event))];
}

/** A rule would turn our statement into another one. */
export function refuseRules(
  table: RelationName & Pick<RowsTableRow, 'ruleEvents'>,
  event: 'insert' | 'update' | 'delete',
): void {
  if (!table.ruleEvents.includes(event)) return;
  throw new DbopsError('refused', `${displayName(table)}: a rule rewrites ${event.toUpperCase()} on it`, {
    hint: 'Disable the rule for the time of the job: ALTER TABLE ... DISABLE RULE ...',
  });
}

/** Triggers that a statement of this kind fires. Pure. */
export function triggersOf(
  table: Pick<RowsTableRow, 'schema' | 'name' | 'triggers'>,
  event: 'insert' | 'update' | 'delete',
): string[] {
  return table.triggers
    .filter((trigger) => trigger.events.includes(event))
    .map(
      (trigger) =>
        `trigger ${visible(trigger.name)} of ${displayName(table)} fires ${trigger.timing} ${event}, for each ` +
        `${trigger.level}, and calls ${visible(trigger.calls)}`,
    );
}

/** Those of a partition that the table above it has not as well. Pure. */
export function ownTriggersOf(
  part: Pick<RowsTableRow, 'schema' | 'name' | 'triggers'>,
  above: Pick<RowsTableRow, 'triggers'>,
  event: 'insert' | 'update' | 'delete',
): string[] {
  const own = part.triggers.filter(
    (trigger) =>
      !above.triggers.some((other) => other.name === trigger.name && other.calls === trigger.calls),
  );
  return triggersOf({ ...part, triggers: own }, event);
}

function publicationsOf(table: RowsTableRow, event: 'update' | 'delete'): string[] {
  const sent = table.publications.filter((item) => (event === 'delete' ? item.deletes : item.updates));
  if (sent.length > 0 && !table.hasReplicaIdentity) {
    throw new DbopsError(
      'refused',
      `${displayName(table)} is published without a replica identity, so the server refuses ${event.toUpperCase()}`,
      { hint: `Give it a primary key, or: ALTER TABLE ${relation(table)} REPLICA IDENTITY FULL;` },
    );
  }
  return sent.map((item) => `publication ${visible(item.name)} sends each ${event} to its subscribers`);
}

async function checkReference(
  context: Pick<RowsContext, 'db'>,
  table: RowsTableRow,
  definition: RowsDefinition,
  reference: ReferenceRow,
  condition: string,
): Promise<string> {
  const action = eventOf[definition.verb] === 'delete' ? reference.onDelete : reference.onUpdate;
  const referencing = displayName(reference.referencing);
  const place = reference.isBelow ? ` at ${displayName(reference.target)}` : '';
  const name = `foreign key ${visible(reference.constraint)} of ${referencing}${place}`;
  const slow = reference.isIndexed
    ? ''
    : `; no index of ${referencing} begins with ${reference.columns.map(visible).join(', ')}, so each row costs a scan of it`;
  if (action === 'a' || action === 'r') {
    const found = await isPointedAt(context, table, reference, condition);
    if (found === true) throw pointedAt(table, definition.verb, reference, name);
    const unknown =
      found === undefined ? ', and whether it points at such rows could not be told in time' : '';
    return `${name} refuses rows that it points at${unknown}${slow}`;
  }
  if (!definition.cascade) {
    throw new DbopsError('refused', `${displayName(table)}: ${name} would change ${referencing} as well`, {
      detail: `it ${actions[action] ?? action} what points at a row of ${displayName(table)}`,
      hint: 'If that is wanted, give --cascade (in the configuration: cascade: true).',
    });
  }
  return `${name} ${actions[action] ?? action} rows of ${referencing} that point at such rows${slow}`;
}

/** Undefined: not known in time. */
async function isPointedAt(
  context: Pick<RowsContext, 'db'>,
  table: RowsTableRow,
  reference: ReferenceRow,
  condition: string,
): Promise<boolean | undefined> {
  try {
    return await findReferencedRow(context.db, table, reference, condition, readTimeoutMs);
  } catch (error) {
    // A table that this role may not read, or one too large to look through.
    if (['57014', '42501'].includes(sqlStateOf(error) ?? '')) return undefined;
    throw error;
  }
}

function pointedAt(table: RelationName, verb: RowsVerb, reference: ReferenceRow, name: string): DbopsError {
  return new DbopsError(
    'refused',
    `${displayName(table)}: rows that are to be ${verb === 'mask' ? 'changed' : 'taken out'} are pointed at by ${displayName(reference.referencing)}`,
    {
      detail: `${name} refuses that`,
      hint:
        `Leave them out by a column of ${ident(table.name)} in --where, or first purge what points at them ` +
        `in ${displayName(reference.referencing)}.`,
    },
  );
}
