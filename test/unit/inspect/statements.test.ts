// What it takes until pg_stat_statements counts.
import { describe, expect, it } from 'vitest';
import { findStatements, statementsPause } from '../../../src/inspect/statements.ts';
import type { StatementsFacts } from '../../../src/sql/statements-facts.ts';

const well: StatementsFacts = {
  extension: { schema: 'stats', version: '1.10', isReachable: true },
  isInstalled: true,
  isLoaded: true,
  preloaded: 'pg_stat_statements',
  queryIds: 'auto',
  track: 'top',
};
const find = (facts: Partial<StatementsFacts>, isStandby = false) =>
  findStatements({ ...well, ...facts }, { database: 'shop', user: 'app', isStandby });

describe('pg_stat_statements', () => {
  it('is where its extension is', () => {
    expect(find({})).toEqual({ schema: 'stats' });
    expect(statementsPause(well)).toBeUndefined();
  });

  it('only has to be created where its library is loaded', () => {
    expect(find({ extension: null })).toMatchObject({
      load: null,
      mend: 'create extension pg_stat_statements;',
      advice: 'Create the extension in this database as a superuser.',
    });
  });

  it('is loaded beside what is loaded today', () => {
    expect(
      find({ extension: null, isLoaded: false, preloaded: 'auto_explain, "$libdir/it\'s"' }),
    ).toMatchObject({
      load: "alter system set shared_preload_libraries = 'auto_explain', '$libdir/it''s', 'pg_stat_statements';",
    });
    expect(find({ isLoaded: false, preloaded: '' })).toMatchObject({
      load: "alter system set shared_preload_libraries = 'pg_stat_statements';",
      mend: null,
    });
    expect(find({ isLoaded: false, preloaded: null })).toMatchObject({ load: null, mend: null });
  });

  it('names the package that is missing, and the server to create it on', () => {
    expect(find({ extension: null, isInstalled: false })).toMatchObject({
      advice: expect.stringContaining("Install the package with PostgreSQL's contrib modules") as string,
    });
    expect(find({ extension: null }, true)).toMatchObject({
      advice: expect.stringContaining('On the primary') as string,
    });
  });

  it('is updated where an upgrade left it behind', () => {
    const versioned = (version: string) =>
      find({ extension: { schema: 'stats', version, isReachable: true } });
    expect(versioned('1.8')).toMatchObject({ mend: 'alter extension pg_stat_statements update;' });
    for (const version of ['1.9', '1.12', '2.0']) expect(versioned(version)).toEqual({ schema: 'stats' });
  });

  it('is paused by either setting', () => {
    expect(statementsPause({ ...well, queryIds: 'off' })?.mend).toContain('compute_query_id');
    expect(statementsPause({ ...well, track: 'none' })?.mend).toContain('pg_stat_statements.track');
  });
});
