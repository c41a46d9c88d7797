import { Command } from 'commander';
import { commands, helpTopics, nouns } from '../index.ts';
import { addGlobalOptions } from '../options.ts';

/** A flag as a shell must know it. */
export interface Flag {
  long: string;
  short: string | undefined;
  about: string;
  takesValue: boolean;
  /** The value is a file. */
  isFile: boolean;
}

/** What can be typed at one place: after "dbops", after a noun, or after a whole command. */
export interface Place {
  /** The words before, e.g. "partition ensure"; empty behind "dbops". */
  path: string;
  /** Whether more arguments may follow, among which flags are offered still. */
  isCommand: boolean;
  words: { word: string; about: string }[];
  flags: Flag[];
}

/** Everything that can be typed, from the command table. Loads every command. */
export async function completionPlaces(): Promise<Place[]> {
  const top: Place = { path: '', isCommand: false, words: [], flags: [] };
  const places = [top];
  const groups = new Map<string, Place>();
  for (const entry of commands) {
    let parent = top;
    if (entry.noun !== null) {
      parent = groups.get(entry.noun) ?? { path: entry.noun, isCommand: false, words: [], flags: [] };
      if (!groups.has(entry.noun)) {
        groups.set(entry.noun, parent);
        places.push(parent);
        top.words.push({ word: entry.noun, about: nouns[entry.noun] ?? '' });
      }
    }
    parent.words.push({ word: entry.verb, about: entry.summary });
    const { command: definition } = await entry.load();
    const command = new Command(entry.verb);
    definition.declare(command);
    addGlobalOptions(command);
    places.push({
      path: entry.noun === null ? entry.verb : `${entry.noun} ${entry.verb}`,
      isCommand: true,
      words: wordsBehind(entry.verb, top, command),
      flags: command.options
        .filter((option) => option.long !== undefined && !option.hidden)
        .map((option) => ({
          long: option.long ?? '',
          short: option.short,
          about: option.description,
          takesValue: option.required || option.optional,
          isFile: /<file>/.test(option.flags),
        })),
    });
  }
  return places;
}

/** Arguments that come from a short list. */
function wordsBehind(verb: string, top: Place, command: Command): Place['words'] {
  if (verb === 'help') {
    return [
      ...helpTopics.map((word) => ({ word, about: 'help topic' })),
      ...top.words.filter(({ word }) => !helpTopics.includes(word)),
    ];
  }
  return command.registeredArguments.flatMap((argument) =>
    (argument.argChoices ?? []).map((word) => ({ word, about: '' })),
  );
}

/** The flags that take a value, of all commands together: a shell must not read the value as a word. */
export function valueFlags(places: Place[], isFile?: boolean): string[] {
  const names = places
    .flatMap((place) => place.flags)
    .filter((flag) => flag.takesValue && (isFile === undefined || flag.isFile === isFile))
    .flatMap((flag) => (flag.short === undefined ? [flag.long] : [flag.long, flag.short]));
  return [...new Set(names)].sort();
}
