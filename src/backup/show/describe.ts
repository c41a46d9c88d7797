import type { HoldEntry } from '../../catalogue/hold.ts';
import { humanBytes, humanCount, humanSeconds } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { displayName, visible } from '../../sql/quote.ts';
import { groupOf, needsOf, parentOf, tablesOf } from '../catalogue/facts.ts';
import type { FoundBackup } from '../catalogue/find.ts';
import { momentOf } from '../catalogue/survey.ts';
import { storedBytesOf, type BackupManifest } from '../manifest.ts';
import type { Way, Ways } from './way.ts';

/** A backup for people: everything that its manifest says, where it is, and every file. */
export async function describeBackup(found: FoundBackup, holds: HoldEntry[]): Promise<string> {
  const { manifest, stores, verified, place } = found;
  const facts = await renderTable(factsOf(found), [
    { title: 'backup', value: ([name]) => name },
    { title: visible(found.id), value: ([, value]) => visible(value) },
  ]);
  const places = await renderTable(stores, [
    { title: 'store', value: (store) => store.name },
    { title: 'where', value: (store) => visible(`${store.url}/${place}`) },
    {
      title: 'verified',
      value: ({ name }) => {
        const mark = verified[name];
        if (mark === undefined) return 'never';
        return mark.passed ? mark.at : `${mark.at}: ${visible(mark.problems[0] ?? 'damaged')}`;
      },
    },
  ]);
  const files = await renderTable(manifest.files, [
    { title: 'file', value: (file) => visible(file.name) },
    { title: 'stored', value: (file) => humanBytes(file.sizeBytes), align: 'right' },
    { title: 'sha256 as stored', value: (file) => file.sha256 },
  ]);
  const sections = [facts, places, ...(await tablesText(manifest)), files];
  if (holds.length > 0) {
    sections.push(
      await renderTable(holds, [
        { title: 'hold or release', value: (entry) => entry.action },
        { title: 'at', value: (entry) => visible(entry.at) },
        { title: 'by', value: (entry) => visible(`${entry.osUser}@${entry.host}`) },
        { title: 'reason', value: (entry) => visible(entry.reason) },
      ]),
    );
  }
  return `${sections.join('\n\n')}\n`;
}

function factsOf({ manifest, drill, hold }: FoundBackup): [string, string][] {
  const { createdBy, server, physical, logical, pgbackrest } = manifest;
  const facts: [string, string][] = [
    ['of', groupOf({ ...manifest, tables: tablesOf(manifest) })],
    ['brings back', momentOf(manifest).toISOString()],
    [
      'size',
      `${humanBytes(storedBytesOf(manifest))}, of ${humanBytes(manifest.sourceBytes)} in the database`,
    ],
    ['made', `${manifest.startedAt} to ${manifest.finishedAt}`],
    ['by', `${createdBy.osUser}@${createdBy.host} as ${createdBy.databaseUser}, dbops ${createdBy.dbops}`],
    ['from', `cluster ${server.systemIdentifier}, PostgreSQL ${server.version}`],
    ['reason', manifest.reason ?? '-'],
    [
      'needs',
      [parentOf(manifest), needsOf(manifest)].filter((text) => text !== null).join(', ') || 'nothing else',
    ],
    ['drilled', drill === undefined ? 'never' : `${drill.at}: ${drill.passed ? 'passed' : 'failed'}`],
    ['held', hold === undefined ? 'no' : hold.reason],
    [
      'tools',
      Object.entries(manifest.tools)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
  ];
  if (physical !== null)
    facts.push(
      ['timeline', `${String(physical.timeline)}, ${physical.startLsn} to ${physical.stopLsn}`],
      ['WAL', physical.wal === 'included' ? 'what it needs is in it' : 'in the archive of WAL'],
      [
        'tablespaces',
        physical.tablespaces.map((item) => `${item.name}: ${item.location}`).join(', ') || 'none',
      ],
      [
        'databases',
        physical.databases
          .map(
            (item) =>
              `${item.name} ${item.sizeBytes === null ? 'of unknown size' : humanBytes(item.sizeBytes)}`,
          )
          .join(', '),
      ],
    );
  if (logical !== null)
    facts.push(
      ['format', logical.format],
      ['large objects', logical.largeObjects === null ? 'not counted' : humanCount(logical.largeObjects)],
      ['extensions', logical.extensions.map((item) => `${item.name} ${item.version}`).join(', ') || 'none'],
      ['roles', logical.globals === null ? 'could not be read' : logical.roles.join(', ')],
      ['without the rows of', logical.excludedData.join(', ') || 'none'],
    );
  if (pgbackrest !== null)
    facts.push(['pgBackRest', `${pgbackrest.label} (${pgbackrest.type}) of stanza ${pgbackrest.stanza}`]);
  return facts;
}

async function tablesText({ logical }: BackupManifest): Promise<string[]> {
  if (logical === null || logical.tables.length === 0) return [];
  const table = await renderTable(logical.tables, [
    { title: 'table', value: (item) => displayName(item) },
    { title: 'rows', value: (item) => (item.rows === null ? '-' : humanCount(item.rows)), align: 'right' },
    { title: 'in the database', value: (item) => humanBytes(item.sizeBytes), align: 'right' },
    { title: 'hash', value: (item) => item.hash ?? '-' },
  ]);
  return [table];
}

/** The ways to a moment for people, the best first. */
export function describeWays({ wanted, ways, problems }: Ways): string {
  const lines = [
    ways.some((way) => way.lostSeconds === 0)
      ? `${wanted} can be reached`
      : ways.length === 0
        ? `${wanted} cannot be reached`
        : `${wanted} cannot be reached exactly, as far as is known`,
    '',
    ...ways.flatMap((way) => [...wayLines(way), '']),
    ...problems.map((problem) => `note: ${visible(problem)}`),
  ];
  return lines.join('\n').trimEnd();
}

function wayLines(way: Way): string[] {
  const { wal, lostSeconds, seconds } = way;
  return [
    `with: ${way.with}`,
    `  from: ${way.backups.join(', then ')}`,
    ...(wal === null ? [] : [`  WAL: ${wal.first} to ${wal.last}, ${humanCount(wal.segments)} segments`]),
    `  loses: ${lostSeconds === null ? 'unknown' : lostSeconds === 0 ? 'nothing' : `at most ${humanSeconds(lostSeconds)}`}`,
    `  takes: ${seconds === null ? 'unknown: no drill has measured it' : `about ${humanSeconds(seconds)}, by the last drill`}`,
    ...way.notes.map((note) => `  ${visible(note)}`),
    `  type: ${visible(way.command)}`,
  ];
}
