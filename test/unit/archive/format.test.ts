import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { manifestJsonSchema } from '../../../src/archive/manifest.ts';
import { fieldsOf, type Schema } from '../../support/schema-fields.ts';

const docs = path.resolve(import.meta.dirname, '..', '..', '..', 'docs');

it('docs/archive-format.md has every field of the manifest, and no other', () => {
  const text = fs.readFileSync(path.join(docs, 'archive-format.md'), 'utf8');
  const section = text.slice(text.indexOf('## The manifest'), text.indexOf('## Holds'));
  const told = [...section.matchAll(/^\| `([^`]+)` +\|/gm)].map((match) => match[1]);
  const fields = fieldsOf(manifestJsonSchema() as Schema);
  expect(fields.length).toBeGreaterThan(100);
  expect(told).toEqual(fields);
});

it('docs/archive-manifest.schema.json is the schema of the manifest', () => {
  const text = fs.readFileSync(path.join(docs, 'archive-manifest.schema.json'), 'utf8');
  expect(JSON.parse(text)).toEqual(manifestJsonSchema());
});

it('the schema lets later versions add fields', () => {
  const { properties, ...rest } = manifestJsonSchema() as Schema & { additionalProperties?: unknown };
  expect(rest.additionalProperties).not.toBe(false);
  expect(properties).toHaveProperty('formatVersion');
});
