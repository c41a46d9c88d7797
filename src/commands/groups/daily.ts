// Commands that cron and people run every day. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as partitionCheck } from '../partition/check.ts';
export { command as partitionList } from '../partition/list.ts';
export { command as partitionPlan } from '../partition/plan.ts';
export { command as partitionEnsure } from '../partition/ensure.ts';
export { command as partitionDetach } from '../partition/detach.ts';
export { command as partitionAttach } from '../partition/attach.ts';
export { command as partitionDrop } from '../partition/drop.ts';
