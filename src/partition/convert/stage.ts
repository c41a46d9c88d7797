import { quietStep, type Step } from '../../plan/step.ts';
import type { ConvertConstraintRow, ConvertIndexRow } from '../../sql/convert.ts';
import type { ParentRow } from '../../sql/parents.ts';
import { ident, literal, relation, type RelationName } from '../../sql/quote.ts';
import { attachSteps, copySteps, createSteps, requalifyPolicies } from '../create/child.ts';
import { cutoverConstraint } from './marker.ts';
import { addIdentitySql, sequenceGrantSteps } from './parts.ts';
import type { ConvertTarget } from './target.ts';

/** The parent's name until the swap gives it the table's. */
export function stageName(target: ConvertTarget): RelationName {
  return { schema: target.facts.table.schema, name: target.names.parent };
}

/** The parent under a name of its own, empty, with everything that the old table has and a parent can have. */
export function stageSteps(target: ConvertTarget): Step[] {
  const { facts, wish } = target;
  const stage = relation(stageName(target));
  const tablespace = facts.parent.tablespace === null ? '' : ` tablespace ${ident(facts.parent.tablespace)}`;
  const steps: Step[] = [
    {
      sql:
        `create table ${stage} (like ${relation(facts.table)} including defaults including constraints ` +
        'including generated including storage including compression including comments) ' +
        `partition by range (${ident(wish.key)})${tablespace}`,
      locks: [{ table: relation(facts.table), mode: 'ACCESS SHARE' }],
      why: 'the parent, under a name for the moment',
    },
    quietStep(
      `alter table ${stage} drop constraint ${cutoverConstraint}`,
      'the bound of the old table, not of the parent',
    ),
    // An index as the replica identity is set when the parent has that index.
    ...copySteps(facts.parent, stageName(target)),
  ];
  for (const column of facts.columns.filter((item) => item.options.length > 0)) {
    const options = column.options.join(', ');
    steps.push(
      quietStep(`alter table ${stage} alter column ${ident(column.name)} set (${options})`, 'as it was'),
    );
  }
  if (facts.table.comment !== null)
    steps.push(quietStep(`comment on table ${stage} is ${literal(facts.table.comment)}`, 'as it was'));
  steps.push(...stageIndexSteps(target, stage), ...stageIdentitySteps(target, stage));
  return steps;
}

function stageIndexSteps(target: ConvertTarget, stage: string): Step[] {
  const { facts } = target;
  return facts.indexes
    .filter((index) => index.name !== target.newIndex)
    .flatMap((index) => {
      const constraint = facts.constraints.find((item) => item.name === index.constraint);
      const name = ident(index.name);
      const steps = [stageIndexStep(target, index, constraint, stage)];
      if (index.comment !== null)
        steps.push(
          quietStep(`comment on index ${relation(index)} is ${literal(index.comment)}`, 'as it was'),
        );
      if (constraint !== undefined && constraint.comment !== null)
        steps.push(
          quietStep(
            `comment on constraint ${name} on ${stage} is ${literal(constraint.comment)}`,
            'as it was',
          ),
        );
      if (index.isReplicaIdentity)
        steps.push(quietStep(`alter table ${stage} replica identity using index ${name}`, 'as it was'));
      return steps;
    });
}

function stageIndexStep(
  target: ConvertTarget,
  index: ConvertIndexRow,
  constraint: ConvertConstraintRow | undefined,
  stage: string,
): Step {
  const { primaryKey } = target;
  const name = ident(index.name);
  if (index.isPrimary && primaryKey !== undefined) {
    const columns = primaryKey.columns.map(ident).join(', ');
    const include =
      primaryKey.included.length === 0 ? '' : ` include (${primaryKey.included.map(ident).join(', ')})`;
    return quietStep(
      `alter table ${stage} add constraint ${name} primary key (${columns})${include}`,
      'the old key and the partition key',
    );
  }
  if (constraint !== undefined)
    return quietStep(`alter table ${stage} add constraint ${name} ${constraint.definition}`, 'as it was');
  return quietStep(
    `create ${index.isUnique ? 'unique ' : ''}index ${name} on ${stage} using ${index.definition ?? ''}`,
    'as it was; the attach finds the index of the old table equal and builds none',
  );
}

function stageIdentitySteps(target: ConvertTarget, stage: string): Step[] {
  return target.facts.columns.flatMap((column) => {
    if (column.identity === '' || column.sequence === null) return [];
    const name = { schema: target.facts.table.schema, name: target.names.sequence };
    return [
      quietStep(
        addIdentitySql(stage, column.name, column.identity, column.sequence, name),
        'the same identity, with a sequence of its own',
      ),
      ...sequenceGrantSteps(column.sequence, name),
    ];
  });
}

/** The partitions from the cutover on, attached to a parent that nobody sees yet. */
export function partitionSteps(target: ConvertTarget): Step[] {
  const { facts } = target;
  const parent: ParentRow = {
    ...facts.parent,
    name: target.names.parent,
    policies: requalifyPolicies(facts.parent.policies, facts.table.name, target.names.parent),
    replicaIdentity: facts.parent.replicaIdentity === 'i' ? 'd' : facts.parent.replicaIdentity,
    replicaIndexOid: null,
  };
  return target.partitions.flatMap((partition) =>
    [
      ...createSteps(parent, target.wish.key, target.codec, partition, target.wish.storageParameters),
      ...attachSteps(parent, target.codec, partition, []),
    ].map((step) => quietStep(step.sql, 'a partition from the cutover on, while nobody sees the parent')),
  );
}
