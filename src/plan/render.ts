import type { Change } from './step.ts';

/**
 * The plan as a psql script that does what the run does, apart from the retries: with ON_ERROR_STOP a lock timeout ends
 * the script, and running it again from that change goes on.
 */
export function renderScript(changes: Change[], title: string): string {
  const lines = [
    `-- ${oneLine(title)}`,
    '\\set ON_ERROR_STOP on',
    "set timezone = 'UTC';",
    "set datestyle = 'ISO, YMD';",
    "set search_path = '';",
    '',
  ];
  for (const change of changes) {
    lines.push(`-- ${oneLine(change.summary)}`);
    lines.push(...changeLines(change), '');
  }
  if (changes.length === 0) lines.push('-- nothing to do', '');
  return lines.join('\n');
}

/** The settings that a change runs under. In a transaction they are local to it. */
function settingsOf(change: Change): string[] {
  const local = change.kind === 'transaction' ? 'local ' : '';
  return [
    `set ${local}lock_timeout = '${String(change.lockTimeoutMs ?? 0)}ms'`,
    `set ${local}statement_timeout = '${String(change.statementTimeoutMs ?? 0)}ms'`,
  ];
}

/** The statements of a change in the order in which they are sent, `begin` and `commit` left out. */
export function statementsOf(change: Change): string[] {
  const local = change.kind === 'transaction' ? 'local ' : '';
  return [
    ...settingsOf(change),
    ...change.steps.flatMap((step) =>
      step.lockTimeoutMs === undefined
        ? [step.sql]
        : [
            `set ${local}lock_timeout = '${String(step.lockTimeoutMs)}ms'`,
            // Never shorter than the wait for the lock, however large deadlock_timeout is.
            `set ${local}statement_timeout = '${String(step.lockTimeoutMs + 1000)}ms'`,
            step.sql,
            ...settingsOf(change),
          ],
    ),
  ];
}

function changeLines(change: Change): string[] {
  const remarks = change.steps.map((step) => {
    const locks = step.locks.map((lock) => `${lock.mode} on ${lock.table}`).join(', ');
    return `--   ${oneLine(step.why)}${locks === '' ? '' : `; locks: ${oneLine(locks)}`}`;
  });
  for (const need of change.startWhenFree ?? []) {
    remarks.push(
      `--   begins only when no lasting transaction holds what conflicts with ${need.mode} on ${oneLine(need.table)}`,
    );
  }
  const statements = statementsOf(change).map((sql) => `${sql};`);
  const wrapped = change.kind === 'transaction' ? ['begin;', ...statements, 'commit;'] : statements;
  return [...new Set(remarks), ...wrapped];
}

/** A newline in a name must not turn the rest of a comment into a statement. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, ' ');
}
