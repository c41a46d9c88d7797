import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { command } from '../../../src/commands/backup/schema.ts';
import { backupManifestJsonSchema } from '../../../src/backup/manifest.ts';
import { fieldsOf, type Schema } from '../../support/schema-fields.ts';

const docs = path.resolve(import.meta.dirname, '..', '..', '..', 'docs');

it('docs/backup-manifest.schema.json is the schema of the manifest, and what "backup schema" prints', async () => {
  const text = fs.readFileSync(path.join(docs, 'backup-manifest.schema.json'), 'utf8');
  expect(JSON.parse(text)).toEqual(backupManifestJsonSchema());
  const printed = await command.run({} as Parameters<typeof command.run>[0]);
  expect(JSON.parse((await printed.text) ?? '')).toEqual(backupManifestJsonSchema());
});

it('docs/backup-format.md has every field of the manifest, and no other', () => {
  const text = fs.readFileSync(path.join(docs, 'backup-format.md'), 'utf8');
  const section = text.slice(text.indexOf('## The manifest'), text.indexOf('## Versions'));
  const told = [...section.matchAll(/^\| `([^`]+)` +\|/gm)].map((match) => match[1]);
  const fields = fieldsOf(backupManifestJsonSchema() as Schema);
  expect(fields.length).toBeGreaterThan(80);
  expect(told).toEqual(fields);
});

it('the schema lets later versions add fields', () => {
  const { properties, ...rest } = backupManifestJsonSchema() as Schema & { additionalProperties?: unknown };
  expect(rest.additionalProperties).not.toBe(false);
  expect(properties).toHaveProperty('formatVersion');
});
