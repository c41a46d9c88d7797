import { Command, CommanderError } from 'commander';
import type { CommandDefinition, SharedOptions } from './commands/command.ts';
import { commands, nouns, type CommandEntry } from './commands/index.ts';
import { version } from './version.ts';

/** What to run, or the exit code when help or an error was all there was. */
export type Parsed =
  | { kind: 'run'; name: string; definition: CommandDefinition; args: string[]; options: SharedOptions }
  | { kind: 'exit'; code: number };

/**
 * Builds the commander program from the command table and parses argv. Only the module of the command that was named is
 * loaded: a start must not pay for the others.
 */
export async function parse(argv: string[]): Promise<Parsed> {
  let parsed: Parsed = { kind: 'exit', code: 0 };
  const program = new Command('dbops');
  program
    .description(
      'Keeps PostgreSQL databases alive: partitions today, archives, backups, maintenance and health to come.',
    )
    .version(version, '-V, --version', 'print the version')
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError('(--help shows what there is)')
    .configureHelp({ showGlobalOptions: false })
    .addHelpText('before', topExamples)
    .addHelpText('after', topNotes)
    .helpCommand(false);
  const groups = new Map<string, Command>();
  const words = argv.filter((word) => !word.startsWith('-'));
  for (const entry of commands) {
    const parent = entry.noun === null ? program : groupOf(program, groups, entry.noun);
    const command = new Command(entry.verb).summary(entry.summary).description(`${sentence(entry.summary)}.`);
    command.copyInheritedSettings(program);
    parent.addCommand(command);
    if (!isNamed(entry, words)) continue;
    const { command: definition } = await entry.load();
    const { addGlobalOptions } = await import('./commands/options.ts');
    definition.declare(command);
    addGlobalOptions(command);
    command.addHelpText('before', examplesText(definition));
    if (definition.notes !== undefined) command.addHelpText('after', `\n${definition.notes}`);
    command.action((...received: unknown[]) => {
      const name = entry.noun === null ? entry.verb : `${entry.noun} ${entry.verb}`;
      parsed = {
        kind: 'run',
        name,
        definition,
        args: command.args,
        options: received.at(-2) as SharedOptions,
      };
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // commander exits 1 for usage errors; ours are 2. Help and version are 0; help for want of a command is usage.
    return { kind: 'exit', code: error.exitCode === 0 ? 0 : 2 };
  }
  return parsed;
}

function groupOf(program: Command, groups: Map<string, Command>, noun: string): Command {
  const known = groups.get(noun);
  if (known !== undefined) return known;
  const group = new Command(noun).description(nouns[noun] ?? '').helpCommand(false);
  group.copyInheritedSettings(program);
  program.addCommand(group);
  groups.set(noun, group);
  return group;
}

function isNamed(entry: CommandEntry, words: string[]): boolean {
  return entry.noun === null ? words[0] === entry.verb : words[0] === entry.noun && words[1] === entry.verb;
}

function sentence(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function examplesText(definition: CommandDefinition): string {
  const width = Math.max(...definition.examples.map((example) => example.command.length));
  const lines = definition.examples.map(
    (example) => `  ${example.command.padEnd(width)}  # ${example.about}`,
  );
  return `Examples:\n${lines.join('\n')}\n`;
}

const topExamples = `Examples:
  dbops init                       # write a first dbops.yaml from what is in the database
  dbops doctor                     # what is there, what is missing, how to get it
  dbops partition plan             # what ensure and retention would do
  dbops partition ensure           # create the partitions that will be needed
`;

const topNotes = `
Help topics: dbops help exit-codes | environment | config
`;
