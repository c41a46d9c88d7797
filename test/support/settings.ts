/** The database that test databases are cloned from. */
export const TEMPLATE = 'dbops_template';

/**
 * Settings of test servers: no time is spent on surviving a power cut nor on compiling a query that runs once, and
 * replication can be tested.
 */
export const testSettings: Record<string, string> = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: '200',
  wal_level: 'logical',
  autovacuum: 'on',
  jit: 'off',
};

/** A private server may be crashed by its test, which then looks for what it had committed. */
export const privateSettings: Record<string, string> = { ...testSettings, synchronous_commit: 'on' };
