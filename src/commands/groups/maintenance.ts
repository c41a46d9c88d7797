// Commands that keep tables in order. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as maintenanceVacuum } from '../maintenance/vacuum.ts';
export { command as maintenanceAnalyze } from '../maintenance/analyze.ts';
export { command as maintenanceReindex } from '../maintenance/reindex.ts';
export { command as maintenanceRefresh } from '../maintenance/refresh.ts';
export { command as maintenanceAutovacuum } from '../maintenance/autovacuum.ts';
export { command as maintenanceRun } from '../maintenance/run.ts';
