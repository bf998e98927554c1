import { globSync } from 'node:fs'

/** Every test file, relative to `root`; the ones that cross modules, which take longest, first. */
export const findTestFiles = (root: string): string[] =>
  ['test/**/*.test.ts', 'src/**/*.test.ts', 'web/src/**/*.test.ts'].flatMap((glob) =>
    globSync(glob, { cwd: root }).toSorted(),
  )
