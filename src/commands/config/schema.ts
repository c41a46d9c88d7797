import { jsonSchema } from '../../config/json-schema.ts';
import { toJson } from '../../output/json.ts';
import { defineCommand, type Result } from '../command.ts';

export const command = defineCommand({
  changes: false,
  needsSettings: false,
  examples: [
    {
      command: 'dbops config schema > dbops.schema.json',
      about: 'then put "# yaml-language-server: $schema=dbops.schema.json" into dbops.yaml',
    },
  ],
  notes: 'A JSON Schema of dbops.yaml, so that editors complete and check it.',
  declare: () => undefined,
  run(): Promise<Result> {
    const schema = jsonSchema();
    return Promise.resolve({ data: schema, text: toJson(schema) });
  },
});
