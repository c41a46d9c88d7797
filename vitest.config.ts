import { defineConfig } from 'vitest/config';

const server = { globalSetup: ['test/support/global-setup.ts'], testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'] } },
      { test: { name: 'integration', include: ['test/integration/**/*.test.ts'], maxWorkers: 2, ...server } },
      { test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], maxWorkers: 2, ...server } },
    ],
  },
});
