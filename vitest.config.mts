import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['__test__/**/*.test.ts'],
    // A process per file: the addon's process-wide state never leaks from one file to the next.
    pool: 'forks',
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
