import { statfs, stat } from 'node:fs/promises';
import { splitTable } from '../../config/settings.ts';
import { DbopsError } from '../../errors.ts';
import { humanBytes } from '../../output/human.ts';
import { parseBound } from '../../partition/model/bounds.ts';
import type { Db } from '../../pg/connection.ts';
import type { Change } from '../../plan/step.ts';
import { listDefinitionIndexes } from '../../sql/definition-constraints.ts';
import { listMembers } from '../../sql/detach.ts';
import { listPartitionedTables, listPartitions } from '../../sql/partitions.ts';
import { displayName, ident, relation, visible, type RelationName } from '../../sql/quote.ts';
import { listRelationsNamed, type RelationRow } from '../../sql/relations.ts';
import { listTypesNamed } from '../../sql/requirements.ts';
import { findDataDirectory, findSchema, listRoles } from '../../sql/restore.ts';
import type { FoundArchive } from '../catalogue.ts';
import type { Requirement, TableDefinition } from '../definition/definition.ts';
import { withoutMasked } from '../definition/masked.ts';
import { relationNames } from '../definition/names.ts';
import { restoreChanges, restoringMarker, type RestoreChanges } from './changes.ts';

export interface RestoreOptions {
  /** schema.table, as the user wrote it. */
  into: string;
  attach: boolean;
  verify: 'bytes' | 'digest';
}

/** Which rows go where. */
export interface LoadTarget {
  archive: FoundArchive;
  target: RelationName;
  label: string;
}

export interface RestorePlan extends LoadTarget {
  /** What is made: the archived definition without what masked values or missing roles do not allow. */
  definition: TableDefinition;
  options: RestoreOptions;
  changes: RestoreChanges;
  /** The partitioned table that it is attached to at the end. */
  parent: { name: RelationName; from: string | undefined; until: string | undefined } | undefined;
  /** What the result will lack, in sentences. */
  warnings: string[];
}

/** Every change in the order of a run, for a dry run and for the question. */
export function allChanges(plan: RestorePlan): Change[] {
  const { prepare, load, indexes, finish, analyze, publish, attach } = plan.changes;
  return [prepare, ...load, ...indexes, finish, analyze, publish, ...attach];
}

/**
 * Plans to make a table from an archive: looks for everything that would stop it half way. Throws refused (the table or an
 * index of that name is there, a type is different, the disk is too small, the parent has such a partition), usage.
 */
export async function planRestore(
  db: Db,
  archive: FoundArchive,
  options: RestoreOptions,
): Promise<RestorePlan> {
  const { manifest } = archive;
  const target = targetOf(options.into);
  const label = displayName(target);
  const masked = withoutMasked(
    manifest.definition,
    manifest.masked.map((item) => item.column),
  );
  const roles = await withoutMissingRoles(db, masked.definition);
  const remains = await refuseTaken(db, archive, target, roles.definition);
  await refuseOtherTypes(db, roles.definition.requirements);
  const hasSchema = await findSchema(db, target.schema);
  if (hasSchema?.mayCreate === false) throw mayNotCreate(db, target);
  await refuseSmallDisk(db, archive, label);
  const parent = options.attach ? await attachTarget(db, archive) : undefined;
  return {
    archive,
    target,
    label,
    definition: roles.definition,
    options,
    parent,
    changes: restoreChanges(archive, roles.definition, target, {
      makesSchema: hasSchema === undefined,
      remains: remains !== undefined,
      parent: parent?.name,
    }),
    warnings: [
      ...masked.dropped.map((item) => `${item} is left out, since its values were masked on the way out`),
      ...roles.warnings,
      ...notMade(manifest.definition),
    ],
  };
}

function targetOf(into: string): RelationName {
  const target = splitTable(into);
  if (/[\r\n\\]/.test(relation(target))) {
    throw new DbopsError('usage', `${displayName(target)} has a line break or a backslash in its name`, {
      hint: 'psql cannot load into such a table; restore it under another name and rename it.',
    });
  }
  return target;
}

function notMade(definition: TableDefinition): string[] {
  const told = (items: { name: string }[], what: string) =>
    items.length === 0
      ? []
      : [`${what} not made again: ${items.map((item) => visible(item.name)).join(', ')}`];
  return [
    ...told(definition.triggers, 'triggers are'),
    ...told(definition.rules, 'rules are'),
    ...told(definition.foreignKeys, 'foreign keys are'),
    ...definition.notes.map(visible),
  ];
}

/** An interrupted restore of this archive leaves its table marked: that one is begun anew; anything else is in the way. */
async function refuseTaken(
  db: Db,
  archive: FoundArchive,
  target: RelationName,
  definition: TableDefinition,
): Promise<RelationRow | undefined> {
  const taken = await listRelationsNamed(db, relationNames(definition, target));
  const remains = taken.find(
    (row) => row.name === target.name && row.comment === `${restoringMarker} ${archive.id}`,
  );
  const own = remains === undefined ? [] : await ownIndexes(db, remains.oid);
  const [other] = taken.filter((row) => row !== remains && !own.includes(row.name));
  if (other === undefined) return remains;
  const isTable = other.name === target.name;
  const isRestoring = other.comment?.startsWith(`${restoringMarker} `) === true;
  throw new DbopsError('refused', `${displayName(other)} is there already`, {
    detail: isRestoring
      ? `it was left by an interrupted restore: ${visible(other.comment ?? '')}`
      : undefined,
    hint: isRestoring
      ? `Finish that restore by running it again, or drop the table: drop table ${relation(other)}.`
      : isTable
        ? 'Nothing is ever restored over a table: give another name with --into.'
        : 'An index of the archived table would have this name: rename what is there, or restore into another schema.',
  });
}

/** Those of the table that an interrupted restore left go with it. */
async function ownIndexes(db: Db, oid: number): Promise<string[]> {
  return (await listDefinitionIndexes(db, oid)).map((index) => index.name);
}

/** Throws refused for a type of that name that is there and is different. */
export async function refuseOtherTypes(db: Db, requirements: Requirement[]): Promise<void> {
  const kinds = new Set(['enum', 'composite', 'domain', 'range']);
  const needed = requirements.filter((item) => kinds.has(item.kind));
  const there = await listTypesNamed(
    db,
    needed.map((item) => item.name),
  );
  for (const item of needed) {
    const found = there.find((row) => row.name === item.name);
    if (found === undefined || found.definition === item.definition) continue;
    throw new DbopsError('refused', `type ${visible(item.name)} is there already, with another definition`, {
      detail: `stored: ${visible(item.definition)}\nhere: ${visible(found.definition ?? 'another kind of type')}`,
      hint: 'Rename the one that is there, or restore into another database with --target.',
    });
  }
}

function mayNotCreate(db: Db, target: RelationName): DbopsError {
  const role = ident(db.server.user);
  return new DbopsError(
    'privilege_missing',
    `role "${db.server.user}" may not create tables in schema "${visible(target.schema)}"`,
    { hint: `GRANT CREATE ON SCHEMA ${ident(target.schema)} TO ${role};` },
  );
}

/** Grants and policies for roles that are not here are left out, and so is an owner that this session may not name. */
async function withoutMissingRoles(
  db: Db,
  definition: TableDefinition,
): Promise<{ definition: TableDefinition; warnings: string[] }> {
  const named = new Set([
    definition.owner,
    ...definition.grants.map((grant) => grant.grantee),
    ...definition.policies.flatMap((policy) => policy.roles),
  ]);
  named.delete('public');
  const there = await listRoles(db, [...named]);
  const missing = new Set([...named].filter((name) => !there.some((role) => role.name === name)));
  const mayOwn = there.some((role) => role.name === definition.owner && role.mayOwn);
  const policies = definition.policies.filter((policy) => !policy.roles.some((role) => missing.has(role)));
  const lost = definition.policies.filter((policy) => !policies.includes(policy));
  const grants = definition.grants.filter((grant) => !missing.has(grant.grantee));
  missing.delete(definition.owner);
  return {
    definition: {
      ...definition,
      owner: mayOwn ? definition.owner : db.server.user,
      grants,
      policies,
    },
    warnings: [
      ...(mayOwn
        ? []
        : [
            `it will belong to "${visible(db.server.user)}": its owner "${visible(definition.owner)}" is not here, or not yours to name`,
          ]),
      ...[...missing].map((name) => `role "${visible(name)}" is not here, and gets no privileges on it`),
      ...lost.map((policy) => `policy ${visible(policy.name)} is left out: it names a role that is not here`),
    ],
  };
}

/** Known only for a server on this host, to a role that may see where it keeps its data. */
async function refuseSmallDisk(db: Db, archive: FoundArchive, label: string): Promise<void> {
  const directory = await findDataDirectory(db);
  if (directory === undefined) return;
  let freeBytes: number;
  try {
    const here = await stat(directory.path);
    // The same path on another host, or in a container, is another directory.
    if (Math.abs(here.mtimeMs - directory.modifiedAt.getTime()) > 1000) return;
    const { bavail, bsize } = await statfs(directory.path);
    freeBytes = bavail * bsize;
  } catch {
    return;
  }
  const plainBytes = archive.manifest.parts.reduce((sum, part) => sum + part.plainBytes, 0);
  if (freeBytes >= plainBytes) return;
  throw new DbopsError(
    'refused',
    `the server's disk has ${humanBytes(freeBytes)} free, and ${label} needs more than ${humanBytes(plainBytes)}`,
    { hint: 'Make room, or restore into another server with --target.' },
  );
}

/** The parent, and the ends of the range as an attach takes them. */
async function attachTarget(db: Db, archive: FoundArchive): Promise<NonNullable<RestorePlan['parent']>> {
  const { table, bounds } = archive.manifest;
  const name = displayName(table);
  const [member] = await listMembers(db, [table]);
  const [parent] = member === undefined ? [] : await listPartitionedTables(db, [member.oid]);
  if (member === undefined || parent === undefined) {
    throw new DbopsError(
      'refused',
      `${name} is not a partitioned table here, so there is nothing to attach to`,
      {
        hint: 'Restore without --attach, then "dbops partition attach" it to another table.',
      },
    );
  }
  const bound = parseBound(bounds);
  const [from, to] = bound.kind === 'range' ? [bound.from[0], bound.to[0]] : [undefined, undefined];
  if (from === undefined || to === undefined) {
    throw new DbopsError(
      'unsupported_partitioning',
      `the archive's bounds are not a range: ${visible(bounds)}`,
    );
  }
  const partitions = await listPartitions(db, [member.oid]);
  const twin = partitions.find((row) => row.bound === bounds);
  if (twin !== undefined) {
    throw new DbopsError('refused', `${displayName(twin)} has these bounds already`, {
      detail: bounds,
      hint: 'Detach it first, or restore without --attach.',
    });
  }
  const text = (value: typeof from) => (value.kind === 'value' ? value.text : undefined);
  return { name: table, from: text(from), until: text(to) };
}
