// Commands about indexes. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as indexList } from '../index/list.ts';
export { command as indexCreate } from '../index/create.ts';
export { command as indexDrop } from '../index/drop.ts';
export { command as indexEnsure } from '../index/ensure.ts';
