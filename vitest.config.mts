import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['__test__/**/*.test.ts'],
    // The projects of users have tests of their own, which consumers.test.ts runs where they are installed.
    exclude: [...configDefaults.exclude, '__test__/package/consumers/**'],
    // A process per file: the addon's process-wide state never leaks from one file to the next.
    pool: 'forks',
    setupFiles: ['__test__/helpers/seed.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
