import { humanBytes } from '../../output/human.ts';
import { displayName, relation, visible } from '../../sql/quote.ts';
import { showPoint } from './cutover.ts';
import { strongLockTimeoutMs } from './swap.ts';
import type { ConvertTarget } from './target.ts';

/** What is locked, and for how long. */
export interface LockLine {
  table: string;
  mode: string;
  howLong: string;
}

/** The locks of a convert for people, step by step. Pure. */
export function describeLocks(target: ConvertTarget): LockLine[] {
  const { facts, label } = target;
  const size = humanBytes(facts.table.sizeBytes);
  const lines: LockLine[] = [];
  if (target.primaryKey?.isExchanged === true && target.newIndexState !== 'ready') {
    lines.push({
      table: label,
      mode: 'SHARE UPDATE EXCLUSIVE',
      howLong: `while the unique index is built over ${size}; readers and writers go on`,
    });
  }
  if (target.begun === undefined) {
    lines.push({
      table: label,
      mode: 'ACCESS EXCLUSIVE',
      howLong: 'an instant, to add the CHECK unvalidated',
    });
  }
  if (!target.isChecked) {
    lines.push({
      table: label,
      mode: 'SHARE UPDATE EXCLUSIVE',
      howLong: `while the CHECK is validated over ${size}; readers and writers go on`,
    });
  }
  const swap = `milliseconds, in the swap; waited for at most ${String(strongLockTimeoutMs)} ms a try`;
  lines.push({ table: label, mode: 'ACCESS EXCLUSIVE', howLong: swap });
  const others = new Set([
    ...facts.constraints
      .filter((item) => item.type === 'f' && !item.isSelfReference)
      .map((item) => item.target ?? ''),
    ...facts.incoming.map((item) => item.table),
    ...facts.views.map((item) => relation(item)),
  ]);
  others.delete(relation(facts.table));
  for (const table of others) lines.push({ table: visible(table), mode: 'ACCESS EXCLUSIVE', howLong: swap });
  return lines;
}

/** What changes for the application, and what is lost. Pure. */
export function describeNotes(target: ConvertTarget): string[] {
  const { facts, wish, primaryKey } = target;
  const cutover = showPoint(target.cutover, target.codec, target.zone);
  const notes = [
    `From the first step until the swap, rows at or past ${cutover} are refused; --undo ends that.`,
  ];
  if (primaryKey?.isExchanged === true) {
    const old = primaryKey.index.columns.map(visible).join(', ');
    const fresh = primaryKey.columns.map(visible).join(', ');
    notes.push(
      `The primary key becomes (${fresh}): (${old}) alone is no longer unique, and ON CONFLICT (${old}) no longer works.`,
    );
  }
  for (const key of facts.incoming) {
    if (!wish.dropIncomingForeignKeys) continue;
    notes.push(
      `Foreign key ${visible(key.name)} of ${visible(key.table)} is dropped: nothing checks those references any more, ` +
        'and its ON DELETE and ON UPDATE no longer act. --undo brings it back NOT VALID.',
    );
  }
  for (const item of facts.dependents) {
    if (wish.leaveBehind.includes(item.identity))
      notes.push(
        `${visible(item.description)} stays with ${displayName(target.legacy)} and sees no newer rows.`,
      );
  }
  notes.push(
    `Run "analyze ${relation(facts.table)}" afterwards: the parent has no statistics of its own yet.`,
  );
  return notes;
}
