import type { CommandDefinition } from './command.ts';

/** A row of the command table. The module is loaded only when the command runs or its help is asked for. */
export interface CommandEntry {
  noun: string | null;
  verb: string;
  summary: string;
  load(): Promise<{ command: CommandDefinition }>;
}

export const nouns: Record<string, string> = {
  partition: 'create, retire, convert and check partitions',
  config: 'show, check and describe the configuration',
};

/** What `dbops help` knows besides commands. */
export const helpTopics: readonly string[] = ['exit-codes', 'environment', 'config'];

export const commands: CommandEntry[] = [
  {
    noun: null,
    verb: 'init',
    summary: 'write a first dbops.yaml from what is in the database',
    load: () => import('./init.ts'),
  },
  {
    noun: null,
    verb: 'doctor',
    summary: 'say what is there, what is missing and how to get it',
    load: () => import('./doctor.ts'),
  },
  {
    noun: 'partition',
    verb: 'check',
    summary: 'find what is wrong with partitions, with the command that mends it',
    load: () => import('./partition/check.ts'),
  },
  {
    noun: 'partition',
    verb: 'list',
    summary: 'show sets, partitions, bounds, rows and sizes',
    load: () => import('./partition/list.ts'),
  },
  {
    noun: 'partition',
    verb: 'plan',
    summary: 'show what ensure and retention would do, all tables on one screen',
    load: () => import('./partition/plan.ts'),
  },
  {
    noun: 'partition',
    verb: 'ensure',
    summary: 'create the partitions that will be needed',
    load: () => import('./partition/ensure.ts'),
  },
  {
    noun: 'partition',
    verb: 'detach',
    summary: 'take partitions out of their table; their rows stay',
    load: () => import('./partition/detach.ts'),
  },
  {
    noun: 'partition',
    verb: 'attach',
    summary: 'make a table a partition, again or for the first time',
    load: () => import('./partition/attach.ts'),
  },
  {
    noun: 'partition',
    verb: 'drop',
    summary: 'drop detached partitions that are due, or by name',
    load: () => import('./partition/drop.ts'),
  },
  {
    noun: 'partition',
    verb: 'convert',
    summary: 'make a live table partitioned without copying it',
    load: () => import('./partition/convert.ts'),
  },
  {
    noun: 'partition',
    verb: 'drain',
    summary: 'split a default or legacy partition into periods',
    load: () => import('./partition/drain.ts'),
  },
  {
    noun: 'partition',
    verb: 'prune-check',
    summary: 'say which statements read every partition, and why',
    load: () => import('./partition/prune-check.ts'),
  },
  {
    noun: 'config',
    verb: 'show',
    summary: 'print each value and where it came from',
    load: () => import('./config/show.ts'),
  },
  {
    noun: 'config',
    verb: 'check',
    summary: 'say everything that is wrong in the configuration',
    load: () => import('./config/check.ts'),
  },
  {
    noun: 'config',
    verb: 'schema',
    summary: 'print the JSON Schema of the file, for editors',
    load: () => import('./config/schema.ts'),
  },
  {
    noun: null,
    verb: 'history',
    summary: 'list what dbops has done in this database',
    load: () => import('./history.ts'),
  },
  {
    noun: null,
    verb: 'completion',
    summary: 'print the completion script of a shell',
    load: () => import('./completion/completion.ts'),
  },
  {
    noun: null,
    verb: 'help',
    summary: 'explain a command or a topic',
    load: () => import('./help/help.ts'),
  },
];
