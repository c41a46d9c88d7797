import type { BackupFacts, BackupState } from '../../sql/backups.ts';
import { storedBytesOf, type BackupManifest } from '../manifest.ts';
import { momentOf } from './survey.ts';

/** What the ledger keeps of a manifest. */
export function factsOf(manifest: BackupManifest): BackupFacts {
  return {
    parent: parentOf(manifest),
    tables: tablesOf(manifest),
    moment: momentOf(manifest),
    needs: needsOf(manifest),
    storedBytes: storedBytesOf(manifest),
    sourceBytes: manifest.sourceBytes,
  };
}

/** The backup that this one builds on. */
export function parentOf({ physical, pgbackrest }: BackupManifest): string | null {
  return physical?.parent ?? pgbackrest?.parent ?? null;
}

/** The tables that were asked for; null: all. */
export function tablesOf(manifest: BackupManifest): string[] | null {
  return manifest.logical?.selected?.map((table) => `${table.schema}.${table.name}`).sort() ?? null;
}

/** What a restore needs beside the backup and its parents, for people. */
export function needsOf({ physical }: BackupManifest): string | null {
  if (physical === null || physical.wal === 'included') return null;
  const { startWal, stopWal } = physical;
  return `WAL ${startWal === stopWal ? startWal : `${startWal} to ${stopWal}`}`;
}

/** Backups of one kind and of the same thing, which take each other's place. */
export function groupOf(backup: { kind: string; database: string | null; tables: string[] | null }): string {
  const of = backup.database === null ? 'the cluster' : backup.database;
  return `${backup.kind} of ${of}${backup.tables === null ? '' : `: ${backup.tables.join(', ')}`}`;
}

/** Whether a backup is one of the whole cluster's files, which WAL is replayed onto. pgBackRest keeps its own. */
export function isPhysical(kind: string): boolean {
  return kind === 'base' || kind === 'incremental' || kind === 'snapshot';
}

/** All that a row of the ledger may say. */
export const backupStates: BackupState[] = ['running', 'done', 'failed', 'removed'];
