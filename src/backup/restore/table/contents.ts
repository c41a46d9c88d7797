import type { RelationName } from '../../../sql/quote.ts';
import { entriesIn, type DumpEntry } from '../database/script.ts';

/** An entry with what it needs, by their numbers. */
export interface NeedingEntry extends DumpEntry {
  needs: number[];
}

/** A table of a dump that is restored. */
export interface Member {
  name: RelationName;
  table: NeedingEntry;
  /** Its rows; undefined for a partitioned table. */
  rows: NeedingEntry | undefined;
  /** The number of the table that it is a partition of, and of those above. */
  above: number[];
}

/** What a dump holds of one table. */
export interface TableContents {
  /** The table itself first, then what is below it. */
  members: Member[];
  /** What makes all of them, and what they need, in the order of the dump; foreign keys are apart. */
  definitions: NeedingEntry[];
  /** Foreign keys of these tables or to them. */
  foreignKeys: NeedingEntry[];
  /** How the table itself is attached to another one. */
  attach: NeedingEntry | undefined;
  /** Other things that need one of these tables: views, publications, tables that inherit. */
  dependents: NeedingEntry[];
}

/** What belongs to a table, or to an index or a sequence of it. */
const belonging =
  /^(DEFAULT|CONSTRAINT|CHECK CONSTRAINT|INDEX|STATISTICS|TRIGGER|RULE|POLICY|ROW SECURITY|ACL|COMMENT|SECURITY LABEL|SEQUENCE OWNED BY|SEQUENCE|(?:TABLE|INDEX) ATTACH) (?!SET )/;

const dependent = /^(VIEW|MATERIALIZED VIEW|FUNCTION|PROCEDURE|TABLE|PUBLICATION TABLE) (?!DATA |ATTACH )/;

/** Reads what `pg_restore -l -v` says. */
export function entriesWithNeeds(list: string): NeedingEntry[] {
  const needs = new Map<number, number[]>();
  let last: number | undefined;
  for (const line of list.split('\n')) {
    const entry = /^(\d+); \d+ \d+ /.exec(line)?.[1];
    if (entry !== undefined) last = Number(entry);
    const said = /^;\tdepends on:((?: \d+)+)$/.exec(line)?.[1];
    if (said !== undefined && last !== undefined) needs.set(last, said.trim().split(' ').map(Number));
  }
  return entriesIn(list).map((entry) => ({ ...entry, needs: needs.get(entry.dumpId) ?? [] }));
}

/**
 * Chooses what makes one table with its partitions, to any depth. Undefined where the dump does not have the table.
 * `tables` are the names of the manifest: a line of the list alone does not say where a name ends.
 */
export function contentsOf(
  entries: NeedingEntry[],
  tables: RelationName[],
  wanted: RelationName,
): TableContents | undefined {
  const named = entries.flatMap((entry) => {
    const name = entry.rest.startsWith('TABLE ') ? nameOf(entry, tables) : undefined;
    return name === undefined || !isTable(entry, name) ? [] : [{ entry, name }];
  });
  const root = named.find((item) => isSame(item.name, wanted));
  if (root === undefined) return undefined;
  const attaches = entries.filter((entry) => entry.rest.startsWith('TABLE ATTACH '));
  const childOf = (attach: NeedingEntry) =>
    named.find(
      (item) =>
        attach.needs.includes(item.entry.dumpId) &&
        tail(item.entry, 'TABLE') === tail(attach, 'TABLE ATTACH'),
    );
  const found = [{ ...root, above: [] as number[] }];
  // The list grows while it is walked: partitions may have partitions.
  for (const parent of found) {
    for (const attach of attaches.filter((entry) => entry.needs.includes(parent.entry.dumpId))) {
      const child = childOf(attach);
      if (child === undefined || found.some((item) => item.entry === child.entry)) continue;
      found.push({ ...child, above: [...parent.above, parent.entry.dumpId] });
    }
  }
  const own = belongingTo(entries, new Set(found.map((item) => item.entry.dumpId)));
  return {
    members: found.map(({ entry, name, above }) => ({
      name,
      above,
      table: entry,
      rows: entries.find(
        (item) => item.needs.includes(entry.dumpId) && tail(item, 'TABLE DATA') === tail(entry, 'TABLE'),
      ),
    })),
    definitions: withNeeds(entries, own),
    foreignKeys: entries.filter(
      (entry) => entry.rest.startsWith('FK CONSTRAINT ') && entry.needs.some((id) => own.has(id)),
    ),
    attach: attaches.find((entry) => childOf(entry) === root),
    dependents: entries.filter(
      (entry) =>
        dependent.test(entry.rest) && !own.has(entry.dumpId) && entry.needs.some((id) => own.has(id)),
    ),
  };
}

/** The longest name that fits: what stands behind it is its owner. */
function nameOf(entry: NeedingEntry, tables: RelationName[]): RelationName | undefined {
  const fitting = tables.filter((name) => isTable(entry, name));
  return fitting.sort((one, other) => lineOf(other).length - lineOf(one).length)[0];
}

function isTable(entry: NeedingEntry, name: RelationName): boolean {
  return entry.rest.startsWith(`TABLE ${lineOf(name)} `);
}

/** As the list writes it: without line breaks. */
function lineOf({ schema, name }: RelationName): string {
  return `${schema} ${name}`.replaceAll(/[\r\n]/g, ' ');
}

function isSame(one: RelationName, other: RelationName): boolean {
  return one.schema === other.schema && one.name === other.name;
}

/** What follows the kind; undefined for another kind. */
function tail(entry: NeedingEntry, kind: string): string | undefined {
  return entry.rest.startsWith(`${kind} `) ? entry.rest.slice(kind.length + 1) : undefined;
}

/** The tables and what belongs to them, to any depth. A partition restored alone keeps nothing of its parent. */
function belongingTo(entries: NeedingEntry[], tables: ReadonlySet<number>): Set<number> {
  const own = new Set(tables);
  const isTableEntry = new Set(
    entries.filter((entry) => entry.rest.startsWith('TABLE ')).map((entry) => entry.dumpId),
  );
  for (let before = 0; before !== own.size;) {
    before = own.size;
    for (const entry of entries) {
      if (own.has(entry.dumpId) || !belonging.test(entry.rest)) continue;
      if (!entry.needs.some((id) => own.has(id))) continue;
      const joined = new Set(entry.needs.filter((id) => isTableEntry.has(id)));
      const isAttach = /^(?:TABLE|INDEX) ATTACH /.test(entry.rest);
      // Both ends have to be restored.
      if (isAttach && (joined.size < 2 || [...joined].some((id) => !tables.has(id)))) continue;
      own.add(entry.dumpId);
    }
  }
  return own;
}

/** With everything that they need, to any depth, in the order of the dump. */
function withNeeds(entries: NeedingEntry[], own: ReadonlySet<number>): NeedingEntry[] {
  const byId = new Map(entries.map((entry) => [entry.dumpId, entry]));
  const all = new Set<number>();
  const visit = (id: number): void => {
    const entry = byId.get(id);
    if (all.has(id) || entry === undefined) return;
    all.add(id);
    for (const needed of entry.needs) visit(needed);
  };
  for (const id of own) visit(id);
  return entries.filter((entry) => all.has(entry.dumpId));
}
