import { humanBytes, humanCount, humanSeconds } from '../../output/human.ts';
import { renderTable } from '../../output/table.ts';
import { displayName, visible } from '../../sql/quote.ts';
import type { FoundArchive } from '../catalogue.ts';
import type { HoldEntry } from '../../catalogue/hold.ts';
import { storedBytesOf, type Manifest } from '../manifest.ts';
import type { Copy } from '../survey.ts';

/** An archive for people: everything that its manifest says, where it is, and who holds it. */
export async function describeArchive(
  found: FoundArchive,
  copies: Copy[],
  holds: HoldEntry[],
): Promise<string> {
  const { manifest } = found;
  const facts = await renderTable(factsOf(manifest), [
    { title: 'archive', value: ([name]) => name },
    { title: visible(found.id), value: ([, value]) => visible(value) },
  ]);
  const places = await renderTable(copies, [
    { title: 'store', value: (copy) => copy.store.name },
    { title: 'where', value: (copy) => visible(`${copy.store.url}/${copy.place}`) },
    { title: 'held', value: (copy) => (copy.hold === undefined ? 'no' : visible(copy.hold.reason)) },
  ]);
  const sections = [facts, places, await columnsOf(manifest), await partsOf(manifest)];
  if (holds.length > 0) sections.push(await holdsOf(holds));
  if (manifest.definition.notes.length > 0) sections.push(manifest.definition.notes.map(visible).join('\n'));
  return `${sections.join('\n\n')}\n`;
}

function factsOf(manifest: Manifest): [string, string][] {
  const { server, key, snapshot, createdBy, timings, parquet } = manifest;
  const plain = manifest.parts.reduce((sum, part) => sum + part.plainBytes, 0);
  const masked = manifest.masked.map((item) => `${item.column} = ${item.expression}`);
  return [
    ['table', displayName(manifest.table)],
    ['partition', displayName(manifest.partition)],
    ['bounds', manifest.bounds],
    [
      'key',
      `${key.column} (${key.type}), zone ${key.timezone}: ${key.from ?? 'open'} to ${key.to ?? 'open'}`,
    ],
    ['rows', humanCount(manifest.rows)],
    [
      'size',
      `${humanBytes(storedBytesOf(manifest))} in ${String(manifest.parts.length)} parts, ${humanBytes(plain)} plain`,
    ],
    ['masked', masked.length === 0 ? 'nothing' : masked.join(', ')],
    ['proof', proofText(manifest)],
    ['digest', manifest.digest ?? 'not made'],
    ['schema', `${manifest.schemaSql.name}, ${humanBytes(manifest.schemaSql.sizeBytes)}`],
    ['parquet', parquet === null ? 'none' : `${String(parquet.files.length)} files`],
    [
      'created',
      `${manifest.createdAt} by ${createdBy.osUser}@${createdBy.host} as ${createdBy.databaseUser}, dbops ${createdBy.dbops}`,
    ],
    [
      'from',
      `database ${manifest.database} of cluster ${server.systemIdentifier}, PostgreSQL ${server.version}, ${server.encoding}`,
    ],
    ['snapshot', `${snapshot.id} at ${snapshot.at}, LSN ${snapshot.lsn}, xmin ${snapshot.xmin}`],
    ['took', `${humanSeconds(timings.exportMs / 1000)} to copy and to read back`],
    ['needs', needsOf(manifest)],
    [
      'settings',
      Object.entries(manifest.settings)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
    ],
  ];
}

function proofText({ proof }: Manifest): string {
  if (proof === 'bytes') return 'bytes: every part was read back, hashed and counted';
  if (proof === 'digest') return 'digest: read back, hashed and counted, with a digest of all rows';
  return 'restore: read back, loaded into a scratch table and compared';
}

function needsOf({ definition }: Manifest): string {
  const names = definition.requirements.map((item) => `${item.kind} ${item.name}`);
  return names.length === 0 ? 'nothing beside PostgreSQL' : names.join(', ');
}

function columnsOf(manifest: Manifest): Promise<string> {
  const summaries = new Map(manifest.columns.map((column) => [column.name, column]));
  const masked = new Set(manifest.masked.map((item) => item.column));
  return renderTable(manifest.definition.columns, [
    { title: 'column', value: (column) => visible(column.name) },
    { title: 'type', value: (column) => visible(column.type) },
    { title: 'min', value: (column) => visible(summaries.get(column.name)?.min ?? '-') },
    { title: 'max', value: (column) => visible(summaries.get(column.name)?.max ?? '-') },
    {
      title: 'nulls',
      value: (column) => summaries.get(column.name)?.nulls.toString() ?? '-',
      align: 'right',
    },
    {
      title: 'in the parts',
      value: (column) =>
        column.generated !== null ? 'no: generated' : masked.has(column.name) ? 'masked' : 'yes',
    },
  ]);
}

function partsOf(manifest: Manifest): Promise<string> {
  return renderTable(manifest.parts, [
    { title: 'part', value: (part) => visible(part.name) },
    { title: 'rows', value: (part) => humanCount(part.rows), align: 'right' },
    { title: 'stored', value: (part) => humanBytes(part.sizeBytes), align: 'right' },
    { title: 'plain', value: (part) => humanBytes(part.plainBytes), align: 'right' },
    { title: 'sha256 as stored', value: (part) => part.sha256 },
  ]);
}

function holdsOf(holds: HoldEntry[]): Promise<string> {
  return renderTable(holds, [
    { title: 'hold or release', value: (entry) => entry.action },
    { title: 'at', value: (entry) => visible(entry.at) },
    { title: 'by', value: (entry) => visible(`${entry.osUser}@${entry.host}`) },
    { title: 'reason', value: (entry) => visible(entry.reason) },
  ]);
}
