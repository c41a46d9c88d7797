import { DbopsError } from '../../errors.ts';
import type { PgbackrestPart } from '../manifest.ts';
import { nextSegment, parseLsn, segmentOfLsn, timelineOf } from '../wal/segment.ts';
import { runPgbackrest } from './run.ts';
import type { PgbackrestSite } from './site.ts';

/** What `pgbackrest verify --output=text --verbose` says of one repository. */
export interface VerifyReport {
  isOk: boolean;
  /** By label; the text is what is wrong with it, empty where it is valid. */
  backups: Map<string, string>;
  /** Archives of WAL by id, such as 15-1; the text is what is wrong with them. */
  archives: Map<string, string>;
}

/**
 * Reads a text report. pgBackRest ends with 0 even where it found damage, so only these words tell. Throws tool_failed
 * for a text that is none. Pure.
 */
export function parseVerifyReport(text: string): VerifyReport {
  const status = /^status: (.+)$/m.exec(text)?.[1];
  if (status === undefined) {
    throw new DbopsError('tool_failed', 'what "pgbackrest verify" printed cannot be understood', {
      detail: text.slice(0, 500),
    });
  }
  const report: VerifyReport = { isOk: status === 'ok', backups: new Map(), archives: new Map() };
  const lines = text.split('\n');
  for (const [index, line] of lines.entries()) {
    const counts = (lines[index + 1] ?? '').trim();
    const backup = /^\s*backup: ([^,]+), status: ([^,]+)/.exec(line);
    const archive = /^\s*archiveId: ([^,]+), total WAL checked: (\d+), total valid WAL: (\d+)/.exec(line);
    if (backup !== null) {
      const [, label = '', state = ''] = backup;
      report.backups.set(label, state === 'valid' ? '' : describe(`it is ${state}`, counts));
    } else if (archive !== null) {
      const [, id = '', checked, valid] = archive;
      const isWhole = checked === valid && !/: [1-9]/.test(counts);
      report.archives.set(id, isWhole ? '' : describe(`WAL archive ${id} is damaged`, counts));
    }
  }
  return report;
}

/** "missing: 1, checksum invalid: 1", without what is none. */
function describe(what: string, counts: string): string {
  const found = counts.split(', ').filter((item) => /^[a-z ]+: [1-9]\d*$/.test(item));
  return found.length === 0 ? what : `${what} (${found.join(', ')})`;
}

/** Lets pgBackRest read every file of a repository. Throws as runPgbackrest(). */
export async function verifyRepository(
  site: PgbackrestSite,
  repository: number,
  signal: AbortSignal,
): Promise<VerifyReport> {
  const options = [`--repo=${String(repository)}`, '--output=text', '--verbose'];
  return parseVerifyReport((await runPgbackrest(site, 'verify', options, signal)).stdout);
}

/**
 * What is wrong with a backup in one repository, a sentence each; none where all of it is good. pgBackRest does not look
 * whether the WAL that makes a backup consistent is there: that is done here.
 */
export async function problemsOf(
  site: PgbackrestSite,
  part: PgbackrestPart,
  repository: number,
  report: VerifyReport,
  signal: AbortSignal,
): Promise<string[]> {
  const backup = report.backups.get(part.label) ?? 'pgBackRest does not have it';
  const archive = report.archives.get(part.archive) ?? '';
  const missing = await missingWal(site, part, repository, signal);
  return [
    ...(backup === '' ? [] : [`${part.label} in repository ${String(repository)}: ${backup}`]),
    ...(archive === '' ? [] : [`repository ${String(repository)}: ${archive}`]),
    ...missing.map((name) => `repository ${String(repository)}: WAL ${name} is missing, which it needs`),
  ];
}

async function missingWal(
  site: PgbackrestSite,
  part: PgbackrestPart,
  repository: number,
  signal: AbortSignal,
): Promise<string[]> {
  const needed = neededSegments(part);
  const present = new Set<string>();
  for (const folder of new Set(needed.map((name) => name.slice(0, 16)))) {
    const place = `archive/${part.stanza}/${part.archive}/${folder}`;
    const options = [`--repo=${String(repository)}`, place];
    const { stdout } = await runPgbackrest(site, 'repo-ls', options, signal);
    // 000000010000000000000002-<sha1>.zst
    for (const line of stdout.split('\n')) present.add(line.slice(0, 24));
  }
  return needed.filter((name) => !present.has(name));
}

/** The segments between a backup's start and end, both of them. Pure. */
export function neededSegments(part: PgbackrestPart): string[] {
  const { startWal, stopWal } = part;
  if (startWal === null || stopWal === null) return [];
  const segmentBytes = segmentBytesOf(part);
  if (segmentBytes === undefined) return [startWal, stopWal];
  const names = [startWal];
  for (let name = startWal; name < stopWal;) {
    name = nextSegment(name, segmentBytes);
    names.push(name);
  }
  return names;
}

/** The size of a segment is not told, but only one puts a position into the segment of that name. */
function segmentBytesOf({ startWal, startLsn, stopWal, stopLsn }: PgbackrestPart): number | undefined {
  if (startWal === null || startLsn === null || stopWal === null || stopLsn === null) return undefined;
  const isIn = (wal: string, lsn: bigint, bytes: number) => segmentOfLsn(timelineOf(wal), lsn, bytes) === wal;
  return Array.from({ length: 11 }, (_, power) => 2 ** (20 + power)).find(
    (bytes) => isIn(startWal, parseLsn(startLsn), bytes) && isIn(stopWal, parseLsn(stopLsn) - 1n, bytes),
  );
}
