import { defineHold } from '../holds.ts';
import { archiveHolds } from './hold-sort.ts';

export const command = defineHold(archiveHolds, 'hold', {
  examples: [
    {
      command: 'dbops archive hold 20260505 --reason "case 4711"',
      about: 'keep an archive whatever its retention says',
    },
  ],
  notes:
    'Writes hold.json beside the manifest in every store, and to the ledger where there is a database. An archive that is held\n' +
    'is never pruned. Who held it, when and why stays in holds.json, also after a release.',
});
