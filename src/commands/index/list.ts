import { indexTraits, surveyIndexes, type IndexSurvey, type ListedIndex } from '../../indexes/list.ts';
import { humanBytes, humanCount } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { defineCommand, type Result } from '../command.ts';

type Options = Partial<Record<(typeof indexTraits)[number] | 'missing', boolean>>;

export const command = defineCommand<Options>({
  changes: false,
  examples: [
    { command: 'dbops index list', about: 'every index, its size and use, and what is wrong with it' },
    {
      command: 'dbops index list --unused --redundant',
      about: 'those that could go, with what makes them again',
    },
    { command: 'dbops index list --missing', about: 'foreign keys that no index serves' },
  ],
  notes:
    'Safe to drop is said only with evidence: a week of statistics without a scan, no standby that reads on its own, no\n' +
    'constraint and no foreign key; or another index that does the same work.',
  declare(cmd) {
    cmd.option('--unused', 'never read, and there for nothing but reading');
    cmd.option('--duplicate', 'the same as another one');
    cmd.option('--redundant', 'the beginning of a longer one');
    cmd.option('--invalid', 'left behind by a build that was stopped');
    cmd.option('--bloated', 'mostly air, by estimate');
    cmd.option('--missing', 'foreign keys without an index');
  },
  async run({ options, connect, now }): Promise<Result> {
    const db = await connect();
    const survey = await surveyIndexes(db, now(db));
    const wanted = indexTraits.filter((trait) => options[trait] === true);
    const isAll = wanted.length === 0 && options.missing !== true;
    const indexes = survey.indexes.filter(
      ({ traits }) => isAll || traits.some((trait) => wanted.includes(trait)),
    );
    const missing = isAll || options.missing === true ? survey.missing : [];
    const data = { ...survey, indexes, missing };
    const isAirWanted = isAll || options.bloated === true;
    return { data, text: render(data, wanted.length > 0), warnings: isAirWanted ? survey.unseen : [] };
  },
});

async function render({ indexes, missing, countedSince }: IndexSurvey, withUndo: boolean): Promise<string> {
  const parts = [
    ...(indexes.length === 0 ? [] : [await renderIndexes(indexes)]),
    ...(indexes.length === 0 ? [] : [`scans are counted since ${countedSince.toISOString()}`]),
    ...(missing.length === 0 ? [] : [await renderMissing(missing)]),
    ...(withUndo
      ? indexes.flatMap(({ index, undo }) => (undo === null ? [] : [`-- ${index}\n${undo.join('\n')}`]))
      : []),
  ];
  return parts.length === 0 ? 'nothing found' : parts.join('\n\n');
}

function renderIndexes(indexes: ListedIndex[]): Promise<string> {
  return renderTable(indexes, [
    { title: 'index', value: (row) => row.index },
    { title: 'table', value: (row) => row.table },
    { title: 'size', value: (row) => humanBytes(row.sizeBytes), align: 'right' },
    { title: 'scans', value: (row) => humanCount(row.scans), align: 'right' },
    { title: 'what', value: (row) => row.traits.join(', ') },
    { title: 'safe to drop', value: (row) => (row.isSafeToDrop ? 'yes' : row.traits.length > 0 ? 'no' : '') },
    { title: 'why', value: (row) => visible(row.notes.join('; ')) },
  ]);
}

function renderMissing(missing: IndexSurvey['missing']): Promise<string> {
  return renderTable(missing, [
    { title: 'table', value: (row) => displayName({ schema: row.schema, name: row.table }) },
    { title: 'size', value: (row) => humanBytes(row.sizeBytes), align: 'right' },
    { title: 'foreign key', value: (row) => visible(row.constraint) },
    { title: 'to', value: (row) => visible(row.target) },
    { title: 'what mends it', value: (row) => visible(row.mend) },
  ]);
}
