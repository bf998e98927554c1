import { existsSync, lstatSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import { syncFolder } from '../base/sync-folder.ts'
import type { Sequence } from '../model/sequence.ts'
import { unfinishedRestore } from './state-folder.ts'

/**
 * Puts what was restored in the place of what is there. It is restored beside it, on the same file system, and only once it is
 * whole are the names changed over: at no time is there a half of each, and what was there stays under another name.
 */
export interface ChangeOver {
  /** The original place: a path of the source. */
  readonly place: string
  /** Where it is restored to first; holds the whole path below it. */
  readonly staging: string
}

export function changeOverAt(place: string, source: string): ChangeOver {
  if (dirname(place) === place || isMountPoint(place))
    throw new TidemarkError('bad-request', {
      message: `${place} is the root of a file system, which cannot be changed over`,
      hint: 'restore to another directory and copy what you need; or give a directory within with --path',
    })
  return { place, staging: join(dirname(place), `.tidemark-restored-${source}`) }
}

/** Whether an earlier run has restored all of it, and only the names are left to be changed. */
export const isRestored = ({ place, staging }: ChangeOver): boolean =>
  existsSync(join(staging, place)) && unfinishedRestore(staging) === undefined

/** The name that what was there has now; undefined where nothing was. May be repeated after a stop at any place. */
export function changeOver({ place, staging }: ChangeOver, at: Sequence): string | undefined {
  const restored = join(staging, place)
  if (!existsSync(restored))
    throw new TidemarkError('not-found', {
      message: `there was no ${place} at that point; nothing was changed`,
      hint: 'look for it with "tidemark ls" and choose another point',
    })
  const kept = isThere(place) ? freeName(`${place}.before-seq-${at}`) : undefined
  if (kept !== undefined) move(place, kept)
  move(restored, place)
  syncFolder(dirname(place))
  rmSync(staging, { recursive: true })
  return kept
}

function move(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if (!isSystemError(error, 'EBUSY', 'EXDEV')) throw error
    throw new TidemarkError('in-use', {
      message: `${from} cannot be renamed to ${to}: something is mounted there`,
      hint: `unmount what is mounted at or below ${from}, then go on with --resume`,
      cause: error,
    })
  }
}

function freeName(wanted: string): string {
  for (let count = 1; ; count++) {
    const name = count === 1 ? wanted : `${wanted}-${count}`
    if (!isThere(name)) return name
  }
}

const isThere = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined

function isMountPoint(path: string): boolean {
  const here = statSync(path, { throwIfNoEntry: false })
  return here !== undefined && here.isDirectory() && basename(path) !== '' && here.dev !== statSync(dirname(path)).dev
}
