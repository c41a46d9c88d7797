import * as z from 'zod/mini';
import { DbopsError } from '../../errors.ts';
import type { PgbackrestPart } from '../manifest.ts';
import { runPgbackrest } from './run.ts';
import type { PgbackrestSite } from './site.ts';

const seconds = z.int();
const position = z.object({ start: z.nullable(z.string()), stop: z.nullable(z.string()) });
const status = z.object({ code: z.int(), message: z.string() });

/** A backup as `pgbackrest info --output=json` tells it; fields that are not used here, or not known yet, are let be. */
const backup = z.object({
  label: z.string(),
  type: z.enum(['full', 'diff', 'incr']),
  prior: z.nullable(z.string()),
  reference: z.optional(z.nullable(z.array(z.string()))),
  annotation: z.optional(z.nullable(z.record(z.string(), z.string()))),
  /** Pages with wrong checksums were found while it was made. */
  error: z.optional(z.nullable(z.boolean())),
  'error-list': z.optional(z.nullable(z.array(z.string()))),
  database: z.object({ id: z.int(), 'repo-key': z.int() }),
  archive: position,
  lsn: z.optional(z.nullable(position)),
  timestamp: z.object({ start: seconds, stop: seconds }),
  info: z.object({
    size: z.int(),
    repository: z.object({ delta: z.nullish(z.int()), size: z.nullish(z.int()) }),
  }),
  backrest: z.object({ version: z.string() }),
});

const stanza = z.object({
  name: z.string(),
  status: z.object({
    ...status.shape,
    lock: z.optional(z.object({ backup: z.optional(z.object({ held: z.boolean() })) })),
  }),
  repo: z.array(z.object({ key: z.int(), status })),
  db: z.array(z.object({ id: z.int(), 'repo-key': z.int(), 'system-id': z.string(), version: z.string() })),
  backup: z.array(backup),
});

export type PgbackrestBackup = z.infer<typeof backup>;
export type PgbackrestStanza = z.infer<typeof stanza>;

/** The annotation that says which backup of ours it is. */
export const idAnnotation = 'dbops';

/** Codes of a stanza's or a repository's status; from the documentation of its info command. */
const statusCodes = { ok: 0, missingPath: 1, noBackups: 2, missingData: 3, mixed: 4, otherServer: 5 };

/**
 * What pgBackRest says of the stanza; with a label, of that backup in more detail. Throws tool_failed where it says
 * something that cannot be understood, and as runPgbackrest().
 */
export async function readPgbackrestInfo(
  site: PgbackrestSite,
  signal: AbortSignal,
  label?: string,
): Promise<PgbackrestStanza> {
  const of = label === undefined ? [] : [`--set=${label}`];
  const { stdout } = await runPgbackrest(site, 'info', ['--output=json', ...of], signal);
  return parsePgbackrestInfo(stdout, site.stanza);
}

/** Reads what `info --output=json` printed. Throws tool_failed. */
export function parsePgbackrestInfo(json: string, name: string): PgbackrestStanza {
  let value: unknown;
  try {
    // A system identifier has more digits than a number of JavaScript keeps.
    value = JSON.parse(json.replaceAll(/("system-id":\s*)(\d+)/g, '$1"$2"'));
  } catch (cause) {
    throw new DbopsError('tool_failed', 'what "pgbackrest info" printed is not JSON', { cause });
  }
  const parsed = z.safeParse(z.array(stanza), value);
  if (!parsed.success) {
    throw new DbopsError('tool_failed', 'what "pgbackrest info" printed cannot be understood', {
      detail: parsed.error.issues
        .slice(0, 5)
        .map((issue) => `${issue.path.join('.')}: ${issue.message}`)
        .join('\n'),
      cause: parsed.error,
    });
  }
  const found = parsed.data.find((item) => item.name === name);
  if (found === undefined) throw unknownStanza(name, 'it is not in any repository');
  return found;
}

/**
 * The number of the repository that a backup goes to: the first. Throws refused where the stanza cannot take a backup, or
 * is of another cluster than this.
 */
export function repositoryFor(info: PgbackrestStanza, systemIdentifier: string): number {
  const repository = [...info.repo].sort((a, b) => a.key - b.key)[0];
  const state = repository?.status ?? info.status;
  if ([statusCodes.missingPath, statusCodes.missingData].includes(state.code)) {
    throw unknownStanza(info.name, state.message);
  }
  if (state.code === statusCodes.otherServer) {
    throw new DbopsError('refused', `stanza "${info.name}" is of other servers in other repositories`, {
      detail: state.message,
      hint: `After an upgrade of the server: "pgbackrest --stanza=${info.name} stanza-upgrade".`,
    });
  }
  if (repository === undefined || ![statusCodes.ok, statusCodes.noBackups].includes(state.code)) {
    throw new DbopsError('tool_failed', `stanza "${info.name}" of pgBackRest is not in order`, {
      detail: state.message,
      hint: `"pgbackrest --stanza=${info.name} check" says more.`,
    });
  }
  if (info.status.lock?.backup?.held === true) {
    throw new DbopsError('lock_busy', `another backup or expire of stanza "${info.name}" is running`, {
      hint: `"pgbackrest --stanza=${info.name} info" says what. Run it again later.`,
    });
  }
  const current = currentDatabase(info, repository.key);
  if (current?.['system-id'] !== systemIdentifier) {
    throw new DbopsError('refused', `stanza "${info.name}" is of another cluster than this one`, {
      detail: `system identifier of the stanza ${current?.['system-id'] ?? 'unknown'}, of the server ${systemIdentifier}`,
      hint: 'Name the stanza of this server in "backup.pgbackrest.stanza"; after an upgrade, "pgbackrest stanza-upgrade".',
    });
  }
  return repository.key;
}

/** The cluster that a stanza is of now: each upgrade adds one with a higher number. */
function currentDatabase(
  info: PgbackrestStanza,
  repository: number,
): PgbackrestStanza['db'][number] | undefined {
  return info.db.filter((item) => item['repo-key'] === repository).sort((a, b) => b.id - a.id)[0];
}

/** Backups of the current cluster in a repository, oldest first; those with broken pages are no base for others. */
export function goodBackups(info: PgbackrestStanza, repository: number): PgbackrestBackup[] {
  const current = currentDatabase(info, repository);
  return info.backup.filter(
    (item) =>
      item.database['repo-key'] === repository && item.database.id === current?.id && item.error !== true,
  );
}

/** What the manifest of a backup tells of it. */
export function pgbackrestPart(info: PgbackrestStanza, made: PgbackrestBackup): PgbackrestPart {
  const same = info.backup.filter((item) => item.label === made.label);
  const prior = info.backup.find((item) => item.label === made.prior);
  const at = (time: number) => new Date(time * 1000).toISOString();
  return {
    stanza: info.name,
    label: made.label,
    type: made.type,
    prior: made.prior,
    repositories: same.map((item) => item.database['repo-key']),
    parent: prior?.annotation?.[idAnnotation] ?? null,
    startedAt: at(made.timestamp.start),
    stoppedAt: at(made.timestamp.stop),
    startLsn: made.lsn?.start?.toUpperCase() ?? null,
    stopLsn: made.lsn?.stop?.toUpperCase() ?? null,
    startWal: made.archive.start,
    stopWal: made.archive.stop,
    archive: `${databaseOf(info, made)?.version ?? ''}-${String(made.database.id)}`,
    repositoryBytes: made.info.repository.delta ?? 0,
  };
}

/** A backup in pgBackRest's own repository, whoever made it. */
export interface ListedPgbackrest {
  part: PgbackrestPart;
  /** The backup of ours that it is; null: pgBackRest made it by itself. */
  id: string | null;
  systemIdentifier: string;
  sourceBytes: number;
  /** Labels of the backups that it needs. */
  buildsOn: string[];
  /** Pages with wrong checksums were found while it was made. */
  isDamaged: boolean;
}

/** Every backup of the stanza, those that pgBackRest made by itself too, oldest first. Throws as readPgbackrestInfo(). */
export async function listPgbackrestBackups(
  site: PgbackrestSite,
  signal: AbortSignal,
): Promise<ListedPgbackrest[]> {
  const info = await readPgbackrestInfo(site, signal);
  // In several repositories it is still one backup.
  const first = new Map([...info.backup].reverse().map((item) => [item.label, item]));
  return [...first.values()]
    .sort((a, b) => a.timestamp.stop - b.timestamp.stop)
    .map((item) => ({
      part: pgbackrestPart(info, item),
      id: item.annotation?.[idAnnotation] ?? null,
      systemIdentifier: databaseOf(info, item)?.['system-id'] ?? '',
      sourceBytes: item.info.size,
      buildsOn: item.reference ?? [],
      isDamaged: item.error === true,
    }));
}

function databaseOf(
  info: PgbackrestStanza,
  item: PgbackrestBackup,
): PgbackrestStanza['db'][number] | undefined {
  const { id, 'repo-key': repository } = item.database;
  return info.db.find((one) => one.id === id && one['repo-key'] === repository);
}

function unknownStanza(name: string, detail: string): DbopsError {
  return new DbopsError('refused', `pgBackRest does not know stanza "${name}"`, {
    detail,
    hint: `Make it with "pgbackrest --stanza=${name} stanza-create", or name another in "backup.pgbackrest.stanza".`,
  });
}
