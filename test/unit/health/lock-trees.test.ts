// Who has to end so that the others go on.
import { describe, expect, it } from 'vitest';
import { lockTrees } from '../../../src/health/lock-trees.ts';
import type { LockSessionRow } from '../../../src/sql/health-locks.ts';

const session = (
  pid: number,
  blockedBy: number[] | null,
  preparedBy: string[] | null = null,
): LockSessionRow => ({
  pid,
  user: 'app',
  application: 'test',
  database: 'app',
  state: 'active',
  backendType: 'client backend',
  transactionSeconds: 1,
  query: '',
  blockedBy,
  waitedSeconds: blockedBy === null ? null : 1,
  mode: null,
  target: null,
  preparedBy,
});

/** root: waiter@depth, ... */
const told = (sessions: LockSessionRow[]) =>
  lockTrees(sessions).map(({ root, waiters }) => [
    typeof root === 'object' ? (root?.pid ?? 'circle') : root,
    waiters.map((waiter) => `${waiter.session.pid}@${waiter.depth}`).join(' '),
  ]);

describe('lock trees', () => {
  it('are none where nobody waits', () => {
    expect(told([])).toEqual([]);
  });

  it('put those behind a waiter under its root, by the shortest way', () => {
    expect(told([session(1, null), session(2, [1]), session(3, [2, 1]), session(4, [3])])).toEqual([
      [1, '2@0 3@0 4@1'],
    ]);
  });

  it('put a waiter under each of its roots', () => {
    expect(told([session(1, null), session(2, null), session(3, [1, 2])])).toEqual([
      [1, '3@0'],
      [2, '3@0'],
    ]);
  });

  it('name prepared transactions, those that ended meanwhile too', () => {
    expect(told([session(2, [0], ['transfer']), session(3, [2])])).toEqual([['transfer', '2@0 3@1']]);
    expect(told([session(2, [0])])).toEqual([['unknown', '2@0']]);
  });

  it('have no root in a circle, and lose nobody who stands behind it', () => {
    expect(told([session(1, [2]), session(2, [1]), session(3, [2])])).toEqual([['circle', '1@0 2@0 3@0']]);
  });

  it('leave out a waiter that got its lock meanwhile', () => {
    expect(told([session(1, [])])).toEqual([]);
  });
});
