import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isNear, recommend, type Machine } from '../../../src/health/tune/recommend.ts';

const gigabyte = 2 ** 30;
const machine: Machine = {
  memoryBytes: 16 * gigabyte,
  cpus: 4,
  storage: 'ssd',
  connections: 100,
  versionNum: 170_000,
};
const written = (of: Partial<Machine>) =>
  Object.fromEntries(recommend({ ...machine, ...of }).map((item) => [item.name, item.written]));

describe('recommend', () => {
  it('computes what the documentation begins with', () => {
    expect(written({})).toEqual({
      shared_buffers: '4096MB',
      effective_cache_size: '12288MB',
      maintenance_work_mem: '1024MB',
      work_mem: '40MB',
      max_worker_processes: '8',
      max_parallel_workers: '4',
      max_parallel_workers_per_gather: '2',
      max_parallel_maintenance_workers: '2',
      random_page_cost: '1.1',
      effective_io_concurrency: '200',
    });
  });

  it('knows small machines, disks, what is not known, and PostgreSQL 18', () => {
    expect(written({ memoryBytes: gigabyte / 2 })).toMatchObject({ shared_buffers: '64MB', work_mem: '4MB' });
    expect(written({ memoryBytes: 256 * gigabyte })).toMatchObject({ maintenance_work_mem: '2048MB' });
    expect(written({ storage: 'hdd' })).toMatchObject({
      random_page_cost: '4',
      effective_io_concurrency: '2',
    });
    expect(written({ storage: null })).not.toHaveProperty('random_page_cost');
    expect(written({ versionNum: 180_000 })).not.toHaveProperty('effective_io_concurrency');
  });

  it('never gives out more memory than there is, and names a reason and a source for each', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2 ** 28, max: 2 ** 40 }),
        fc.integer({ min: 1, max: 256 }),
        fc.integer({ min: 1, max: 5000 }),
        (memoryBytes, cpus, connections) => {
          const all = recommend({ ...machine, memoryBytes, cpus, connections });
          const value = (name: string) => all.find((item) => item.name === name)?.value ?? NaN;
          const taken = value('shared_buffers') + value('work_mem') * connections * 3;
          if (value('work_mem') > 4 * 2 ** 20) expect(taken).toBeLessThanOrEqual(memoryBytes);
          expect(value('max_parallel_workers')).toBeLessThanOrEqual(value('max_worker_processes'));
          for (const item of all) expect(item.reason.length * item.source.length).toBeGreaterThan(0);
        },
      ),
    );
  });

  it('leaves alone what is near', () => {
    expect([isNear(100, 125), isNear(125, 100), isNear(100, 126), isNear(0, 1), isNear(-1, 1)]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});
