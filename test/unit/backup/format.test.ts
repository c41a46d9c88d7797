import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { command } from '../../../src/commands/backup/schema.ts';
import { backupManifestJsonSchema } from '../../../src/backup/manifest.ts';

const docs = path.resolve(import.meta.dirname, '..', '..', '..', 'docs');

it('docs/backup-manifest.schema.json is the schema of the manifest, and what "backup schema" prints', async () => {
  const text = fs.readFileSync(path.join(docs, 'backup-manifest.schema.json'), 'utf8');
  expect(JSON.parse(text)).toEqual(backupManifestJsonSchema());
  const printed = await command.run({} as Parameters<typeof command.run>[0]);
  expect(JSON.parse((await printed.text) ?? '')).toEqual(backupManifestJsonSchema());
});

it('the schema lets later versions add fields', () => {
  const { properties, ...rest } = backupManifestJsonSchema() as {
    properties: object;
    additionalProperties?: unknown;
  };
  expect(rest.additionalProperties).not.toBe(false);
  expect(properties).toHaveProperty('formatVersion');
});
