import { closeSync, constants, lstatSync, mkdirSync, openSync, readdirSync, realpathSync, statfsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import { formatMoment, isoMoment } from '../model/moment.ts'
import { preflightFact as fact } from '../model/preflight.ts'
import type { PlanTotals } from './plan.ts'
import { type RestoreState, stateFolderName, unfinishedRestore } from './state-folder.ts'

/** The directory a restore writes into. */
export class TargetDirectory implements Disposable {
  readonly path: string
  readonly descriptor: number

  constructor(path: string) {
    mkdirSync(path, { recursive: true })
    this.path = realpathSync(path)
    this.descriptor = openSync(this.path, constants.O_RDONLY | constants.O_DIRECTORY)
  }

  [Symbol.dispose](): void {
    closeSync(this.descriptor)
  }
}

/** What a file system that was just made has in its root. */
const ownedByFilesystem = ['lost+found']

/**
 * Refuses a target that holds anything but what this very restore has left there, which `resume` goes on with.
 * An absent target is fine.
 */
export function checkTarget(path: string, restore: RestoreState, resume: boolean): void {
  const unfinished = unfinishedRestore(path)
  // A state folder that does not tell of a restore is one that was stopped at its very beginning.
  const ours = unfinished ? [] : [stateFolderName]
  const names = namesIn(path).filter((name) => ![...ownedByFilesystem, ...ours].includes(name))
  if (names.length === 0) return
  if (unfinished && sameRestore(unfinished, restore)) {
    if (resume) return
    throw new TidemarkError('target-not-empty', {
      message: `${path} holds this same restore, unfinished`,
      hint: 'go on with --resume, or choose an empty directory',
      fact: fact('target-begun', { path }),
    })
  }
  if (unfinished) {
    const { source, moment } = unfinished
    throw new TidemarkError('target-not-empty', {
      message: `${path} holds an unfinished restore of ${source} at ${formatMoment(moment)}`,
      hint: 'go on with that one with --resume, or choose an empty directory',
      fact: fact('target-begun-other', { path, source, moment: isoMoment(moment) }),
    })
  }
  throw new TidemarkError('target-not-empty', {
    message: `${path} is not empty; it holds "${names[0]}"${names.length > 1 ? ` and ${names.length - 1} more` : ''}`,
    hint: 'choose an empty directory, or one that does not exist yet',
    fact: fact('target-filled', { path, name: names[0] as string, more: names.length - 1 }),
  })
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return []
    if (!isSystemError(error, 'ENOTDIR')) throw error
    throw new TidemarkError('target-not-empty', {
      message: `${path} is not a directory`,
      hint: 'choose an empty directory, or one that does not exist yet',
      fact: fact('target-not-directory', { path }),
    })
  }
}

const sameRestore = (a: RestoreState, b: RestoreState): boolean =>
  a.source === b.source && a.at === b.at && a.paths.join('\0') === b.paths.join('\0')

/** What the file system of a target, which need not exist yet, still takes. */
export interface Room {
  readonly blockBytes: number
  readonly freeBytes: number
  /** Infinity where the file system makes inodes as they are needed. */
  readonly freeInodes: number
}

export function roomAt(path: string): Room {
  const { bsize, bavail, files, ffree } = statfsSync(nearestExisting(resolve(path)))
  return { blockBytes: bsize, freeBytes: bavail * bsize, freeInodes: files === 0 ? Infinity : ffree }
}

function nearestExisting(path: string): string {
  for (let at = path; ; at = dirname(at)) {
    if (lstatSync(at, { throwIfNoEntry: false }) !== undefined || at === dirname(at)) return at
  }
}

export function checkRoom(path: string, room: Room, totals: PlanTotals): void {
  const inodes = totals.files + totals.directories + totals.nodes
  if (totals.spaceBytes > room.freeBytes) {
    throw new TidemarkError('no-space', {
      message: `the restore needs ${totals.spaceBytes} bytes, and ${path} has ${room.freeBytes} free`,
      hint: 'make room or choose another target, or restore less with --path',
      fact: fact('room-short', { path, neededBytes: totals.spaceBytes, freeBytes: room.freeBytes }),
    })
  }
  if (inodes > room.freeInodes) {
    throw new TidemarkError('no-space', {
      message: `the restore makes ${inodes} entries, and the file system of ${path} has inodes for ${room.freeInodes}`,
      hint: 'choose a target on a file system with more inodes',
      fact: fact('entries-short', { path, needed: inodes, free: room.freeInodes }),
    })
  }
}

/** What is known beforehand not to come out as it was. */
export function foreseenNotes(totals: Pick<PlanTotals, 'devices'>): string[] {
  if (process.geteuid?.() === 0) return []
  const notes = ['not run as root: owners stay this user, and attributes only root may set are left out']
  if (totals.devices > 0) notes.push(`not run as root: ${totals.devices} devices cannot be made`)
  return notes
}
