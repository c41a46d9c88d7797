// Commands about dbops itself. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as configShow } from '../config/show.ts';
export { command as configCheck } from '../config/check.ts';
export { command as configSchema } from '../config/schema.ts';
export { command as history } from '../history.ts';
export { command as completion } from '../completion/completion.ts';
export { command as help } from '../help/help.ts';
