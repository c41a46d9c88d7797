import { manifestJsonSchema } from '../../archive/manifest.ts';
import { toJson } from '../../output/json.ts';
import { defineCommand, type Result } from '../command.ts';

export const command = defineCommand({
  changes: false,
  needsSettings: false,
  examples: [
    {
      command: 'dbops archive schema > archive-manifest.schema.json',
      about: 'for programs of others that read manifest.json',
    },
  ],
  notes: 'The JSON Schema of manifest.json, which docs/archive-format.md explains.',
  declare: () => undefined,
  run(): Promise<Result> {
    const schema = manifestJsonSchema();
    return Promise.resolve({ data: schema, text: toJson(schema) });
  },
});
