import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Change } from '../src/model/change.ts'
import { displayName, fromAbsolute } from '../src/model/path.ts'
import { CaptureDriver } from './capture-driver.ts'

/** A driver over a directory of its own, both gone when the test ends. */
export function openDriver(test: TestContext, options?: ConstructorParameters<typeof CaptureDriver>[1]): CaptureDriver {
  const scratch = mkdtempSync(join(tmpdir(), 'tidemark-capture-'))
  const driver = new CaptureDriver(scratch, options)
  test.after(() => {
    driver.close()
    rmSync(scratch, { recursive: true, force: true })
  })
  return driver
}

/** Changes in few words, with paths below the driver's top; attributes of directories, which follow everything, are left out. */
export function told(driver: CaptureDriver, changes: readonly Change[]): string[] {
  const top = fromAbsolute(driver.top)
  const short = (path: string): string => displayName(path.startsWith(top) ? path.slice(top.length + 1) : path)
  return changes
    .filter((change) => !isAside(change, top))
    .map((change) => {
      if (change.kind === 'mark')
        return ['mark', change.mark.type, 'reason' in change.mark ? change.mark.reason : ''].join(' ').trim()
      if (change.kind === 'rename') return `rename ${short(change.from)} ${short(change.path)}`
      if (change.kind === 'link') return `link ${short(change.path)} ${short(change.to)}`
      return `${change.kind} ${short(change.path)}`
    })
}

const isAside = (change: Change, top: string): boolean =>
  change.kind === 'attributes' && (change.path.length <= top.length || change.attributes.mode === 0o755)

export const needsRoot = process.getuid?.() === 0 ? false : 'needs root'
