import { shellWord } from '../../../output/shell-word.ts';
import type { Program } from '../../../process/pipeline.ts';
import type { RelationName } from '../../../sql/quote.ts';
import type { BackupContext } from '../../context.ts';
import type { LogicalPlan } from './plan.ts';

/** What belongs to one attempt at a dump. */
export interface DumpTarget {
  snapshotId: string;
  /** The directory that pg_dump makes; not for the other formats. */
  directory?: string;
  /** What to take; empty: everything. */
  names: RelationName[];
}

type DumpPlan = Pick<LogicalPlan, 'tools' | 'format' | 'jobs' | 'excluded' | 'withGlobals' | 'selected'>;

/** pg_dump with its arguments. It waits for no lock longer than lock_timeout, and asks for no password. */
export function pgDump(context: BackupContext, plan: DumpPlan, target: DumpTarget): Program {
  const formats = {
    directory: ['-Fd', '-j', String(plan.jobs), '-f', target.directory ?? '', '--no-sync', '-Z', '0'],
    custom: ['-Fc', '-Z', '0'],
    plain: ['-s'],
  };
  return {
    path: plan.tools.pg_dump.path,
    args: [
      ...formats[plan.format],
      '-v',
      '-w',
      `--snapshot=${target.snapshotId}`,
      `--lock-wait-timeout=${String(context.settings.lockTimeoutMs)}`,
      ...plan.excluded.map((pattern) => `--exclude-table-data=${pattern.text}`),
      ...target.names.map((name) => `--table=${pattern(name)}`),
    ],
  };
}

/** A pattern that names one table: within double quotes nothing is special. */
function pattern({ schema, name }: RelationName): string {
  return [schema, name].map((part) => `"${part.replaceAll('"', '""')}"`).join('.');
}

/** zstd to stdout, of a file or of stdin. */
export function zstd(
  context: BackupContext,
  plan: Pick<LogicalPlan, 'tools' | 'jobs'>,
  file?: string,
): Program {
  const level = `-${String(context.settings.backup.compressionLevel)}`;
  return {
    path: plan.tools.zstd.path,
    args: ['-q', '-c', level, `-T${String(context.jobs)}`, ...(file === undefined ? [] : ['--', file])],
  };
}

/** pg_dumpall for what belongs to no database; without the right to read pg_authid, without passwords. */
export function pgDumpall(context: BackupContext, plan: DumpPlan, withPasswords: boolean): Program {
  return {
    path: plan.tools.pg_dumpall.path,
    args: ['-g', '-w', '-l', context.db.server.database, ...(withPasswords ? [] : ['--no-role-passwords'])],
  };
}

/** The environment of a dump: a role's own settings would end it. Messages are read, so they are in English. */
export function dumpEnvironment(context: BackupContext): Record<string, string> {
  const timeouts = ['statement_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout'];
  // As without it, a dump is in the encoding of its database.
  const connection = Object.entries(context.connection).filter(([name]) => name !== 'PGCLIENTENCODING');
  return {
    ...Object.fromEntries(connection),
    PGOPTIONS: [...timeouts, 'lock_timeout'].map((name) => `-c ${name}=0`).join(' '),
    LC_ALL: 'C',
  };
}

/** One line a program, as a shell takes it. */
export function commandLine(programs: Program[]): string {
  return programs.map((program) => [program.path, ...program.args].map(shellWord).join(' ')).join(' | ');
}

/** The commands for --dry-run; what is known at the run only stands in angle brackets. */
export function describeSteps(context: BackupContext, plan: DumpPlan, names: RelationName[]): string[] {
  const directory = `${context.workDirectory}/<work>/dump`;
  const dump = pgDump(context, plan, {
    snapshotId: '<snapshot>',
    directory,
    names,
  });
  const store = (name: string) => ` > ${context.settings.backup.copies.join(', ')}: ${name}`;
  const globals = plan.withGlobals
    ? [`${commandLine([pgDumpall(context, plan, true), zstd(context, plan)])}${store('globals.sql.zst')}`]
    : [];
  const needed = plan.selected === null ? [] : [`what the tables need${store('requirements.sql.zst')}`];
  switch (plan.format) {
    case 'plain':
      return [...globals, `${commandLine([dump, zstd(context, plan)])}${store('schema.sql.zst')}`];
    case 'custom':
      return [
        ...globals,
        ...needed,
        `${commandLine([dump, zstd(context, plan)])}${store('dump.custom.zst')}`,
      ];
    case 'directory':
      return [
        ...globals,
        ...needed,
        commandLine([dump]),
        `${commandLine([zstd(context, plan, `${directory}/<file>`)])}${store('dump/<file>.zst')}`,
      ];
  }
}
