import { Argument } from 'commander';
import { defineCommand, type Result } from '../command.ts';
import { bashScript } from './bash.ts';
import { fishScript } from './fish.ts';
import { completionPlaces } from './words.ts';
import { zshScript } from './zsh.ts';

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript };

export const command = defineCommand({
  changes: false,
  needsSettings: false,
  examples: [
    { command: 'eval "$(dbops completion bash)"', about: 'for this shell; put the line into ~/.bashrc' },
    { command: 'dbops completion zsh > "${fpath[1]}/_dbops"', about: 'for zsh' },
    { command: 'dbops completion fish > ~/.config/fish/completions/dbops.fish', about: 'for fish' },
  ],
  notes: 'Completes commands, flags and file names. Neither a configuration nor a database is read.',
  declare(cmd) {
    cmd.addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(scripts)));
  },
  async run({ args }): Promise<Result> {
    const shell = args[0] as keyof typeof scripts;
    const script = scripts[shell](await completionPlaces());
    return { data: { shell, script }, text: script };
  },
});
