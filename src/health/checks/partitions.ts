import type { PartitionCheck } from '../../partition/inspect/check.ts';
import { checkPartitions } from '../../partition/inspect/check-all.ts';
import { skip, type Check, type CheckContext, type Look, type Profile } from '../check.ts';
import { oncePerRun } from '../once.ts';

/** What is said of one kind of finding of "partition check". */
interface Entry {
  answers: string;
  why: string;
  advice: string;
}

const entries: Record<PartitionCheck, Entry> = {
  configuration: {
    answers: 'whether each entry of "partitions:" fits the table that it names',
    why: 'A table whose entry does not fit gets no partitions, and its rows are not archived.',
    advice: 'Correct the entry; "dbops partition list" shows what is there.',
  },
  runway: {
    answers: 'for how long partitions are there ahead of now',
    why: 'When the last one is full every insert fails, or goes to the default partition.',
    advice: 'Run "dbops partition ensure", and look why its cron job did not.',
  },
  gap: {
    answers: 'whether partitions are missing between others',
    why: 'A row of that time cannot be inserted.',
    advice: 'Let ensure fill the gap.',
  },
  bounds: {
    answers: 'whether the bounds of partitions can be continued',
    why: 'Where they cannot, no partition is created any more.',
    advice: 'Correct interval and key of the entry.',
  },
  'bounds-off-grid': {
    answers: 'whether bounds lie where the configured interval and time zone put them',
    why: 'New partitions go on from the bounds that are there, so days begin at another hour than people think.',
    advice: 'Set the time zone that the bounds were made in, where that is what was meant.',
  },
  'detach-pending': {
    answers: 'whether a detach was interrupted',
    why: 'Its rows are in no query, and inserts of its range fail.',
    advice: 'Run "dbops partition ensure", which finishes it.',
  },
  'default-rows': {
    answers: 'whether rows lie in a default partition',
    why: 'No partition can be created for the time of these rows, and each new one has to look through them all.',
    advice: 'Drain it into partitions of their own.',
  },
  'leaf-differs': {
    answers: 'whether a partition has another owner, other grants or another row security than its parent',
    why: 'Who may read the table by its parent cannot read the partition, or the other way round.',
    advice: 'Give it what its parent has.',
  },
  index: {
    answers: 'whether an index of a partitioned table is missing on partitions, or not valid',
    why: 'Queries read such partitions whole.',
    advice: 'Create it concurrently on each, and attach it.',
  },
  archive: {
    answers: 'whether the ledger of archives can be read',
    why: 'Without it nobody knows which partition has an archive.',
    advice: 'Give the role what it takes.',
  },
  'archive-failed': {
    answers: 'whether the archive of a partition that is due failed',
    why: 'Without an archive the partition stays, and the table grows.',
    advice: 'Mend what the message says, and run the archive again.',
  },
  'archive-unproven': {
    answers: 'whether a detached partition is not yet proven to be in its archive',
    why: 'It is in no query, and nothing drops it.',
    advice: 'Run the archive again: it proves what is there and goes on.',
  },
  'archive-copies': {
    answers: 'whether each archive is in as many stores as it has to be',
    why: 'One store that is lost may take the only copy with it.',
    advice: 'Run the archive again, which makes the copies that are missing.',
  },
  'convert-begun': {
    answers: 'whether a convert was begun and not finished',
    why: 'Rows past its cutover are refused until it is finished or taken back.',
    advice: 'Run it again, or undo it.',
  },
  leftover: {
    answers: 'whether interrupted runs left tables or constraints behind',
    why: 'Such a table costs space, and such a constraint makes inserts fail.',
    advice: 'Run "dbops partition ensure", which removes them.',
  },
  state: {
    answers: 'whether the history and the ledger of partitions can be read',
    why: 'Without them nobody knows what was detached, and when ensure last succeeded.',
    advice: 'Give the role what it takes.',
  },
  'ensure-overdue': {
    answers: 'whether "partition ensure" has ended well within its interval',
    why: 'Nothing else creates the partitions that are needed next.',
    advice: 'Look at its cron job, and at "dbops history".',
  },
  'detach-interrupted': {
    answers: 'whether a partition was detached by a run that could not say so',
    why: 'It is in no query, and no policy knows of it.',
    advice: 'Run "dbops partition detach --due", which takes it up.',
  },
  'drop-overdue': {
    answers: 'whether a detached partition is past its date',
    why: 'It was to be gone, for space or for the law.',
    advice: 'Drop what is due.',
  },
  'detached-forgotten': {
    answers: 'whether a partition was detached long ago, and no policy drops it',
    why: 'Its rows are in no query, and cost space for ever.',
    advice: 'Drop it, or attach it again.',
  },
  'not-configured': {
    answers: 'whether there are partitioned tables that the configuration does not name',
    why: 'Nobody creates their partitions.',
    advice: 'Give each an entry; "dbops init" proposes one.',
  },
};

const profiles: readonly Profile[] = ['daily', 'weekly', 'monthly', 'deploy'];

const findings = oncePerRun(async ({ db, settings, now }: CheckContext) =>
  checkPartitions({ db, settings, now }, true),
);

/** What "partition check" finds, a check for each kind of finding; all of them look once. */
export const partitions: Check[] = (Object.entries(entries) as [PartitionCheck, Entry][]).map(
  ([name, entry]) => ({
    id: `partitions.${name}`,
    group: 'partitions',
    ...entry,
    profiles,
    asks: 'what "dbops partition check" asks: the catalog, and the ledger in the state schema',
    look: (context) => look(context, name),
  }),
);

async function look(context: CheckContext, name: PartitionCheck): Promise<Look> {
  if (context.settings.partitions.length === 0)
    return skip('no partitions are configured; "dbops init" proposes entries');
  const result = await findings(context);
  return {
    observations: result.findings
      .filter(({ check }) => check === name)
      .map(({ object, severity, message, mend }) => ({ object, value: null, severity, message, mend })),
    summary: `${String(result.tables)} configured tables, nothing found`,
  };
}
