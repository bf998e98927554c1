import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import { tryLock } from '../base/syscalls/lock.ts'
import { unlessFailedWith } from '../base/syscalls/system-call-error.ts'
import { removeXattr } from '../base/syscalls/xattrs.ts'
import { moment } from '../model/moment.ts'
import { fromUtf8 } from '../model/path.ts'
import { formatSequence, parseSequence } from '../model/sequence.ts'
import type { RestorePoint } from '../model/recovery-point.ts'

/**
 * The folder `.tidemark-restore` of a target: all that is not whole yet, and what is needed to go on after a stop.
 *
 *   restore.json   which restore this is: source, point, paths; the boot of the machine it last ran in; how its
 *                  groups are made
 *   manifest       the tree to restore (format/manifest.ts); a `manifest.part` is not whole
 *   staged/        `large`: files that take several groups, by their number; `writer-<n>`: one file at a time, lost
 *                  with its writer. Each is renamed to its place once it is complete and checked
 *   log            4 bytes big-endian each: the number of a group (groups.ts) that is written and checked, or
 *                  0xffffffff: all groups told before are durable. A last record of fewer bytes is none
 *
 * What a log from an earlier boot says counts only as far as it was durable.
 */
export const stateFolderName = '.tidemark-restore'

export interface RestoreState extends RestorePoint {
  readonly source: string
  /** Paths of the tree, as binary strings; none: the whole tree. */
  readonly paths: readonly string[]
}

interface StoredState extends RestoreState {
  readonly bootId: string
  readonly groups: string
}

const version = 1
const recordBytes = 4
const durableRecord = 0xffff_ffff

/** The restore that a target holds unfinished, if there is one: what `--resume` goes on with. */
export const unfinishedRestore = (target: string): RestoreState | undefined => readState(join(target, stateFolderName))

/** The one holder of a target's state folder. */
export class StateFolder implements Disposable {
  readonly path: string
  /** Groups that need not be fetched again. */
  readonly done: ReadonlySet<number>
  /** Large files that an earlier run has begun; see Piece. */
  readonly begun: ReadonlySet<number>
  readonly #log: number

  /** `groups` says how groups are made: a log of groups made in another way says nothing. */
  constructor(target: string, state: RestoreState, groups: string) {
    this.path = join(target, stateFolderName)
    mkdirSync(this.path, { recursive: true, mode: 0o700 })
    this.#log = openSync(join(this.path, 'log'), constants.O_RDWR | constants.O_CREAT, 0o600)
    if (!tryLock(this.#log)) {
      closeSync(this.#log)
      throw new TidemarkError('already-running', {
        message: `another process is restoring into ${target}`,
        hint: 'wait for it, or stop it and go on with --resume',
      })
    }
    this.done = this.#readLog(readState(this.path), groups)
    this.begun = new Set(readdirSync(this.staging('large')).map(Number))
    writeState(this.path, { ...state, bootId: bootId(), groups })
  }

  get manifest(): string {
    return join(this.path, 'manifest')
  }

  /** Where the large file whose first group has this number is while it is not whole. */
  staged(file: number): string {
    return join(this.path, 'staged', 'large', String(file))
  }

  /** An empty folder for what a writer makes in one go; a folder that is kept for what takes several. */
  staging(name: 'large' | `writer-${number}`): string {
    const folder = join(this.path, 'staged', name)
    if (name !== 'large') rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    // A default ACL of the target must not become part of what is restored.
    const place = fromUtf8(folder)
    unlessFailedWith(['ENODATA', 'ENOTSUP'], undefined, () => removeXattr(place, 'system.posix_acl_default'))
    return folder
  }

  /** The group is written and checked. */
  record(group: number): void {
    const bytes = Buffer.alloc(recordBytes)
    bytes.writeUInt32BE(group)
    writeSync(this.#log, bytes)
  }

  /** All groups recorded before are durable. */
  recordDurable(): void {
    this.record(durableRecord)
    fsyncSync(this.#log)
  }

  /** The restore is over. What says which it was goes last, so that a stop in between can be gone on from. */
  remove(): void {
    for (const name of ['staged', 'manifest', 'log', 'restore.json']) {
      rmSync(join(this.path, name), { recursive: true, force: true })
    }
    rmSync(this.path, { recursive: true })
  }

  [Symbol.dispose](): void {
    closeSync(this.#log)
  }

  /** Leaves the log cut behind its last record that counts, and the descriptor there. */
  #readLog(before: StoredState | undefined, groups: string): Set<number> {
    const log = Buffer.alloc(fstatSync(this.#log).size)
    readSync(this.#log, log, 0, log.length, 0)
    const done = new Set<number>()
    const sinceDurable: number[] = []
    let kept = 0
    if (before?.groups === groups) {
      const sameBoot = before.bootId === bootId()
      for (let at = 0; at + recordBytes <= log.length; at += recordBytes) {
        const record = log.readUInt32BE(at)
        if (record !== durableRecord) sinceDurable.push(record)
        if (record !== durableRecord && !sameBoot) continue
        for (const group of sinceDurable.splice(0)) done.add(group)
        kept = at + recordBytes
      }
    }
    ftruncateSync(this.#log, kept)
    readSync(this.#log, log, 0, kept, null)
    return done
  }
}

function readState(folder: string): StoredState | undefined {
  const file = join(folder, 'restore.json')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
  const told = JSON.parse(text) as Record<string, unknown>
  if (told['version'] !== version) {
    throw new TidemarkError('unsupported-format', {
      message: `${file} is of format ${told['version']}, which this version of Tidemark does not know`,
      hint: 'go on with the version that began this restore, or restore into another directory',
    })
  }
  return {
    source: told['source'] as string,
    at: parseSequence(told['at'] as string),
    moment: moment(told['moment'] as number),
    paths: told['paths'] as string[],
    bootId: told['bootId'] as string,
    groups: told['groups'] as string,
  }
}

function writeState(folder: string, state: StoredState): void {
  const file = join(folder, 'restore.json')
  const text = JSON.stringify({ version, ...state, at: formatSequence(state.at) }, null, 2)
  const descriptor = openSync(`${file}.part`, 'w', 0o600)
  try {
    writeSync(descriptor, `${text}\n`)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(`${file}.part`, file)
}

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
