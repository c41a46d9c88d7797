import { splitTable } from '../config/table-name.ts';
import type { JobContext } from '../partition/context.ts';
import { listOptions, setOptionsSql, type OptionsRow } from '../sql/maintenance-options.ts';
import { displayName, relation } from '../sql/quote.ts';
import type { LeftOut, MaintenancePlan, Task } from './task.ts';

/** Settings of autovacuum by table, as the configuration has them: what differs is set. Other parameters stay as they are. */
export async function planAutovacuum({
  db,
  settings,
}: Pick<JobContext, 'db' | 'settings'>): Promise<MaintenancePlan> {
  const wanted = Object.entries(settings.maintenance.autovacuum);
  if (wanted.length === 0) return { tasks: [], leftOut: [], warnings: [] };
  const rows = await listOptions(
    db,
    wanted.map(([table]) => splitTable(table)),
  );
  const tasks: Task[] = [];
  const leftOut: LeftOut[] = [];
  for (const [written, parameters] of wanted) {
    const name = splitTable(written);
    const row = rows.find((item) => item.schema === name.schema && item.name === name.name);
    const obstacle = obstacleOf(row);
    if (row === undefined || obstacle !== undefined) {
      leftOut.push({ object: displayName(name), why: obstacle ?? 'there is no such table' });
      continue;
    }
    const drift = driftOf(row, parameters);
    if (drift.length > 0) tasks.push(taskOf(row, drift, settings.lockTimeoutMs));
  }
  return { tasks, leftOut, warnings: [] };
}

function obstacleOf(row: OptionsRow | undefined): string | undefined {
  if (row === undefined) return 'there is no table of that name';
  if (row.kind === 'p')
    return 'a partitioned table has no such settings: give them to its partitions (storageParameters)';
  return row.kind === 'r' || row.kind === 'm' ? undefined : 'it is no table';
}

interface Drift {
  name: string;
  wanted: string;
  /** Undefined: that of the server holds. */
  actual: string | undefined;
}

/** Pure. */
function driftOf(row: OptionsRow, parameters: Record<string, string>): Drift[] {
  return Object.entries(parameters)
    .map(([name, wanted]) => ({ name, wanted, actual: row.parameters[name] }))
    .filter(({ wanted, actual }) => actual === undefined || !isSame(wanted, actual));
}

/** 0.02 and 0.020 are one value, and so are true and on. */
function isSame(wanted: string, actual: string): boolean {
  const meaning = (text: string) =>
    ({ on: 'true', off: 'false', yes: 'true', no: 'false' })[text.toLowerCase()] ?? text.toLowerCase();
  return (
    meaning(wanted) === meaning(actual) ||
    (wanted.trim() !== '' && actual.trim() !== '' && Number(wanted) === Number(actual))
  );
}

function taskOf(row: OptionsRow, drift: Drift[], lockTimeoutMs: number): Task {
  const why = drift
    .map(({ name, wanted, actual }) => `${name} is ${actual ?? 'not set'}, and ${wanted} is wanted`)
    .join('; ');
  const target = { schema: row.schema, name: row.name };
  const parameters = Object.fromEntries(drift.map(({ name, wanted }) => [name, wanted]));
  return {
    verb: 'set',
    target,
    isMeasured: false,
    why,
    change: {
      summary: `set autovacuum of ${displayName(target)}`,
      table: displayName(target),
      kind: 'single',
      lockTimeoutMs,
      statementTimeoutMs: null,
      event: 'maintenance_set',
      steps: [
        {
          sql: setOptionsSql(target, parameters),
          locks: [{ table: relation(target), mode: 'SHARE UPDATE EXCLUSIVE' }],
          why,
        },
      ],
    },
  };
}
