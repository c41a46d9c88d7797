// Who has to end so that the others go on, and how that is shown.
import { describe, expect, it } from 'vitest';
import { lockTrees } from '../../../src/inspect/lock-trees.ts';
import { lockNodes } from '../../../src/inspect/locks.ts';
import type { LockSessionRow } from '../../../src/sql/lock-waits.ts';

function session(
  pid: number,
  blockedBy: number[] | null,
  { prepared, waited = 1 }: { prepared?: string; waited?: number } = {},
): LockSessionRow {
  return {
    pid,
    user: 'app',
    application: 'test',
    database: 'app',
    client: null,
    state: 'active',
    backendType: 'client backend',
    transactionSeconds: 10,
    stateSeconds: 1,
    hasWritten: false,
    query: '',
    isHidden: false,
    blockedBy,
    waitedSeconds: blockedBy === null ? null : waited,
    mode: null,
    target: null,
    preparedBy:
      prepared === undefined ? null : [{ gid: prepared, user: 'app', database: 'shop', ageSeconds: 60 }],
  };
}

/** root: waiter@depth, ...; with a star where it waits for another root as well. */
const told = (sessions: LockSessionRow[]) =>
  lockTrees(sessions).map(({ root, waiters }) => [
    root.kind === 'session' ? root.session.pid : root.kind === 'prepared' ? root.transaction.gid : root.kind,
    waiters.map((waiter) => `${waiter.session.pid}@${waiter.depth}${waiter.isShared ? '*' : ''}`).join(' '),
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
    expect(told([session(1, null), session(2, null), session(3, [1, 2]), session(4, [1])])).toEqual([
      [1, '3@0* 4@0'],
      [2, '3@0*'],
    ]);
  });

  it('name prepared transactions, those that ended meanwhile too', () => {
    expect(told([session(2, [0], { prepared: 'transfer' }), session(3, [2])])).toEqual([
      ['transfer', '2@0 3@1'],
    ]);
    expect(told([session(2, [0])])).toEqual([['unknown', '2@0']]);
  });

  it('have no root in a circle, and lose nobody who stands behind it', () => {
    expect(told([session(1, [2]), session(2, [1]), session(3, [2])])).toEqual([['circle', '1@0 2@0 3@0']]);
  });

  it('leave out a waiter that got its lock meanwhile', () => {
    expect(told([session(1, [])])).toEqual([]);
  });

  it('count a blocker once that is named for each of its parallel workers', () => {
    const [tree] = lockTrees([session(1, null), session(2, [1, 1]), session(3, [2, 2, 1])]);
    expect(tree!.waiters.map(({ alsoBehind }) => alsoBehind)).toEqual([[], [2]]);
  });
});

describe('the lines of lock trees', () => {
  const shape = (sessions: LockSessionRow[]) =>
    lockNodes(lockTrees(sessions)).map(({ pid, depth, waiters }) => `${depth}:${pid}:${waiters}`);

  it('show each of a long queue once, below the holder', () => {
    const queue = Array.from({ length: 200 }, (_, at) =>
      session(at + 2, [1, ...Array.from({ length: at }, (_, before) => before + 2)], { waited: 200 - at }),
    );
    const nodes = lockNodes(lockTrees([session(1, null), ...queue]));
    expect(nodes).toHaveLength(201);
    expect(nodes[0]).toMatchObject({ pid: 1, depth: 0, waiters: 200 });
    expect(nodes[0]?.end?.effect).toBe(
      'ends its transaction of 10 s, which has written nothing; 200 sessions go on',
    );
    expect(nodes.slice(1).every(({ depth, end }) => depth === 1 && end === null)).toBe(true);
    expect(nodes[2]?.alsoBehind).toEqual([2]);
  });

  it('show who waits for one that waits below it, and the largest tree first', () => {
    expect(
      shape([
        session(1, null),
        session(2, [1], { waited: 5 }),
        session(10, null),
        session(11, [10], { waited: 3 }),
        session(12, [11], { waited: 2 }),
        session(13, [10]),
      ]),
    ).toEqual(['0:10:3', '1:11:null', '2:12:null', '1:13:null', '0:1:1', '1:2:null']);
  });

  it('promise nothing of one root to those who wait for another as well', () => {
    const nodes = lockNodes(
      lockTrees([session(1, null), session(2, null), session(3, [1, 2]), session(4, [3]), session(5, [1])]),
    );
    expect(nodes.map(({ pid, depth, end }) => [pid, depth, end?.effect.replace(/^.*; /, '')])).toEqual([
      [1, 0, '1 session goes on, 2 wait for others too'],
      [3, 1, undefined],
      [4, 2, undefined],
      [5, 1, undefined],
      [2, 0, '2 wait for others too'],
    ]);
  });

  it('put who waits for a prepared transaction below it', () => {
    const sessions = [session(5, [0], { prepared: "it's" }), session(6, [5, 0], { prepared: "it's" })];
    expect(shape(sessions)).toEqual(['0:null:2', '1:5:null', '1:6:null']);
    expect(lockNodes(lockTrees(sessions))[0]?.end?.sql).toBe("rollback prepared 'it''s';");
  });

  it('end nobody in a circle, and no process that replays what the primary has locked', () => {
    const circle = lockNodes(lockTrees([session(1, [2]), session(2, [1])]));
    expect(circle.map(({ pid, depth, end }) => [pid, depth, end])).toEqual([
      [1, 0, null],
      [2, 0, null],
    ]);
    const startup = { ...session(1, null), user: null, backendType: 'startup' };
    expect(lockNodes(lockTrees([startup, session(2, [1])]))[0]?.end).toEqual({
      sql: null,
      effect: '1 replays a lock of the primary: the transaction there has to end; 1 session goes on',
    });
  });
});
