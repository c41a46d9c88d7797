import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseBackupManifest, writeBackupManifest } from '../../../src/backup/manifest.ts';
import { laidManifest } from '../../support/backups.ts';

const manifest = laidManifest({ id: '20260101T000000Z-aaaaaaaa', at: '2026-01-01T00:00:00.000Z' });
const text = writeBackupManifest({ ...manifest, reason: 'vor der Änderung' });

describe('the manifest of a backup', () => {
  it('is read as it was written, and says its own hash in a way that sha256sum can check', () => {
    expect(parseBackupManifest(text, 'here')).toEqual({ ...manifest, reason: 'vor der Änderung' });
    const lines = text.split('\n');
    const before = lines.slice(0, -3).join('\n').replace(/,$/, '');
    const hash = createHash('sha256').update(before).digest('hex');
    expect(lines.at(-3)).toBe(`  "sha256": "${hash}"`);
  });

  it('is refused when any byte of it was altered', () => {
    const bytes = Buffer.from(text);
    for (let index = 0; index < bytes.length; index += 1) {
      const altered = Buffer.from(bytes);
      altered[index] = (altered[index] ?? 0) ^ 1;
      expect(() => parseBackupManifest(altered.toString(), 'here'), `byte ${index}`).toThrow();
    }
  });

  it('is refused when it was cut off or lost its hash', () => {
    for (const cut of [text.slice(0, -1), text.slice(0, 80), '', JSON.stringify(manifest, null, 2)])
      expect(() => parseBackupManifest(cut, 'here')).toThrow(/not a manifest that can be read/);
  });
});
