// The figures of `dbops backup`, `restore` and `wal`.
import { base, baseToS3 } from './base.mjs';
import { logical, logicalOne, logicalToS3 } from './logical.mjs';
import { pitr } from './pitr.mjs';
import { push } from './push.mjs';
import { restore } from './restore.mjs';

export { releaseSite as release } from './site.mjs';

/** In the order of the table. @type {import('../partition/index.mjs').Measurement[]} */
export const measurements = [logical, logicalToS3, logicalOne, base, baseToS3, restore, pitr, push];
