import { backupManifestJsonSchema } from '../../backup/manifest.ts';
import { toJson } from '../../output/json.ts';
import { defineCommand, type Result } from '../command.ts';

export const command = defineCommand({
  changes: false,
  needsSettings: false,
  examples: [
    {
      command: 'dbops backup schema > backup-manifest.schema.json',
      about: 'for programs of others that read manifest.json',
    },
  ],
  notes: 'The JSON Schema of manifest.json, which docs/backup-format.md explains.',
  declare: () => undefined,
  run(): Promise<Result> {
    const schema = backupManifestJsonSchema();
    return Promise.resolve({ data: schema, text: toJson(schema) });
  },
});
