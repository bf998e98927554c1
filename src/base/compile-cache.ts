import { existsSync, lstatSync, mkdirSync, realpathSync } from 'node:fs'
import { constants, enableCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'

/**
 * Keeps what V8 compiles of the program, so that the next start takes about half the time. Who can write there has code
 * run in the name of who reads it: a directory is used only if nobody but its user, and root, could have put anything in
 * its place; where there is none, it is done without. Worker threads use the returned one when NODE_COMPILE_CACHE names it.
 */
export function keepCompiled(cacheHome: string | undefined): string | undefined {
  const directory = privateDirectory(() => join(cacheFolder(cacheHome), 'tidemark', 'compiled'))
  if (directory === undefined) return undefined
  // Else the environment forbids it, or names a place already.
  return enableCompileCache(directory).status === constants.compileCacheStatus.ENABLED ? directory : undefined
}

/** A relative one is to be ignored (XDG Base Directory Specification). */
const cacheFolder = (wanted: string | undefined): string =>
  wanted !== undefined && isAbsolute(wanted) ? wanted : join(homedir(), '.cache')

/** The directory and the two above it. Not by mkdir's own `recursive`, which tries for ever below /proc. */
function make(path: string): void {
  for (const at of [dirname(dirname(path)), dirname(path), path]) {
    if (!existsSync(at)) mkdirSync(at, { mode: 0o700 })
  }
}

const othersMayWrite = 0o022
const sticky = 0o1000

/** The real path of the directory, made where it is missing; undefined where others could change it, or none can be made. */
export function privateDirectory(wanted: () => string): string | undefined {
  try {
    const path = wanted()
    make(path)
    const directory = realpathSync(path)
    if ((lstatSync(directory).mode & 0o077) !== 0) return undefined
    for (let at = directory; ; at = dirname(at)) {
      if (!isOurs(at, at === directory)) return undefined
      if (at === dirname(at)) return directory
    }
  } catch {
    // No home, or one that cannot be written to: nothing of the program hangs on what would be kept there.
    return undefined
  }
}

/** What stands in a sticky directory can be replaced only by its owner, who has been looked at already. */
function isOurs(path: string, isLast: boolean): boolean {
  const { mode, uid } = lstatSync(path)
  const us = process.getuid?.()
  if (uid !== us && (isLast || uid !== 0)) return false
  return (mode & othersMayWrite) === 0 || (!isLast && (mode & sticky) !== 0)
}
