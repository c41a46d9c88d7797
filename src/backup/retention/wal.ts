import type { BackupManifest } from '../manifest.ts';
import { segmentNumber } from '../wal/segment.ts';

/** From where on WAL is kept, by its position: timelines of one cluster go on counting. */
export interface WalCutoff {
  /** The segment that the oldest kept backup needs first. */
  startWal: string;
  /** The backup. */
  backup: string;
  segmentBytes: number;
}

/**
 * The oldest WAL that any of these backups needs, to be consistent or to be taken to a later point in time. Undefined when
 * there is none that could be restored: then all WAL stays. Pure.
 */
export function walCutoff(backups: { manifest: BackupManifest; isGood: boolean }[]): WalCutoff | undefined {
  let cutoff: (WalCutoff & { number: bigint }) | undefined;
  for (const { manifest } of backups) {
    if (manifest.physical === null) continue;
    const { startWal, walSegmentBytes } = manifest.physical;
    const number = segmentNumber(startWal, walSegmentBytes);
    if (cutoff === undefined || number < cutoff.number)
      cutoff = { startWal, backup: manifest.id, segmentBytes: walSegmentBytes, number };
  }
  const isRestorable = backups.some(({ manifest, isGood }) => manifest.physical?.parent === null && isGood);
  if (cutoff === undefined || !isRestorable) return undefined;
  const { startWal, backup, segmentBytes } = cutoff;
  return { startWal, backup, segmentBytes };
}

/** Whether a file of pg_wal lies before the cutoff. Histories never do: they tell which timeline came from which. Pure. */
export function isBeforeCutoff(
  file: { kind: string; name: string },
  cutoff: Pick<WalCutoff, 'startWal' | 'segmentBytes'>,
): boolean {
  if (file.kind === 'history') return false;
  const { startWal, segmentBytes } = cutoff;
  return segmentNumber(file.name, segmentBytes) < segmentNumber(startWal, segmentBytes);
}
