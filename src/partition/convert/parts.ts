import { quietStep, type Step } from '../../plan/step.ts';
import type { ColumnSequence, ConvertPublicationRow, ConvertTriggerRow } from '../../sql/convert.ts';
import type { DependentViewRow } from '../../sql/convert-dependents.ts';
import { ident, literal, relation, type RelationName } from '../../sql/quote.ts';

/** Fails the transaction when the table is no longer what the plan was made for. */
export function guardStep(fingerprint: { expression: string; value: string }, label: string): Step {
  const body =
    `begin if ${fingerprint.expression} is distinct from ${literal(fingerprint.value)} then ` +
    `raise exception using message = ${literal(`the definition of ${label} has changed since the plan was made`)}, ` +
    `hint = 'Run the command again: it plans anew.'; end if; end`;
  return quietStep(`do ${literal(body)}`, 'a table that somebody altered meanwhile must be planned anew');
}

/** The identity of a column with a sequence like another one, under a name of choice. */
export function addIdentitySql(
  table: string,
  column: string,
  kind: string,
  sequence: ColumnSequence,
  sequenceName: RelationName,
): string {
  return (
    `alter table ${table} alter column ${ident(column)} add generated ${kind === 'a' ? 'always' : 'by default'} ` +
    `as identity (sequence name ${relation(sequenceName)} increment by ${sequence.increment} ` +
    `minvalue ${sequence.min} maxvalue ${sequence.max} start with ${sequence.start} cache ${sequence.cache} ` +
    `${sequence.cycle ? 'cycle' : 'no cycle'})`
  );
}

/** Grants and comment of a sequence on another one, which default privileges may have given grants of its own. */
export function sequenceGrantSteps(sequence: ColumnSequence, name: RelationName): Step[] {
  const target = relation(name);
  const role = (grantee: string) => (grantee === 'public' ? 'public' : ident(grantee));
  const steps = [
    ...sequence.defaultGrantees.map((grantee) =>
      quietStep(
        `revoke all on sequence ${target} from ${role(grantee)}`,
        "default privileges are not the old sequence's",
      ),
    ),
    ...sequence.grants.map((grant) =>
      quietStep(
        `grant ${grant.privilege.toLowerCase()} on sequence ${target} to ` +
          `${role(grant.grantee)}${grant.isGrantable ? ' with grant option' : ''}`,
        "the old sequence's grants",
      ),
    ),
  ];
  if (sequence.comment !== null)
    steps.push(quietStep(`comment on sequence ${target} is ${literal(sequence.comment)}`, 'as it was'));
  return steps;
}

/**
 * Moves the position from one sequence to another. The old one is renamed first: that takes ACCESS EXCLUSIVE on it, so
 * that nobody draws a number between the reading and the end of the transaction.
 */
export function moveSequenceSteps(from: ColumnSequence, oldName: string, to: RelationName): Step[] {
  const moved = { schema: from.schema, name: oldName };
  return [
    {
      sql: `alter sequence ${relation(from)} rename to ${ident(oldName)}`,
      locks: [{ table: relation(from), mode: 'ACCESS EXCLUSIVE' }],
      why: 'nobody draws a number from here on',
    },
    quietStep(
      `do ${literal(
        `begin perform pg_catalog.setval(${literal(relation(to))}, s.last_value, s.is_called) from ${relation(moved)} as s; end`,
      )}`,
      'goes on where the old sequence stands, read in this transaction: writers drew numbers since the plan was made',
    ),
  ];
}

/** A trigger as it was, on whatever carries the table's name now; its state and comment too. */
export function triggerSteps(trigger: ConvertTriggerRow, table: string): Step[] {
  const name = ident(trigger.name);
  const steps = [quietStep(trigger.definition, 'the trigger as it was')];
  const state = { D: 'disable', R: 'enable replica', A: 'enable always' }[trigger.enabled];
  if (state !== undefined) {
    // Statement triggers have no clones on the partitions: without ONLY, 14 looks for them there and fails.
    const only = trigger.isRow ? '' : 'only ';
    steps.push(quietStep(`alter table ${only}${table} ${state} trigger ${name}`, 'its state'));
  }
  if (trigger.comment !== null)
    steps.push(
      quietStep(`comment on trigger ${name} on ${table} is ${literal(trigger.comment)}`, 'as it was'),
    );
  return steps;
}

/**
 * CREATE OR REPLACE keeps a view's oid, owner, grants, comments, rules and triggers, and whatever stands on it; only what
 * it reads changes. Its options have to be said again.
 */
export function viewStep(view: DependentViewRow): Step {
  const options = view.options.map((option) => {
    const at = option.indexOf('=');
    return `${ident(option.slice(0, at))} = ${literal(option.slice(at + 1))}`;
  });
  const suffix = options.length === 0 ? '' : ` with (${options.join(', ')})`;
  return {
    sql: `create or replace view ${relation(view)}${suffix} as ${view.definition}`,
    locks: [{ table: relation(view), mode: 'ACCESS EXCLUSIVE' }],
    why: 'a view follows the old table by its oid: its text, taken before the rename, now finds the new one',
  };
}

/** The table leaves a publication and another one takes its place. */
export function publicationSteps(publication: ConvertPublicationRow, from: string, to: string): Step[] {
  if (!publication.isNamed) return [];
  const name = ident(publication.name);
  const columns = publication.columns === null ? '' : ` (${publication.columns.map(ident).join(', ')})`;
  const filter = publication.filter === null ? '' : ` where (${publication.filter})`;
  return [
    quietStep(`alter publication ${name} drop table ${from}`, 'published through its root from here on'),
    quietStep(`alter publication ${name} add table ${to}${columns}${filter}`, 'as it was'),
  ];
}

/** Makes the children of a parent's index the replica identity of their tables; their names exist only now. */
export function replicaIdentityStep(parentIndex: RelationName): Step {
  const body =
    'declare child record; begin for child in select t.oid::pg_catalog.regclass::text as name, ' +
    'pg_catalog.quote_ident(c.relname) as index from pg_catalog.pg_inherits as i ' +
    'join pg_catalog.pg_index as x on x.indexrelid = i.inhrelid ' +
    'join pg_catalog.pg_class as c on c.oid = i.inhrelid join pg_catalog.pg_class as t on t.oid = x.indrelid ' +
    `where i.inhparent = ${literal(relation(parentIndex))}::pg_catalog.regclass ` +
    `loop execute 'alter table ' || child.name || ' replica identity using index ' || child.index; end loop; end`;
  return quietStep(`do ${literal(body)}`, 'partitions do not inherit the replica identity');
}
