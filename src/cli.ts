import { Command, CommanderError } from 'commander';
import type { CommandDefinition, SharedOptions } from './commands/command.ts';
import { commands, helpTopics, nouns, type CommandEntry, type CommandModule } from './commands/index.ts';
import { DbopsError } from './errors.ts';
import { version } from './version.ts';

/** What to run, or the exit code when help or an error was all there was. */
export type Parsed =
  | {
      kind: 'run';
      name: string;
      definition: CommandDefinition;
      args: string[];
      options: SharedOptions;
      runCommand: CommandModule['runCommand'];
    }
  | { kind: 'exit'; code: number };

/**
 * Builds the commander program from the command table and parses argv. Only the module of the command that was named is
 * loaded: a start must not pay for the others. "dbops" alone prints the help and exits 0; a noun without its verb is a
 * mistake (an empty variable in a script, most often), prints its help on stderr and exits 2.
 */
export async function parse(typed: string[]): Promise<Parsed> {
  const argv = withoutHelpWord(typed);
  const words = wordsOf(argv);
  let parsed: Parsed = { kind: 'exit', code: 0 };
  let shownOnStderr = '';
  const program = createProgram((text) => {
    shownOnStderr += text;
  });
  const groups = new Map<string, Command>();
  let exitCode = (code: number): number => code;
  for (const entry of commands) {
    const parent = entry.noun === null ? program : groupOf(program, groups, entry.noun);
    const command = new Command(entry.verb).summary(entry.summary).description(`${sentence(entry.summary)}.`);
    command.copyInheritedSettings(program);
    parent.addCommand(command, { isDefault: entry.isDefault === true });
    if (!isNamed(entry, words)) continue;
    const { command: definition, runCommand } = await entry.load();
    await declareCommand(command, definition);
    exitCode = definition.exitCode ?? exitCode;
    command.action((...received: unknown[]) => {
      parsed = {
        kind: 'run',
        name: nameOf(entry),
        definition,
        args: command.args,
        options: received.at(-2) as SharedOptions,
        runCommand,
      };
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // commander exits 1 for usage errors; ours are 2. Help and version are 0.
    if (error.exitCode === 0) return { kind: 'exit', code: 0 };
    if (error.code === 'commander.help') {
      process.stderr.write(shownOnStderr);
      return { kind: 'exit', code: 2 };
    }
    const { reportError } = await import('./commands/run.ts');
    const code = reportError(usageError(error, argv, words), reportOptions(argv), false);
    return { kind: 'exit', code: exitCode(code) };
  }
  return parsed;
}

/** Puts a command's flags, examples and notes in. */
async function declareCommand(command: Command, definition: CommandDefinition): Promise<void> {
  const { addGlobalOptions } = await import('./commands/options.ts');
  definition.declare(command);
  addGlobalOptions(command);
  command.addHelpText('before', examplesText(definition));
  if (definition.notes !== undefined) command.addHelpText('after', `\n${definition.notes}`);
}

function createProgram(onStderr: (text: string) => void): Command {
  return new Command('dbops')
    .description('Keeps PostgreSQL databases alive: partitions, archives, backups, maintenance and health.')
    .version(version, '-V, --version', 'print the version')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ writeErr: onStderr, outputError: () => undefined })
    .configureHelp({ showGlobalOptions: false })
    .addHelpText('before', topExamples)
    .addHelpText('after', topNotes)
    .helpCommand(false);
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

function wordsOf(argv: string[]): string[] {
  return argv.filter((word) => !word.startsWith('-'));
}

function isNamed(entry: CommandEntry, words: string[]): boolean {
  if (entry.noun === null) return words[0] === entry.verb;
  if (words[0] !== entry.noun) return false;
  return words[1] === entry.verb || (entry.isDefault === true && !isVerb(entry.noun, words[1]));
}

function isVerb(noun: string, word: string | undefined): boolean {
  return commands.some((entry) => entry.noun === noun && entry.verb === word);
}

function nameOf(entry: CommandEntry): string {
  return entry.noun === null ? entry.verb : `${entry.noun} ${entry.verb}`;
}

/** "help partition ensure" is "partition ensure --help"; topics stay with the help command. */
function withoutHelpWord(argv: string[]): string[] {
  if (argv.length === 0) return ['--help'];
  const [first, ...rest] = wordsOf(argv);
  if (first !== 'help' || helpTopics.includes(rest.join(' '))) return argv;
  if (rest.length === 0) return ['--help'];
  const isKnown =
    (rest.length === 1 && rest[0] !== undefined && rest[0] in nouns) ||
    commands.some((entry) => nameOf(entry) === rest.join(' '));
  return isKnown ? [...rest, '--help'] : argv;
}

/** commander's words in our form: "dbops: unknown command 'ensur'" and a hint that helps. */
function usageError(error: CommanderError, argv: string[], words: string[]): DbopsError {
  const [message = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
  return new DbopsError('usage', message.replace(/\.$/, ''), {
    hint: suggestion?.replace(/^\((.*)\)$/, '$1') ?? usageHint(error, argv, words),
  });
}

function usageHint(error: CommanderError, argv: string[], words: string[]): string {
  const isEarlyFlag = argv[0]?.startsWith('-') === true && words.length > 0;
  if (error.code === 'commander.unknownOption' && isEarlyFlag) {
    return 'Flags go behind the command: dbops partition ensure --config dbops.yaml.';
  }
  const entry = commands.find((item) => isNamed(item, words));
  const known =
    entry === undefined ? (words[0] !== undefined && words[0] in nouns ? words[0] : '') : nameOf(entry);
  return `"${['dbops', known, '--help'].filter((word) => word !== '').join(' ')}" shows what there is.`;
}

function reportOptions(argv: string[]): SharedOptions {
  return argv.includes('--json') ? { json: true } : {};
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
Help topics: dbops help ${helpTopics.join(' | ')}
`;
