import { describe, expect, it } from 'vitest';
import { lockTrees } from '../../../src/inspect/locks.ts';
import type { LockSessionRow } from '../../../src/sql/inspect-locks.ts';

function session(pid: number, blockers: number[] = [], waitSeconds: number | null = null): LockSessionRow {
  return {
    pid,
    user: 'app',
    application: '',
    client: null,
    state: 'active',
    transactionSeconds: 10,
    stateSeconds: 1,
    hasWritten: false,
    query: 'select 1',
    isHidden: false,
    blockers,
    waitSeconds,
    waitMode: blockers.length > 0 ? 'ShareLock' : null,
    waitKind: null,
    table: null,
  };
}

const shape = (nodes: ReturnType<typeof lockTrees>) =>
  nodes.map(({ pid, depth, waiters }) => `${String(depth)}:${String(pid)}:${String(waiters)}`);

describe('lockTrees', () => {
  it('shows each of a long queue once, below the holder', () => {
    const queue = Array.from({ length: 200 }, (_, at) =>
      session(at + 2, [1, ...Array.from({ length: at }, (_, before) => before + 2)], 200 - at),
    );
    const nodes = lockTrees([session(1), ...queue], []);
    expect(nodes).toHaveLength(201);
    expect(nodes[0]).toMatchObject({ pid: 1, depth: 0, waiters: 200 });
    expect(nodes[0]?.end?.effect).toBe(
      'ends its transaction of 10 s, which has written nothing; 200 sessions go on',
    );
    expect(nodes.slice(1).every(({ depth, end }) => depth === 1 && end === null)).toBe(true);
    expect(nodes[2]?.alsoBlockedBy).toEqual([2]);
  });

  it('shows who waits for one that waits below it, and the largest tree first', () => {
    const nodes = lockTrees(
      [
        session(1),
        session(2, [1], 5),
        session(10),
        session(11, [10], 3),
        session(12, [11], 2),
        session(13, [10], 1),
      ],
      [],
    );
    expect(shape(nodes)).toEqual(['0:10:3', '1:11:1', '2:12:0', '1:13:0', '0:1:1', '1:2:0']);
  });

  it('ends with a circle, which has no root, and with who waits for it', () => {
    const nodes = lockTrees([session(1, [2], 9), session(2, [1], 8), session(3, [2], 7)], []);
    expect(nodes.map(({ pid }) => pid).sort()).toEqual([1, 2, 3]);
    expect(nodes[0]).toMatchObject({ pid: 1, depth: 0 });
  });

  it('puts who waits for a prepared transaction below it', () => {
    const nodes = lockTrees(
      [session(0), session(5, [0], 3), session(6, [5, 0], 1)],
      [
        { gid: "it's", user: 'app', database: 'shop', ageSeconds: 60, waiter: 5 },
        { gid: "it's", user: 'app', database: 'shop', ageSeconds: 60, waiter: 6 },
      ],
    );
    expect(shape(nodes)).toEqual(['0:null:2', '1:5:0', '1:6:0']);
    expect(nodes[0]?.end?.sql).toBe("rollback prepared 'it''s';");
  });
});
