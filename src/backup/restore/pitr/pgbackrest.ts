import { chmod } from 'node:fs/promises';
import { DbopsError } from '../../../errors.ts';
import { ownAccount } from '../../../process/account.ts';
import { findBackup, type FoundBackup } from '../../catalogue/find.ts';
import { withPin } from '../../catalogue/pin.ts';
import { makeOwnDirectory } from '../../cluster/owner.ts';
import { findClusterPrograms } from '../../cluster/programs.ts';
import type { PgbackrestPart } from '../../manifest.ts';
import {
  checkPgbackrestTarget,
  pgbackrestRestoreLine,
  restorePgbackrest,
  type PgbackrestRestore,
  type PgbackrestTarget,
} from '../../pgbackrest/restore.ts';
import { findPgbackrest, type PgbackrestSite } from '../../pgbackrest/site.ts';
import { formatLsn } from '../../wal/segment.ts';
import type { PitrContext } from './context.ts';
import { quietCluster } from './configure.ts';
import { inspectDirectory } from './directory.ts';
import type { PitrWish } from './plan.ts';
import { endNotes, recoverServer, startCommand, type PitrEnd, type PitrResult } from './restore.ts';
import { describeTarget, formatTime, type Target } from './target.ts';

/** A restore by pgBackRest that was found possible; nothing is written yet. */
export interface PgbackrestPlan {
  backup: FoundBackup;
  site: PgbackrestSite;
  restore: PgbackrestRestore;
  programs: { postgres: string; pg_ctl: string };
  steps: string[];
}

/**
 * The backup of this id where it is one of pgBackRest; undefined where it is another, or none was named. Where no
 * stanza is configured no store is asked. Throws as findBackup().
 */
export async function findOfPgbackrest(
  context: PitrContext,
  id: string | undefined,
): Promise<FoundBackup | undefined> {
  const { settings, signal } = context;
  if (id === undefined || settings.backup.pgbackrest === undefined) return undefined;
  const stores = await Promise.all(settings.backup.copies.map(context.openStore));
  const found = await findBackup(stores, id, { signal });
  return found.manifest.pgbackrest === null ? undefined : found;
}

/** As planPitr(), for a backup that lies in pgBackRest's own repository, with its WAL. Throws refused, tool_failed. */
export async function planPgbackrestPitr(
  context: PitrContext,
  backup: FoundBackup,
  wish: PitrWish,
  end: PitrEnd,
): Promise<PgbackrestPlan> {
  const { manifest } = backup;
  const part = manifest.pgbackrest as PgbackrestPart;
  if (wish.mappings.length > 0) {
    throw new DbopsError('refused', 'tablespaces of a pgBackRest backup are mapped by pgBackRest itself', {
      hint: 'Set "tablespace-map" in its configuration file, and leave --tablespace-mapping out.',
    });
  }
  if (wish.pause && wish.target.kind === 'latest') {
    throw new DbopsError(
      'refused',
      'a recovery to the end of the archive of pgBackRest does not pause there',
      {
        hint: 'Name a time, an LSN or a restore point with --to, or leave --pause out.',
      },
    );
  }
  const state = await inspectDirectory(wish.dataDirectory, context.host);
  const site = await findPgbackrest(context);
  const owner = (site.account ?? ownAccount()).name;
  if (part.stanza !== site.stanza) {
    throw new DbopsError('refused', `backup ${backup.id} is of stanza "${part.stanza}"`, {
      hint: `Name it in "backup.pgbackrest.stanza", which is "${site.stanza}".`,
    });
  }
  if (wish.owner !== undefined && wish.owner !== owner) {
    throw new DbopsError('refused', `pgBackRest is run as ${owner}, and so is the server`, {
      hint: 'Set "backup.pgbackrest.user" instead of --owner.',
    });
  }
  if (state === 'unfinished') {
    throw new DbopsError('refused', `${wish.dataDirectory} has what another restore left there`, {
      hint: 'Empty it, or name another directory.',
    });
  }
  const restore: PgbackrestRestore = {
    part,
    dataDirectory: wish.dataDirectory,
    target: targetOf(wish.target),
    action: end.action,
    archiving: end.keepsArchiving ? 'preserve' : 'off',
    timeline: wish.timeline === undefined ? undefined : String(wish.timeline),
    tablespaces: {},
  };
  checkPgbackrestTarget(restore);
  const major = Math.floor(manifest.server.versionNum / 10_000);
  const programs = await findClusterPrograms(context.findTools, major, ['postgres', 'pg_ctl']);
  const steps = [
    `restore to ${describeTarget(wish.target)} into ${wish.dataDirectory}, as ${owner}`,
    pgbackrestRestoreLine(site, restore),
  ];
  return { backup, site, restore, programs, steps };
}

/** Lets pgBackRest restore, and starts the server where that was asked for. Throws as restorePgbackrest(), tool_failed. */
export async function applyPgbackrestPitr(
  context: PitrContext,
  plan: PgbackrestPlan,
  wish: PitrWish,
  end: PitrEnd,
): Promise<PitrResult> {
  const { backup, site, restore, programs } = plan;
  const { log, signal, host } = context;
  const account = site.account ?? ownAccount();
  const { dataDirectory } = restore;
  const startedAt = performance.now();
  await withPin(backup, { what: 'restore', host, log }, async () => {
    await makeOwnDirectory(dataDirectory, account);
    await chmod(dataDirectory, 0o700);
    context.applied.changes += 1;
    await restorePgbackrest(site, restore, signal);
    if (!end.keepsArchiving) await quietCluster(dataDirectory, account);
  });
  const fetchSeconds = Math.round((performance.now() - startedAt) / 10) / 100;
  const hasStop = restore.target.kind !== 'latest';
  const recovered = end.start
    ? await recoverServer(context, { account, programs, dataDirectory, hasStop }, end)
    : undefined;
  return {
    backup: backup.id,
    kind: backup.manifest.kind,
    asked: describeTarget(wish.target),
    dataDirectory,
    owner: account.name,
    stop: 'value' in restore.target ? { name: restore.target.kind, value: restore.target.value } : null,
    notes: endNotes({ environment: {} }, end),
    reached: recovered?.reached ?? null,
    server: recovered?.server ?? null,
    startCommand: startCommand(programs.pg_ctl, account, dataDirectory),
    fetchSeconds,
    recoverySeconds: recovered?.seconds ?? null,
  };
}

/** As pgBackRest takes it. Pure. */
export function targetOf(target: Target): PgbackrestTarget {
  if (target.kind === 'time') return { kind: 'time', value: formatTime(target.micros) };
  if (target.kind === 'lsn') return { kind: 'lsn', value: formatLsn(target.lsn) };
  if (target.kind === 'name') return { kind: 'name', value: target.name };
  return { kind: target.kind };
}
