import type { CommandDefinition } from './command.ts';
import type { runCommand } from './run.ts';

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

type Load = CommandEntry['load'];

/** Commands are bundled in groups: a chunk for each would make the start of one load forty small files. */
function from<Module extends { runCommand: typeof runCommand }>(importGroup: () => Promise<Module>) {
  return (name: Exclude<keyof Module, 'runCommand'>): Load =>
    async () => {
      const group = await importGroup();
      return { command: group[name] as CommandDefinition, runCommand: group.runCommand };
    };
}

const daily = from(() => import('./groups/daily.ts'));
const rare = from(() => import('./groups/rare.ts'));
const rows = from(() => import('./groups/rows.ts'));
const setup = from(() => import('./groups/setup.ts'));
const archive = from(() => import('./groups/archive.ts'));
const backup = from(() => import('./groups/backup.ts'));
const wal = from(() => import('./groups/wal.ts'));
const walCare = from(() => import('./groups/wal-care.ts'));
const health = from(() => import('./groups/health.ts'));
const maintenance = from(() => import('./groups/maintenance.ts'));
const inspect = from(() => import('./groups/inspect.ts'));
const capacity = from(() => import('./groups/capacity.ts'));
const schedule = from(() => import('./groups/schedule.ts'));
const indexes = from(() => import('./groups/indexes.ts'));

/** The verbs of a noun, in the order of its help: what each does, and where it is. */
function of(noun: string | null, verbs: Record<string, [summary: string, load: Load]>, alone?: string) {
  return Object.entries(verbs).map(([verb, [summary, load]]): CommandEntry => ({
    noun,
    verb,
    summary,
    load,
    ...(verb === alone ? { isDefault: true } : {}),
  }));
}

export const commands: CommandEntry[] = [
  ...of(null, {
    init: ['write a first dbops.yaml from what is in the database', rare('init')],
    doctor: ['say what is there, what is missing and how to get it', rare('doctor')],
  }),
  ...of('partition', {
    check: ['find what is wrong with partitions, with the command that mends it', daily('partitionCheck')],
    list: ['show sets, partitions, bounds, rows and sizes', daily('partitionList')],
    plan: ['show what ensure and retention would do, all tables on one screen', daily('partitionPlan')],
    ensure: ['create the partitions that will be needed', daily('partitionEnsure')],
    detach: ['take partitions out of their table; their rows stay', daily('partitionDetach')],
    attach: ['make a table a partition, again or for the first time', daily('partitionAttach')],
    drop: ['drop detached partitions that are due, or by name', daily('partitionDrop')],
    convert: ['make a live table partitioned without copying it', rare('partitionConvert')],
    drain: ['split a default or legacy partition into periods', rare('partitionDrain')],
    'prune-check': ['say which statements read every partition, and why', rare('partitionPruneCheck')],
  }),
  ...of('archive', {
    run: [
      'copy what is due to its stores, prove the copy, detach, drop after the quarantine',
      archive('archiveRun'),
    ],
    restore: [
      'make a table from an archive again, proven, and attach it where wished',
      archive('archiveRestore'),
    ],
    list: ['show what is archived, where, and until when', archive('archiveList')],
    show: ['show everything that is known of one archive', archive('archiveShow')],
    query: ['read archives with SQL, where they lie and without a database', archive('archiveQuery')],
    verify: ['read archives back from their stores and say what is wrong', archive('archiveVerify')],
    hold: ['keep an archive whatever its retention says', archive('archiveHold')],
    release: ['take a hold off an archive', archive('archiveRelease')],
    prune: [
      'remove archives past their retention, and what killed runs left in the stores',
      archive('archivePrune'),
    ],
    schema: ['print the JSON Schema of manifest.json, for programs of others', archive('archiveSchema')],
  }),
  ...of('backup', {
    create: ['make a backup of a database, a table or the whole cluster', backup('backupCreate')],
    list: [
      'show what there is, where, how old, and whether it was verified and drilled',
      backup('backupList'),
    ],
    show: ['show everything of one backup, or how one gets to a moment', backup('backupShow')],
    verify: ['read backups back from their stores and say what is wrong', backup('backupVerify')],
    hold: ['keep a backup whatever its retention says', backup('backupHold')],
    release: ['take a hold off a backup', backup('backupRelease')],
    drill: ['restore a backup where nobody works, and prove what came back', backup('backupDrill')],
    prune: [
      'remove backups that no rule keeps, WAL that none needs, and what killed runs left',
      backup('backupPrune'),
    ],
    schema: ['print the JSON Schema of the manifest of a backup', backup('backupSchema')],
  }),
  ...of('wal', {
    push: ['archive a file of pg_wal, for archive_command', wal('walPush')],
    fetch: ['bring a file of pg_wal back, for restore_command', wal('walFetch')],
    commands: [
      'print what postgresql.conf needs, and register the cluster in its stores',
      walCare('walCommands'),
    ],
    status: [
      'show what WAL is archived, its gaps and lag, and what can be reached with it',
      walCare('walStatus'),
    ],
    receive: [
      'archive WAL through a replication slot, where archive_command cannot be set',
      walCare('walReceive'),
    ],
  }),
  ...of('restore', {
    pitr: [
      'recover the whole cluster to a time, an LSN or a restore point, from the stores alone',
      backup('restorePitr'),
    ],
    database: [
      'restore a database beside what is there, compared with its backup, or in its place',
      backup('restoreDatabase'),
    ],
    table: ['restore a table with its partitions from a dump, beside what is there', backup('restoreTable')],
    partition: [
      'restore a partition from a dump as a table, to be attached again',
      backup('restorePartition'),
    ],
  }),
  ...of('rows', {
    purge: ['delete old rows, in batches', rows('rowsPurge')],
    move: ['move old rows to an archive table, in batches', rows('rowsMove')],
    mask: ['overwrite personal data, in batches', rows('rowsMask')],
    run: ['do what the configuration says, for cron', rows('rowsRun')],
    jobs: ['list jobs and how far they have come', rows('rowsJobs')],
    resume: ['go on with a job that was stopped', rows('rowsResume')],
    cancel: ['end a job where it stands', rows('rowsCancel')],
  }),
  ...of(
    'health',
    {
      run: ['run the checks of a profile, and show what they found', health('healthRun')],
      list: ['list the checks, with what each is judged by', health('healthList')],
      explain: ['say why a check matters, what it asks and what mends it', health('healthExplain')],
    },
    'run',
  ),
  ...of('maintenance', {
    vacuum: [
      'vacuum the tables that need it, with what each looked like before and after',
      maintenance('maintenanceVacuum'),
    ],
    analyze: ['gather the statistics that are old or missing', maintenance('maintenanceAnalyze')],
    reindex: [
      'rebuild indexes concurrently, and remove what failed rebuilds left behind',
      maintenance('maintenanceReindex'),
    ],
    refresh: [
      'refresh the materialized views that are due, while readers go on',
      maintenance('maintenanceRefresh'),
    ],
    autovacuum: [
      'set what the configuration says of autovacuum for single tables',
      maintenance('maintenanceAutovacuum'),
    ],
    run: ['do all that is due, in the order of need, for cron', maintenance('maintenanceRun')],
  }),
  ...of('inspect', {
    activity: ['show what runs and what is idle in a transaction, longest first', inspect('inspectActivity')],
    locks: ['show who waits for whom, and what would end the wait', inspect('inspectLocks')],
    slow: ['show the statements that cost most', inspect('inspectSlow')],
    connections: ['show who takes the connections', inspect('inspectConnections')],
    sizes: ['show the largest tables with their indexes and TOAST', inspect('inspectSizes')],
    bloat: ['show tables and indexes with the most air, by estimate', inspect('inspectBloat')],
    tables: ['show how tables are written, read and vacuumed', inspect('inspectTables')],
    indexes: ['show indexes by size and use', inspect('inspectIndexes')],
  }),
  ...of('capacity', {
    record: ['keep the figures of today, for forecasts', capacity('capacityRecord')],
    forecast: [
      'say what grows, and when disks, sequences and transaction ids are used up',
      capacity('capacityForecast'),
    ],
  }),
  ...of('schedule', {
    list: ['show the jobs, when they are due and how they last ended', schedule('scheduleList')],
    render: ['print what a scheduler needs to run the jobs', schedule('scheduleRender')],
    install: ['write the jobs into the crontab of this user', schedule('scheduleInstall')],
    remove: ['take the jobs out of the crontab of this user', schedule('scheduleRemove')],
    run: ['run a job alone, recorded, within its time limit', schedule('scheduleRun')],
  }),
  ...of(null, {
    tune: [
      'compare settings with what memory, cores and disk suggest, and print ALTER SYSTEM lines',
      capacity('tune'),
    ],
  }),
  ...of('index', {
    list: ['show indexes with their use, and which are safe to drop', indexes('indexList')],
    create: ['create an index while writers go on, on partitioned tables as well', indexes('indexCreate')],
    drop: ['drop an index while writers go on, with what makes it again kept', indexes('indexDrop')],
    ensure: ['create the indexes of the configuration that are missing', indexes('indexEnsure')],
  }),
  ...of('config', {
    show: ['print each value and where it came from', setup('configShow')],
    check: ['say everything that is wrong in the configuration', setup('configCheck')],
    schema: ['print the JSON Schema of the file, for editors', setup('configSchema')],
  }),
  ...of(null, {
    history: ['list what dbops has done in this database', setup('history')],
    completion: ['print the completion script of a shell', setup('completion')],
    help: ['explain a command or a topic', setup('help')],
  }),
];
