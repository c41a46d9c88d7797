import type { FinitePartition, PartitionSet } from '../../partition/model/set.ts';
import {
  pinnedSettings,
  type CopiedColumn,
  type ServerIdentity,
  type SnapshotRow,
  type SummaryRow,
} from '../../sql/export.ts';
import type { RelationName } from '../../sql/quote.ts';
import type { ArchiveContext } from '../context.ts';
import type { TableDefinition } from '../definition/definition.ts';
import { manifestVersion, type Manifest } from '../manifest.ts';
import type { Exported } from './parts.ts';
import { type Copies } from '../../storage/copies.ts';

/** A partition that goes to the stores. */
export interface ArchiveTarget {
  set: PartitionSet;
  /** The table that it is a partition of: the set's root, or one of its branches. */
  parent: RelationName;
  partition: FinitePartition;
}

/** Where an archive goes. */
export interface Place {
  id: string;
  place: string;
  copies: Copies;
  identity: ServerIdentity;
}

/** What an export has found and done. */
export interface Facts {
  snapshot: SnapshotRow;
  definition: TableDefinition;
  columns: CopiedColumn[];
  exported: Exported;
  summary: SummaryRow;
  exportMs: number;
}

/** What the manifest tells but for the files, which the caller has written. */
export function manifestOf(
  context: ArchiveContext,
  target: ArchiveTarget,
  where: Place,
  facts: Facts,
  rows: number,
): Omit<Manifest, 'parts' | 'definition' | 'copiedColumns' | 'schemaSql' | 'parquet'> {
  const { db } = context;
  const { set, partition, parent } = target;
  const key = facts.definition.columns.find((column) => column.name === set.settings.key);
  return {
    formatVersion: manifestVersion,
    id: where.id,
    createdAt: new Date().toISOString(),
    createdBy: {
      dbops: context.version,
      host: context.host,
      osUser: context.osUser,
      databaseUser: db.server.user,
    },
    server: { ...where.identity, version: db.server.version, versionNum: db.server.versionNum },
    database: db.server.database,
    table: { schema: parent.schema, name: parent.name },
    partition: { schema: partition.schema, name: partition.name },
    bounds: partition.boundText,
    key: {
      column: set.settings.key,
      type: key?.type ?? '',
      timezone: set.settings.timezone,
      from: set.codec.format(partition.range.from),
      to: set.codec.format(partition.range.to),
    },
    settings: { ...pinnedSettings },
    snapshot: {
      id: facts.snapshot.id,
      xmin: facts.snapshot.xmin,
      xmax: facts.snapshot.xmax,
      lsn: facts.snapshot.lsn,
      at: facts.snapshot.at.toISOString(),
    },
    rows,
    columns: facts.summary.columns,
    masked: facts.columns.flatMap(({ name, mask }) =>
      mask === null ? [] : [{ column: name, expression: mask }],
    ),
    format: { rows: 'postgresql copy text', encoding: 'UTF8', compression: 'zstd' },
    digest: facts.exported.digest,
    proof: set.settings.archive.verify,
    timings: { exportMs: Math.round(facts.exportMs) },
  };
}
