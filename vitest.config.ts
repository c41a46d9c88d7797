import { defineConfig } from 'vitest/config';

const server = { globalSetup: ['test/support/global-setup.ts'], testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    // Each worker starts dbops and psql processes of its own and shares the server with the others.
    maxWorkers: 2,
    projects: [
      // They leave nothing behind: one process reads the modules once for all of them.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], isolate: false } },
      { test: { name: 'integration', include: ['test/integration/**/*.test.ts'], ...server } },
      { test: { name: 'faults', include: ['test/faults/**/*.test.ts'], ...server } },
      { test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], ...server } },
    ],
  },
});
