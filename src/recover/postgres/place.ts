import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { isSystemError, TidemarkError } from '../../base/errors.ts'
import type { Baseline } from '../../format/postgres-tree.ts'
import { preflightFact as fact, type PreflightFact } from '../../model/preflight.ts'
import { unfinishedRestore } from '../state-folder.ts'

/** Where a cluster is brought back to. */
export interface Place {
  readonly data: string
  /** By oid: all that the baseline has. */
  readonly tablespaces: ReadonlyMap<number, string>
  /** Whom all of it belongs to, where this process is root; else it is this user's. */
  readonly owner: ServerUser | undefined
}

export interface ServerUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** A file by whose absence a server refuses to start: it gets its name last of all. */
export const controlFile = 'global/pg_control'
export const heldControlFile = 'global/pg_control.restoring'

/** Puts each tablespace below `<data>.tablespaces` unless another folder was chosen for it; refuses what collides. */
export function choosePlace(
  data: string,
  { tablespaces }: Pick<Baseline, 'tablespaces'>,
  chosen: ReadonlyMap<number, string>,
  owner: ServerUser | undefined,
): Place {
  const target = resolve(data)
  for (const oid of chosen.keys()) {
    if (tablespaces.some((one) => one.oid === oid)) continue
    throw new TidemarkError('not-found', {
      message: `the baseline has no tablespace ${oid}`,
      hint:
        tablespaces.length === 0
          ? 'leave out --tablespace'
          : `it has ${tablespaces.map(({ oid: one, location }) => `${one} (${location})`).join(', ')}`,
    })
  }
  const places = new Map(
    tablespaces.map(({ oid }) => [oid, resolve(chosen.get(oid) ?? `${target}.tablespaces/${oid}`)]),
  )
  const all = [target, ...places.values()]
  for (const [index, one] of all.entries()) {
    const other = all.find((two, at) => at !== index && isAtOrBelow(one, two))
    if (other !== undefined)
      throw new TidemarkError('bad-request', {
        message: `${one} is within ${other}; the data directory and each tablespace need a folder of their own`,
        hint: 'choose others with --to and --tablespace OID=DIRECTORY',
        fact: fact('target-collides', { path: one, folder: other }),
      })
  }
  return { data: target, tablespaces: places, owner }
}

const isAtOrBelow = (path: string, folder: string): boolean => !relative(folder, path).startsWith('..')

/** What a place holds of a restore that did not end. */
export type PlaceState = 'free' | 'begun' | 'restored'

/** Refuses a place that holds anything else; `begun` and `restored` only to go on with. */
export function stateOf(place: Place, resume: boolean): PlaceState {
  const { data, tablespaces } = place
  if (isHeld(data)) {
    if (resume) return 'restored'
    throw notEmpty(
      data,
      'holds a restore that did not end',
      'go on with --resume, or choose an empty directory',
      fact('target-begun', { path: data }),
    )
  }
  if (unfinishedRestore(data) !== undefined) return 'begun'
  for (const folder of [data, ...tablespaces.values()]) {
    const [name, ...more] = namesIn(folder).filter((one) => one !== 'lost+found' && one !== '.tidemark-restore')
    if (name === undefined) continue
    throw notEmpty(
      folder,
      'is not empty',
      'choose an empty directory, or one that does not exist yet',
      fact('target-filled', { path: folder, name, more: more.length }),
    )
  }
  return 'free'
}

export const isHeld = (data: string): boolean => existsSync(`${data}/${heldControlFile}`)

function notEmpty(folder: string, what: string, hint: string, told: PreflightFact): TidemarkError {
  return new TidemarkError('target-not-empty', { message: `${folder} ${what}`, hint, fact: told })
}

export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return []
    if (!isSystemError(error, 'ENOTDIR')) throw error
    throw notEmpty(
      folder,
      'is not a directory',
      'choose an empty directory, or one that does not exist yet',
      fact('target-not-directory', { path: folder }),
    )
  }
}

/** Refuses a place that the user of the server could not come to: a restore of an hour would end with a server that does not start. */
export function checkWay({ data, tablespaces, owner }: Place): void {
  if (owner === undefined) return
  for (const folder of [data, ...tablespaces.values()]) {
    for (let at = dirname(folder); at !== dirname(at); at = dirname(at)) {
      if (lstatSync(at, { throwIfNoEntry: false }) === undefined) continue
      const { mode, uid, gid } = statSync(at)
      const bit = uid === owner.uid ? 0o100 : gid === owner.gid ? 0o010 : 0o001
      if ((mode & bit) !== 0) continue
      throw new TidemarkError('not-allowed', {
        message: `the user ${owner.name}, whom the server runs as, may not enter ${at}`,
        hint: `choose a directory that ${owner.name} can reach, or another user with --user`,
        fact: fact('way-closed', { user: owner.name, path: at }),
      })
    }
  }
}
