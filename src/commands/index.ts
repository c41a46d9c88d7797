import type { CommandDefinition } from './command.ts';
import type * as Archive from './groups/archive.ts';
import type * as Backup from './groups/backup.ts';
import type * as Capacity from './groups/capacity.ts';
import type * as Daily from './groups/daily.ts';
import type * as Health from './groups/health.ts';
import type * as Indexes from './groups/indexes.ts';
import type * as Maintenance from './groups/maintenance.ts';
import type * as Inspect from './groups/inspect.ts';
import type * as Rare from './groups/rare.ts';
import type * as Rows from './groups/rows.ts';
import type * as Schedule from './groups/schedule.ts';
import type * as Setup from './groups/setup.ts';
import type * as Wal from './groups/wal.ts';
import type * as WalCare from './groups/wal-care.ts';
import type { runCommand } from './run.ts';

// Commands are bundled in groups: a chunk for each would make the start of one load forty small files.
type Group<Module> = Exclude<keyof Module, 'runCommand'>;
async function daily(name: Group<typeof Daily>): Promise<CommandModule> {
  const group = await import('./groups/daily.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function rare(name: Group<typeof Rare>): Promise<CommandModule> {
  const group = await import('./groups/rare.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function rows(name: Group<typeof Rows>): Promise<CommandModule> {
  const group = await import('./groups/rows.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function setup(name: Group<typeof Setup>): Promise<CommandModule> {
  const group = await import('./groups/setup.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function archive(name: Group<typeof Archive>): Promise<CommandModule> {
  const group = await import('./groups/archive.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function backup(name: Group<typeof Backup>): Promise<CommandModule> {
  const group = await import('./groups/backup.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function wal(name: Group<typeof Wal>): Promise<CommandModule> {
  const group = await import('./groups/wal.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function walCare(name: Group<typeof WalCare>): Promise<CommandModule> {
  const group = await import('./groups/wal-care.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function health(name: Group<typeof Health>): Promise<CommandModule> {
  const group = await import('./groups/health.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function maintenance(name: Group<typeof Maintenance>): Promise<CommandModule> {
  const group = await import('./groups/maintenance.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function inspect(name: Group<typeof Inspect>): Promise<CommandModule> {
  const group = await import('./groups/inspect.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function capacity(name: Group<typeof Capacity>): Promise<CommandModule> {
  const group = await import('./groups/capacity.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function schedule(name: Group<typeof Schedule>): Promise<CommandModule> {
  const group = await import('./groups/schedule.ts');
  return { command: group[name], runCommand: group.runCommand };
}

async function indexes(name: Group<typeof Indexes>): Promise<CommandModule> {
  const group = await import('./groups/indexes.ts');
  return { command: group[name], runCommand: group.runCommand };
}

/** What a command needs to run, loaded together. */
export interface CommandModule {
  command: CommandDefinition;
  runCommand: typeof runCommand;
}

/** A row of the command table. The module is loaded only when the command runs or its help is asked for. */
export interface CommandEntry {
  noun: string | null;
  verb: string;
  /** What the noun alone does. */
  isDefault?: true;
  summary: string;
  load: () => Promise<CommandModule>;
}

export const nouns: Record<string, string> = {
  partition: 'create, retire, convert and check partitions',
  archive: 'copy old partitions to a store with proof, and bring them back',
  backup: 'make backups, prove that they restore, and say what there is',
  wal: 'archive WAL as it is written, and fetch it for a recovery',
  restore: 'bring back what was backed up, and say what was reached',
  rows: 'delete, move and mask rows of large tables, batch by batch',
  health: 'say what is wrong, why it matters and what mends it',
  maintenance: 'vacuum, analyze and rebuild what needs it, in the order of need',
  inspect: 'show what the server does, what is large and what is slow',
  capacity: 'record what grows, and forecast when it is used up',
  schedule: 'run jobs at their time, and hand them to cron, systemd, Kubernetes or pg_cron',
  index: 'find, create and drop indexes while writers go on',
  config: 'show, check and describe the configuration',
};

/** What `dbops help` knows besides commands. */
export const helpTopics: readonly string[] = ['exit-codes', 'environment', 'config'];

export const commands: CommandEntry[] = [
  {
    noun: null,
    verb: 'init',
    summary: 'write a first dbops.yaml from what is in the database',
    load: () => rare('init'),
  },
  {
    noun: null,
    verb: 'doctor',
    summary: 'say what is there, what is missing and how to get it',
    load: () => rare('doctor'),
  },
  {
    noun: 'partition',
    verb: 'check',
    summary: 'find what is wrong with partitions, with the command that mends it',
    load: () => daily('partitionCheck'),
  },
  {
    noun: 'partition',
    verb: 'list',
    summary: 'show sets, partitions, bounds, rows and sizes',
    load: () => daily('partitionList'),
  },
  {
    noun: 'partition',
    verb: 'plan',
    summary: 'show what ensure and retention would do, all tables on one screen',
    load: () => daily('partitionPlan'),
  },
  {
    noun: 'partition',
    verb: 'ensure',
    summary: 'create the partitions that will be needed',
    load: () => daily('partitionEnsure'),
  },
  {
    noun: 'partition',
    verb: 'detach',
    summary: 'take partitions out of their table; their rows stay',
    load: () => daily('partitionDetach'),
  },
  {
    noun: 'partition',
    verb: 'attach',
    summary: 'make a table a partition, again or for the first time',
    load: () => daily('partitionAttach'),
  },
  {
    noun: 'partition',
    verb: 'drop',
    summary: 'drop detached partitions that are due, or by name',
    load: () => daily('partitionDrop'),
  },
  {
    noun: 'partition',
    verb: 'convert',
    summary: 'make a live table partitioned without copying it',
    load: () => rare('partitionConvert'),
  },
  {
    noun: 'partition',
    verb: 'drain',
    summary: 'split a default or legacy partition into periods',
    load: () => rare('partitionDrain'),
  },
  {
    noun: 'partition',
    verb: 'prune-check',
    summary: 'say which statements read every partition, and why',
    load: () => rare('partitionPruneCheck'),
  },
  {
    noun: 'archive',
    verb: 'run',
    summary: 'copy what is due to its stores, prove the copy, detach, drop after the quarantine',
    load: () => archive('archiveRun'),
  },
  {
    noun: 'archive',
    verb: 'restore',
    summary: 'make a table from an archive again, proven, and attach it where wished',
    load: () => archive('archiveRestore'),
  },
  {
    noun: 'archive',
    verb: 'list',
    summary: 'show what is archived, where, and until when',
    load: () => archive('archiveList'),
  },
  {
    noun: 'archive',
    verb: 'show',
    summary: 'show everything that is known of one archive',
    load: () => archive('archiveShow'),
  },
  {
    noun: 'archive',
    verb: 'query',
    summary: 'read archives with SQL, where they lie and without a database',
    load: () => archive('archiveQuery'),
  },
  {
    noun: 'archive',
    verb: 'verify',
    summary: 'read archives back from their stores and say what is wrong',
    load: () => archive('archiveVerify'),
  },
  {
    noun: 'archive',
    verb: 'hold',
    summary: 'keep an archive whatever its retention says',
    load: () => archive('archiveHold'),
  },
  {
    noun: 'archive',
    verb: 'release',
    summary: 'take a hold off an archive',
    load: () => archive('archiveRelease'),
  },
  {
    noun: 'archive',
    verb: 'prune',
    summary: 'remove archives past their retention, and what killed runs left in the stores',
    load: () => archive('archivePrune'),
  },
  {
    noun: 'archive',
    verb: 'schema',
    summary: 'print the JSON Schema of manifest.json, for programs of others',
    load: () => archive('archiveSchema'),
  },
  {
    noun: 'backup',
    verb: 'create',
    summary: 'make a backup of a database, a table or the whole cluster',
    load: () => backup('backupCreate'),
  },
  {
    noun: 'backup',
    verb: 'list',
    summary: 'show what there is, where, how old, and whether it was verified and drilled',
    load: () => backup('backupList'),
  },
  {
    noun: 'backup',
    verb: 'show',
    summary: 'show everything of one backup, or how one gets to a moment',
    load: () => backup('backupShow'),
  },
  {
    noun: 'backup',
    verb: 'verify',
    summary: 'read backups back from their stores and say what is wrong',
    load: () => backup('backupVerify'),
  },
  {
    noun: 'backup',
    verb: 'hold',
    summary: 'keep a backup whatever its retention says',
    load: () => backup('backupHold'),
  },
  {
    noun: 'backup',
    verb: 'release',
    summary: 'take a hold off a backup',
    load: () => backup('backupRelease'),
  },
  {
    noun: 'backup',
    verb: 'drill',
    summary: 'restore a backup where nobody works, and prove what came back',
    load: () => backup('backupDrill'),
  },
  {
    noun: 'backup',
    verb: 'prune',
    summary: 'remove backups that no rule keeps, WAL that none needs, and what killed runs left',
    load: () => backup('backupPrune'),
  },
  {
    noun: 'backup',
    verb: 'schema',
    summary: 'print the JSON Schema of the manifest of a backup',
    load: () => backup('backupSchema'),
  },
  {
    noun: 'wal',
    verb: 'push',
    summary: 'archive a file of pg_wal, for archive_command',
    load: () => wal('walPush'),
  },
  {
    noun: 'wal',
    verb: 'fetch',
    summary: 'bring a file of pg_wal back, for restore_command',
    load: () => wal('walFetch'),
  },
  {
    noun: 'wal',
    verb: 'commands',
    summary: 'print what postgresql.conf needs, and register the cluster in its stores',
    load: () => walCare('walCommands'),
  },
  {
    noun: 'wal',
    verb: 'status',
    summary: 'show what WAL is archived, its gaps and lag, and what can be reached with it',
    load: () => walCare('walStatus'),
  },
  {
    noun: 'wal',
    verb: 'receive',
    summary: 'archive WAL through a replication slot, where archive_command cannot be set',
    load: () => walCare('walReceive'),
  },
  {
    noun: 'restore',
    verb: 'pitr',
    summary: 'recover the whole cluster to a time, an LSN or a restore point, from the stores alone',
    load: () => backup('restorePitr'),
  },
  {
    noun: 'restore',
    verb: 'database',
    summary: 'restore a database beside what is there, compared with its backup, or in its place',
    load: () => backup('restoreDatabase'),
  },
  {
    noun: 'restore',
    verb: 'table',
    summary: 'restore a table with its partitions from a dump, beside what is there',
    load: () => backup('restoreTable'),
  },
  {
    noun: 'restore',
    verb: 'partition',
    summary: 'restore a partition from a dump as a table, to be attached again',
    load: () => backup('restorePartition'),
  },
  {
    noun: 'rows',
    verb: 'purge',
    summary: 'delete old rows, in batches',
    load: () => rows('rowsPurge'),
  },
  {
    noun: 'rows',
    verb: 'move',
    summary: 'move old rows to an archive table, in batches',
    load: () => rows('rowsMove'),
  },
  {
    noun: 'rows',
    verb: 'mask',
    summary: 'overwrite personal data, in batches',
    load: () => rows('rowsMask'),
  },
  {
    noun: 'rows',
    verb: 'run',
    summary: 'do what the configuration says, for cron',
    load: () => rows('rowsRun'),
  },
  {
    noun: 'rows',
    verb: 'jobs',
    summary: 'list jobs and how far they have come',
    load: () => rows('rowsJobs'),
  },
  {
    noun: 'rows',
    verb: 'resume',
    summary: 'go on with a job that was stopped',
    load: () => rows('rowsResume'),
  },
  {
    noun: 'rows',
    verb: 'cancel',
    summary: 'end a job where it stands',
    load: () => rows('rowsCancel'),
  },
  {
    noun: 'health',
    verb: 'run',
    isDefault: true,
    summary: 'run the checks of a profile, and show what they found',
    load: () => health('healthRun'),
  },
  {
    noun: 'health',
    verb: 'list',
    summary: 'list the checks, with what each is judged by',
    load: () => health('healthList'),
  },
  {
    noun: 'health',
    verb: 'explain',
    summary: 'say why a check matters, what it asks and what mends it',
    load: () => health('healthExplain'),
  },
  {
    noun: 'maintenance',
    verb: 'vacuum',
    summary: 'vacuum the tables that need it, with what each looked like before and after',
    load: () => maintenance('maintenanceVacuum'),
  },
  {
    noun: 'maintenance',
    verb: 'analyze',
    summary: 'gather the statistics that are old or missing',
    load: () => maintenance('maintenanceAnalyze'),
  },
  {
    noun: 'maintenance',
    verb: 'reindex',
    summary: 'rebuild indexes concurrently, and remove what failed rebuilds left behind',
    load: () => maintenance('maintenanceReindex'),
  },
  {
    noun: 'maintenance',
    verb: 'refresh',
    summary: 'refresh the materialized views that are due, while readers go on',
    load: () => maintenance('maintenanceRefresh'),
  },
  {
    noun: 'maintenance',
    verb: 'autovacuum',
    summary: 'set what the configuration says of autovacuum for single tables',
    load: () => maintenance('maintenanceAutovacuum'),
  },
  {
    noun: 'maintenance',
    verb: 'run',
    summary: 'do all that is due, in the order of need, for cron',
    load: () => maintenance('maintenanceRun'),
  },
  {
    noun: 'inspect',
    verb: 'activity',
    summary: 'show what runs and what is idle in a transaction, longest first',
    load: () => inspect('inspectActivity'),
  },
  {
    noun: 'inspect',
    verb: 'locks',
    summary: 'show who waits for whom, and what would end the wait',
    load: () => inspect('inspectLocks'),
  },
  {
    noun: 'inspect',
    verb: 'slow',
    summary: 'show the statements that cost most',
    load: () => inspect('inspectSlow'),
  },
  {
    noun: 'inspect',
    verb: 'connections',
    summary: 'show who takes the connections',
    load: () => inspect('inspectConnections'),
  },
  {
    noun: 'inspect',
    verb: 'sizes',
    summary: 'show the largest tables with their indexes and TOAST',
    load: () => inspect('inspectSizes'),
  },
  {
    noun: 'inspect',
    verb: 'bloat',
    summary: 'show tables and indexes with the most air, by estimate',
    load: () => inspect('inspectBloat'),
  },
  {
    noun: 'inspect',
    verb: 'tables',
    summary: 'show how tables are written, read and vacuumed',
    load: () => inspect('inspectTables'),
  },
  {
    noun: 'inspect',
    verb: 'indexes',
    summary: 'show indexes by size and use',
    load: () => inspect('inspectIndexes'),
  },
  {
    noun: 'capacity',
    verb: 'record',
    summary: 'keep the figures of today, for forecasts',
    load: () => capacity('capacityRecord'),
  },
  {
    noun: 'capacity',
    verb: 'forecast',
    summary: 'say what grows, and when disks, sequences and transaction ids are used up',
    load: () => capacity('capacityForecast'),
  },
  {
    noun: 'schedule',
    verb: 'list',
    summary: 'show the jobs, when they are due and how they last ended',
    load: () => schedule('scheduleList'),
  },
  {
    noun: 'schedule',
    verb: 'render',
    summary: 'print what a scheduler needs to run the jobs',
    load: () => schedule('scheduleRender'),
  },
  {
    noun: 'schedule',
    verb: 'install',
    summary: 'write the jobs into the crontab of this user',
    load: () => schedule('scheduleInstall'),
  },
  {
    noun: 'schedule',
    verb: 'remove',
    summary: 'take the jobs out of the crontab of this user',
    load: () => schedule('scheduleRemove'),
  },
  {
    noun: 'schedule',
    verb: 'run',
    summary: 'run a job alone, recorded, within its time limit',
    load: () => schedule('scheduleRun'),
  },
  {
    noun: null,
    verb: 'tune',
    summary: 'compare settings with what memory, cores and disk suggest, and print ALTER SYSTEM lines',
    load: () => capacity('tune'),
  },
  {
    noun: 'index',
    verb: 'list',
    summary: 'show indexes with their use, and which are safe to drop',
    load: () => indexes('indexList'),
  },
  {
    noun: 'index',
    verb: 'create',
    summary: 'create an index while writers go on, on partitioned tables as well',
    load: () => indexes('indexCreate'),
  },
  {
    noun: 'index',
    verb: 'drop',
    summary: 'drop an index while writers go on, with what makes it again kept',
    load: () => indexes('indexDrop'),
  },
  {
    noun: 'index',
    verb: 'ensure',
    summary: 'create the indexes of the configuration that are missing',
    load: () => indexes('indexEnsure'),
  },
  {
    noun: 'config',
    verb: 'show',
    summary: 'print each value and where it came from',
    load: () => setup('configShow'),
  },
  {
    noun: 'config',
    verb: 'check',
    summary: 'say everything that is wrong in the configuration',
    load: () => setup('configCheck'),
  },
  {
    noun: 'config',
    verb: 'schema',
    summary: 'print the JSON Schema of the file, for editors',
    load: () => setup('configSchema'),
  },
  {
    noun: null,
    verb: 'history',
    summary: 'list what dbops has done in this database',
    load: () => setup('history'),
  },
  {
    noun: null,
    verb: 'completion',
    summary: 'print the completion script of a shell',
    load: () => setup('completion'),
  },
  {
    noun: null,
    verb: 'help',
    summary: 'explain a command or a topic',
    load: () => setup('help'),
  },
];
