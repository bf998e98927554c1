import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** For the tests of this folder: a real directory that the test's end removes. */
export function scratchFolder(test: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-syscalls-'))
  test.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Why a test that needs root cannot run, or false. */
export const needsRoot = process.getuid?.() === 0 ? false : 'needs root'

export const toBinary = (bytes: Uint8Array | string): string => Buffer.from(bytes as Uint8Array).toString('latin1')
