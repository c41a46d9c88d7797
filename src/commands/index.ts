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

export const commands: CommandEntry[] = [
  {
    noun: 'partition',
    verb: 'ensure',
    summary: 'create the partitions that will be needed',
    load: () => import('./partition/ensure.ts'),
  },
];
