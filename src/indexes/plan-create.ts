import type { Settings } from '../config/settings.ts';
import { DbopsError } from '../errors.ts';
import type { Db } from '../pg/connection.ts';
import type { Change } from '../plan/step.ts';
import type { IndexedTableRow } from '../sql/index-tables.ts';
import { displayName, type RelationName } from '../sql/quote.ts';
import { listRelationsNamed } from '../sql/relations.ts';
import {
  attachChange,
  buildChange,
  dropChange,
  parentChange,
  rebuildChange,
  type ChangeOptions,
} from './changes.ts';
import { loadIndexFacts, type IndexFacts, type SameIndex } from './facts.ts';
import { defaultName, fit, type IndexSpec } from './spec.ts';

/** An index that a change builds: what a failure leaves of it has to go. */
export interface Build {
  change: Change;
  index: RelationName;
  table: RelationName;
}

export interface CreatePlan {
  spec: IndexSpec;
  tableOid: number;
  table: string;
  columns: string[];
  /** The index that is there afterwards. */
  index: RelationName;
  changes: Change[];
  builds: Build[];
  notes: string[];
}

export interface PlanInput {
  db: Db;
  settings: Pick<Settings, 'lockTimeoutMs'>;
}

/**
 * Plans what a table lacks of an index: nothing where one of the same shape is there and valid under whatever name. On a
 * partitioned table, the parent's entry first, then partition by partition what is missing; so a plan goes on where a run
 * was stopped. Throws table_not_found, usage, name_collision, lock_busy or refused.
 */
export async function planCreate({ db, settings }: PlanInput, spec: IndexSpec): Promise<CreatePlan> {
  const facts = await loadIndexFacts(db, spec);
  const planner = new Planner(db, spec, facts, {
    unique: spec.unique,
    body: facts.body,
    lockTimeoutMs: settings.lockTimeoutMs,
    deadlockTimeoutMs: db.server.deadlockTimeoutMs,
  });
  return await planner.plan();
}

class Planner {
  readonly #changes: Change[] = [];
  readonly #builds: Build[] = [];
  readonly #notes: string[] = [];
  /** Names that this plan gives away, by schema. */
  readonly #given = new Set<string>();

  constructor(
    readonly db: Db,
    readonly spec: IndexSpec,
    readonly facts: IndexFacts,
    readonly options: ChangeOptions,
  ) {}

  async plan(): Promise<CreatePlan> {
    const { table } = this.facts;
    const index = table.kind === 'p' ? await this.#planTree() : await this.#planTable(table, this.spec.name);
    if (this.spec.name !== undefined && index.name !== this.spec.name)
      this.#notes.push(`the same index is there under the name ${displayName(index)}`);
    return {
      spec: this.spec,
      tableOid: table.oid,
      table: displayName(table),
      columns: table.columns,
      index: { schema: index.schema, name: index.name },
      changes: this.#changes,
      builds: this.#builds,
      notes: this.#notes,
    };
  }

  /** A table or a partition that holds rows: the index that it has, or that it will have. */
  async #planTable(
    table: IndexedTableRow,
    wishedName: string | undefined,
    isFree: (index: SameIndex) => boolean = () => true,
  ): Promise<RelationName> {
    const same = (this.facts.same.get(table.oid) ?? []).filter(isFree);
    const valid = same.find((index) => index.isValid);
    if (valid !== undefined) return valid;
    const busy = same.find((index) => index.isInWork !== false);
    if (busy !== undefined) throw inWork(busy);
    const index = await this.#nameFor(table, wishedName, same);
    const leftover = same.find(({ name }) => name === index.name);
    if (leftover !== undefined)
      this.#changes.push(
        dropChange(
          index,
          table,
          this.options,
          'what an earlier try left of it: not valid, and nobody builds it',
        ),
      );
    for (const other of same)
      if (other !== leftover)
        this.#notes.push(
          `${displayName(other)} is the same index and not valid: "dbops index drop" removes it`,
        );
    const change = buildChange(index.name, table, this.options);
    this.#changes.push(change);
    this.#builds.push({ change, index, table: { schema: table.schema, name: table.name } });
    return index;
  }

  async #planTree(): Promise<RelationName> {
    const { table, partitions, same } = this.facts;
    const own = same.get(table.oid) ?? [];
    const valid = own.find((index) => index.isValid);
    if (valid !== undefined) return valid;
    const root = own[0] ?? (await this.#newParent(table, this.spec.name));
    const parents = new Map<number, RelationName & { oid?: number }>([[table.oid, root]]);
    for (const partition of partitions) {
      const parent = parents.get(partition.parentOid ?? 0);
      if (parent === undefined) throw new Error(`partition ${displayName(partition)} came before its parent`);
      const child = await this.#planPartition(partition, parent);
      if (partition.kind === 'p') parents.set(partition.oid, child);
    }
    return root;
  }

  async #planPartition(
    partition: IndexedTableRow,
    parent: RelationName & { oid?: number },
  ): Promise<RelationName & { oid?: number }> {
    const same = this.facts.same.get(partition.oid) ?? [];
    const attached = same.find(({ parentOid }) => parentOid !== null && parentOid === parent.oid);
    if (attached !== undefined) {
      if (!attached.isValid && partition.kind !== 'p') {
        if (attached.isInWork !== false) throw inWork(attached);
        this.#changes.push(rebuildChange(attached, partition));
      }
      return attached;
    }
    const isFree = (index: SameIndex) => index.parentOid === null;
    const child =
      partition.kind === 'p'
        ? (same.find(isFree) ?? (await this.#newParent(partition, undefined)))
        : await this.#planTable(partition, undefined, isFree);
    this.#changes.push(attachChange(parent, child, partition, this.options));
    return child;
  }

  async #newParent(table: IndexedTableRow, wishedName: string | undefined): Promise<RelationName> {
    const index = await this.#nameFor(table, wishedName, []);
    this.#changes.push(parentChange(index.name, table, this.options));
    return index;
  }

  /** The name that was wished for, or the first of PostgreSQL's own that is free or stands on our own leftover. */
  async #nameFor(
    table: IndexedTableRow,
    wished: string | undefined,
    leftovers: SameIndex[],
  ): Promise<RelationName> {
    const { schema } = table;
    const base = defaultName(this.spec, table.name, table.columns);
    const names =
      wished === undefined
        ? [base, ...Array.from({ length: 9 }, (_, at) => `${fit(base, 62)}${String(at + 1)}`)]
        : [wished];
    const taken = await listRelationsNamed(
      this.db,
      names.map((name) => ({ schema, name })),
    );
    const isOpen = (name: string) =>
      !this.#given.has(`${schema}.${name}`) &&
      (leftovers.some((index) => index.name === name) || !taken.some((row) => row.name === name));
    const name = names.find(isOpen);
    if (name === undefined)
      throw new DbopsError(
        'name_collision',
        `${displayName({ schema, name: names[0] ?? '' })} is there already, and is not the index that is wanted`,
        { hint: 'Give the new index another name, or drop the old one with "dbops index drop".' },
      );
    this.#given.add(`${schema}.${name}`);
    return { schema, name };
  }
}

function inWork(index: SameIndex): DbopsError {
  return index.isInWork === null
    ? new DbopsError('lock_busy', `an index of the same table as ${displayName(index)} is being built`, {
        hint: 'Whether it is this one, this role may not see: grant it pg_read_all_stats, or try again later.',
      })
    : new DbopsError('lock_busy', `the index ${displayName(index)} is being built, rebuilt or dropped`, {
        hint: 'Wait for that session to end; "dbops inspect locks" shows it.',
      });
}
