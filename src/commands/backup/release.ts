import { defineHold } from '../holds.ts';
import { backupHolds } from './hold-sort.ts';

export const command = defineHold(backupHolds, 'release', {
  examples: [
    { command: 'dbops backup release 20261115 --reason "it went well" --yes', about: 'take the hold off' },
  ],
  notes: 'From then on its retention decides again. Every store that has it must answer.',
});
