import { defineHold } from '../holds.ts';
import { archiveHolds } from './hold-sort.ts';

export const command = defineHold(archiveHolds, 'release', {
  examples: [
    {
      command: 'dbops archive release 20260505 --reason "case 4711 is closed" --dry-run',
      about: 'what would be released',
    },
  ],
  notes: 'Removes hold.json from every store; from then on the retention counts again.',
});
