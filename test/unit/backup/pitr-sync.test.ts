import { expect, it } from 'vitest';
import { syncSettings } from '../../../src/backup/restore/pitr/recover.ts';

it.each([
  ['linux', '6.1.0-18-amd64', 'syncfs'],
  ['linux', '5.8.0', 'syncfs'],
  ['linux', '5.10.0-rc1', 'syncfs'],
  ['linux', '5.4.0-150-generic', undefined],
  ['linux', '4.18.0-513.el8.x86_64', undefined],
  ['linux', 'unknown', undefined],
  ['darwin', '23.5.0', undefined],
])('a recovery on %s %s is synced by %s', (system, kernel, method) => {
  expect(syncSettings(system, kernel)['recovery_init_sync_method']).toBe(method);
});
