import { writeFileSync } from 'node:fs'
import { errorCodes } from '../src/base/errors.ts'

/** The page of error codes, from the one list of them. `node scripts/errors-page.ts` writes it; a test compares. */
export const errorsPage = `# Error codes

Generated from \`src/base/errors.ts\` by \`scripts/errors-page.ts\`. A code never changes its meaning; scripts may match on it.

| code | meaning |
|---|---|
${Object.entries(errorCodes)
  .map(([code, meaning]) => `| \`${code}\` | ${meaning} |`)
  .join('\n')}
`

if (import.meta.main) writeFileSync(new URL('../docs/operate/errors.md', import.meta.url), errorsPage)
