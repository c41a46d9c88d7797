// Commands that say what runs when. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as scheduleList } from '../schedule/list.ts';
export { command as scheduleRender } from '../schedule/render.ts';
export { command as scheduleInstall } from '../schedule/install.ts';
export { command as scheduleRemove } from '../schedule/remove.ts';
export { command as scheduleRun } from '../schedule/run.ts';
