// Commands with much code behind them, run now and then. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as init } from '../init.ts';
export { command as doctor } from '../doctor.ts';
export { command as partitionConvert } from '../partition/convert.ts';
export { command as partitionDrain } from '../partition/drain.ts';
export { command as partitionPruneCheck } from '../partition/prune-check.ts';
