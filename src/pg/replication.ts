import type pg from 'pg';
import { clientConfig, describePlace, openClient, type ConnectionSettings } from './client.ts';
import { toDbopsError } from './sqlstate.ts';

/** What a walsender says of its server. */
export interface SystemIdentity {
  systemIdentifier: string;
  /** The current timeline. */
  timeline: number;
}

/**
 * Opens a replication connection, as pg_basebackup and pg_receivewal do, asks which system this is, and closes it: tells
 * before long work whether they may connect. IDENTIFY_SYSTEM: PostgreSQL's protocol, "Streaming Replication Protocol".
 * Throws as connect(); the SQLSTATE is in its cause: 28000 where pg_hba.conf has no line for it, 42501 or 28000 for a role
 * without REPLICATION, 53300 where every walsender is in use.
 */
export async function identifySystem(settings: ConnectionSettings): Promise<SystemIdentity> {
  const config: pg.ClientConfig & { replication?: string } = await clientConfig(settings);
  config.replication = 'true';
  try {
    const client = await openClient(config);
    try {
      // The simple protocol alone: a walsender knows no other.
      const { rows } = await client.query<{ systemid: string; timeline: number | string }>('IDENTIFY_SYSTEM');
      const [row] = rows;
      if (row === undefined) throw new Error('the walsender did not identify its system');
      return { systemIdentifier: row.systemid, timeline: Number(row.timeline) };
    } finally {
      await client.end().catch(() => undefined);
    }
  } catch (error) {
    throw toDbopsError(error, describePlace(settings), false);
  }
}
