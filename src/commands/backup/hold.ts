import { defineHold } from '../holds.ts';
import { backupHolds } from './hold-sort.ts';

export const command = defineHold(backupHolds, 'hold', {
  examples: [
    {
      command: 'dbops backup hold 20261115 --reason "before the migration"',
      about: 'keep a backup whatever its retention says',
    },
  ],
  notes:
    'Writes hold.json beside the manifest in every store, and to the ledger where there is a database. A backup that is held\n' +
    'is never pruned, nor is what it builds on and the WAL that it needs. Who held it, when and why stays in holds.json.',
});
