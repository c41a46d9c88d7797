// Commands that say what is wrong. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as healthRun } from '../health/run.ts';
export { command as healthList } from '../health/list.ts';
export { command as healthExplain } from '../health/explain.ts';
