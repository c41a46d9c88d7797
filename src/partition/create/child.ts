import type { ParentRow, ForeignKeyRow, PolicyPart } from '../../sql/parents.ts';
import { ident, literal, relation, type RelationName } from '../../sql/quote.ts';
import type { LockNeed } from '../../sql/locks.ts';
import { quietStep, type Step } from '../../plan/step.ts';
import { pointLiteral, type KeyCodec, type Point } from '../model/key.ts';

/** The CHECK on a partition that spares the attach a scan; dropped in the attach's transaction. */
export const boundConstraint = 'dbops_bound';

/** The comment on a table that ensure has made and not yet attached; a later run removes what a kill left behind. */
export const creatingMarker = 'dbops:creating';

/** The comment on a table that rows are being moved into; `ensure` leaves it alone. */
export const drainingMarker = 'dbops:draining';

export interface NewPartition {
  table: RelationName;
  from: Point;
  to: Point;
}

/** "key is not null and key >= lo and key < hi": without `is not null` on a nullable key the attach scans. */
export function boundCheck(
  key: string,
  codec: KeyCodec,
  from: Point | undefined,
  to: Point | undefined,
): string {
  const column = ident(key);
  const parts = [`${column} is not null`];
  if (from !== undefined) parts.push(`${column} >= ${pointLiteral(codec, from)}`);
  if (to !== undefined) parts.push(`${column} < ${pointLiteral(codec, to)}`);
  return parts.join(' and ');
}

/** "for values from (lo) to (hi)". */
export function boundClause(codec: KeyCodec, from: Point | undefined, to: Point | undefined): string {
  const lower = from === undefined ? 'minvalue' : pointLiteral(codec, from);
  const upper = to === undefined ? 'maxvalue' : pointLiteral(codec, to);
  return `for values from (${lower}) to (${upper})`;
}

/**
 * Makes the table that will be attached: like the parent without identity and indexes (ATTACH brings those), with what
 * LIKE does not copy. Touches nothing that others use but for ACCESS SHARE on the parent. A table that will hold rows when
 * it is attached may get its indexes now, so that the attach does not build them under its locks.
 */
export function createSteps(
  parent: ParentRow,
  key: string,
  codec: KeyCodec,
  partition: NewPartition,
  storageParameters: Record<string, string | number | boolean>,
  withIndexes = false,
): Step[] {
  const table = relation(partition.table);
  const like =
    `like ${relation(parent)} including defaults including constraints including storage including comments ` +
    `including generated including compression${withIndexes ? ' including indexes' : ''}`;
  const check = `constraint ${boundConstraint} check (${boundCheck(key, codec, partition.from, partition.to)})`;
  const using = parent.siblingAccessMethod === null ? '' : ` using ${ident(parent.siblingAccessMethod)}`;
  const options = storageOptions(parent.siblingOptions, storageParameters);
  const tablespace = parent.tablespace === null ? '' : ` tablespace ${ident(parent.tablespace)}`;
  return [
    {
      sql: `create table ${table} (${like}, ${check})${using}${options}${tablespace}`,
      locks: [{ table: relation(parent), mode: 'ACCESS SHARE' }],
      why: 'a table of its own first: CREATE TABLE ... PARTITION OF would lock the parent against everybody',
    },
    quietStep(
      `comment on table ${table} is ${literal(`${creatingMarker} parent=${relation(parent)}`)}`,
      'marks it until it is attached',
    ),
    ...copySteps(parent, partition.table),
  ];
}

/** Owner, grants, row security, statistics targets: what neither LIKE nor PARTITION OF copies. */
export function copySteps(parent: ParentRow, target: RelationName): Step[] {
  const table = relation(target);
  const steps: Step[] = [];
  for (const grantee of parent.defaultGrantees) {
    steps.push(
      quietStep(
        `revoke all on table ${table} from ${roleName(grantee)}`,
        "default privileges are not the parent's",
      ),
    );
  }
  steps.push(quietStep(`alter table ${table} owner to ${ident(parent.owner)}`, "the parent's owner"));
  steps.push(...grantStatements(parent, table).map((sql) => quietStep(sql, "the parent's grants")));
  for (const { column, target: statistics } of parent.statisticsTargets) {
    steps.push(
      quietStep(
        `alter table ${table} alter column ${ident(column)} set statistics ${String(statistics)}`,
        "the parent's statistics target",
      ),
    );
  }
  steps.push(...rowSecuritySteps(parent, target));
  if (parent.replicaIdentity === 'f' || parent.replicaIdentity === 'n') {
    const identity = parent.replicaIdentity === 'f' ? 'full' : 'nothing';
    steps.push(
      quietStep(`alter table ${table} replica identity ${identity}`, "the parent's replica identity"),
    );
  }
  return steps;
}

/** GRANTs by grantee, one statement for equal column lists and grant options. */
export function grantStatements(parent: Pick<ParentRow, 'grants'>, table: string): string[] {
  const groups = new Map<string, { grantee: string; isGrantable: boolean; privileges: string[] }>();
  for (const grant of parent.grants) {
    const id = JSON.stringify([grant.grantee, grant.isGrantable]);
    const group = groups.get(id) ?? {
      grantee: grant.grantee,
      isGrantable: grant.isGrantable,
      privileges: [],
    };
    const column = grant.column === null ? '' : ` (${ident(grant.column)})`;
    group.privileges.push(`${grant.privilege.toLowerCase()}${column}`);
    groups.set(id, group);
  }
  return [...groups.values()].map(
    (group) =>
      `grant ${group.privileges.join(', ')} on table ${table} to ${roleName(group.grantee)}` +
      (group.isGrantable ? ' with grant option' : ''),
  );
}

function roleName(grantee: string): string {
  return grantee === 'public' ? 'public' : ident(grantee);
}

/**
 * Inside a subquery the server prints the columns of a policy's own table with that table's name before them, which on
 * another table is no name of anything. Schemas of that name (before functions, types and tables) are left as they are.
 */
function requalify(expression: string, from: string, to: string): string {
  const word = String.raw`"(?:[^"]|"")*"|[\p{L}_][\p{L}\p{N}_$]*`;
  const tokens = new RegExp(
    String.raw`'(?:[^']|'')*'|(?<![.\p{L}\p{N}_$"])(${word})(?=\.(?!(?:${word})\())|${word}`,
    'gu',
  );
  return expression.replaceAll(tokens, (token: string, qualifier: string | undefined, offset: number) => {
    if (qualifier === undefined || unquoted(qualifier) !== from) return token;
    return /(?:::|\b(?:from|join)\s+)$/i.test(expression.slice(0, offset)) ? token : ident(to);
  });
}

/** Policies whose expressions call their table by another name. */
export function requalifyPolicies(policies: PolicyPart[], from: string, to: string): PolicyPart[] {
  const moved = (expression: string | null) => (expression === null ? null : requalify(expression, from, to));
  return policies.map((policy) => ({ ...policy, using: moved(policy.using), check: moved(policy.check) }));
}

function unquoted(identifier: string): string {
  return identifier.startsWith('"') ? identifier.slice(1, -1).replaceAll('""', '"') : identifier;
}

function rowSecuritySteps(parent: ParentRow, target: RelationName): Step[] {
  const table = relation(target);
  const steps = requalifyPolicies(parent.policies, parent.name, target.name).map((policy) => {
    const using = policy.using === null ? '' : ` using (${policy.using})`;
    const check = policy.check === null ? '' : ` with check (${policy.check})`;
    return quietStep(
      `create policy ${ident(policy.name)} on ${table} as ${policy.isPermissive ? 'permissive' : 'restrictive'} ` +
        `for ${policy.command} to ${policy.roles.map(roleName).join(', ')}${using}${check}`,
      "the parent's policy, for those who read the partition itself",
    );
  });
  if (parent.rowSecurity)
    steps.push(quietStep(`alter table ${table} enable row level security`, 'as the parent'));
  if (parent.forceRowSecurity)
    steps.push(quietStep(`alter table ${table} force row level security`, 'as the parent'));
  return steps;
}

function storageOptions(sibling: string[], configured: Record<string, string | number | boolean>): string {
  const options = new Map(
    sibling.map((option) => [option.slice(0, option.indexOf('=')), option.slice(option.indexOf('=') + 1)]),
  );
  for (const [name, value] of Object.entries(configured)) options.set(name, String(value));
  if (options.size === 0) return '';
  const parts = [...options].map(
    ([name, value]) => `${name.split('.').map(ident).join('.')} = ${literal(value)}`,
  );
  return ` with (${parts.join(', ')})`;
}

/** What ATTACH PARTITION locks besides the new table: the parent, and tables tied to it by foreign keys. */
export function attachLocks(
  parent: RelationName,
  foreignKeys: ForeignKeyRow[],
  serverVersionNum: number,
  defaultPartition: RelationName | undefined,
): LockNeed[] {
  const locks: LockNeed[] = [{ table: relation(parent), mode: 'SHARE UPDATE EXCLUSIVE' }];
  for (const key of foreignKeys) {
    // Incoming ones are locked since 15; see reference "observed locks".
    if (key.direction === 'incoming' && serverVersionNum < 150_000) continue;
    locks.push({
      table: relation({ schema: key.otherSchema, name: key.otherName }),
      mode: 'SHARE ROW EXCLUSIVE',
    });
  }
  if (defaultPartition !== undefined)
    locks.push({ table: relation(defaultPartition), mode: 'ACCESS EXCLUSIVE' });
  return locks;
}

/** Attaches, and takes away the CHECK and the marker, all in one transaction. */
export function attachSteps(
  parent: ParentRow,
  codec: KeyCodec,
  partition: NewPartition,
  locks: LockNeed[],
): Step[] {
  const table = relation(partition.table);
  const steps: Step[] = [
    {
      sql: `alter table ${relation(parent)} attach partition ${table} ${boundClause(codec, partition.from, partition.to)}`,
      locks,
      why: 'ATTACH lets readers and writers of the parent go on; the CHECK spares it a scan',
    },
    quietStep(`alter table ${table} drop constraint ${boundConstraint}`, 'the bound says the same now'),
    quietStep(`comment on table ${table} is null`, 'no longer in the making'),
  ];
  if (parent.replicaIdentity === 'i' && parent.replicaIndexOid !== null) {
    steps.push(
      quietStep(
        replicaIndexBlock(table, parent.replicaIndexOid),
        "the parent's replica identity is an index; the attach has just made this partition's",
      ),
    );
  }
  return steps;
}

/** The partition's index has a name only after the attach, so a block looks it up. */
function replicaIndexBlock(table: string, parentIndexOid: number): string {
  return `do ${literal(
    'declare child_index name; begin ' +
      'select c.relname into strict child_index from pg_catalog.pg_inherits as i ' +
      'join pg_catalog.pg_index as x on x.indexrelid = i.inhrelid ' +
      'join pg_catalog.pg_class as c on c.oid = i.inhrelid ' +
      `where i.inhparent = ${String(parentIndexOid)} and x.indrelid = ${literal(table)}::pg_catalog.regclass; ` +
      `execute ${literal(`alter table ${table} replica identity using index `)} || pg_catalog.quote_ident(child_index); ` +
      'end',
  )}`;
}
