import { humanCount } from '../../output/human.ts';
import { checksumFailures, type ChecksumRow } from '../../sql/health-server.ts';
import { skip, sqlCheck, type Check } from '../check.ts';

export const checksums: Check[] = [
  sqlCheck<ChecksumRow>({
    id: 'checksums.failures',
    group: 'checksums',
    answers: 'whether a block of any database was read that is not what was written',
    why: 'The disk, its controller or the memory has changed data. What is damaged grows, and backups take it over.',
    advice:
      'Look into the log for the files, save what can be read, restore the table or the cluster from a backup of before, and have the hardware checked.',
    thresholds: { unit: 'count', worse: 'above', warn: 1, crit: 1 },
    source: 'crit: any, since none is harmless.',
    profiles: ['daily', 'weekly', 'monthly'],
    isCounted: true,
    question: checksumFailures,
    judge: (rows) => {
      const known = rows.flatMap((row) =>
        row.failures === null ? [] : [{ ...row, failures: row.failures }],
      );
      if (known.length === 0)
        return skip('data checksums are off in this cluster: damage would not be noticed');
      return {
        observations: known
          .filter(({ failures }) => failures > 0)
          .map(({ database, failures, lastFailure }) => ({
            object: database ?? 'shared catalogs',
            value: failures,
            message: `${humanCount(failures)} blocks were read whose checksum did not fit`,
            detail: lastFailure === null ? undefined : `the last at ${lastFailure.toISOString()}`,
          })),
        summary: `no block with a wrong checksum in ${String(known.length)} databases`,
      };
    },
  }),
];
