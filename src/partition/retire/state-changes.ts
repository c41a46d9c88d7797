import type { Db } from '../../pg/connection.ts';
import { quietStep, transactionChange, type Change } from '../../plan/step.ts';
import { findStateVersion, migrationStatements, stateVersion } from '../../sql/state.ts';

/** The change that makes or migrates the state schema, for plans that write to the ledger; none when it is there. */
export async function stateChanges(db: Db, schema: string): Promise<Change[]> {
  const version = await findStateVersion(db, schema);
  if (version >= stateVersion) return [];
  return [
    transactionChange({
      summary: `${version === 0 ? 'create' : 'migrate'} the schema of the run history and the ledger`,
      table: schema,
      event: 'state_schema_migrated',
      steps: migrationStatements(schema, version).map((sql) =>
        quietStep(sql, 'dbops keeps its ledger there'),
      ),
    }),
  ];
}
