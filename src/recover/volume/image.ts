import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  type BigIntStats,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { isSystemError, TidemarkError } from '../../base/errors.ts'
import { tryLock } from '../../base/syscalls/lock.ts'
import { deviceParts } from '../../base/syscalls/nodes.ts'
import { punchHole } from '../../base/syscalls/sparse.ts'
import { preflightFact as fact } from '../../model/preflight.ts'

/** What an image may be laid over: nothing, what is there and is compared with, or what is there and is given up. */
export type LaidOver = 'nothing' | 'compared' | 'given-up'

const syncData = promisify(fdatasync)
const blockBytes = 4096
/** What /sys counts in, whatever the sectors of the device. */
const sectorBytes = 512
/** Written and compared at once. */
const pieceBytes = 1024 * 1024
/** Places at which a device is looked at before it counts as empty. */
const looksMax = 1024
const zeros = Buffer.alloc(pieceBytes)

/** The file or block device that a volume is restored to; locked while it is open. */
export class Image implements Disposable {
  readonly path: string
  readonly isDevice: boolean
  readonly identity: string
  /** What was not written reads as zeros: the file was empty when the restore began. */
  #isSparse = false
  readonly #descriptor: number
  readonly #found = Buffer.allocUnsafe(pieceBytes)
  writtenBytes = 0

  private constructor(path: string, descriptor: number) {
    const facts = fstatSync(descriptor, { bigint: true })
    this.path = path
    this.#descriptor = descriptor
    this.isDevice = facts.isBlockDevice()
    this.identity = identityOf(facts)
  }

  /** Opens what `checkImage` has found fit, and changes nothing of it. */
  static open(path: string): Image {
    const isDevice = statOf(path)?.isBlockDevice() ?? false
    if (!isDevice) mkdirSync(dirname(path), { recursive: true })
    // With O_EXCL the kernel refuses a device that is mounted or otherwise taken.
    const flags = constants.O_RDWR | (isDevice ? constants.O_EXCL : constants.O_CREAT)
    const descriptor = openTarget(path, flags)
    try {
      if (!tryLock(descriptor)) {
        throw new TidemarkError('already-running', {
          message: `another process works on ${path}`,
          hint: 'wait for it, or stop it and go on with --resume',
        })
      }
      return new Image(path, descriptor)
    } catch (error) {
      closeSync(descriptor)
      throw error
    }
  }

  /** A file gets exactly `bytes`. `begun`: it holds what an earlier run wrote. */
  layOver(over: LaidOver, bytes: number, begun: boolean): void {
    if (this.isDevice) return
    const descriptor = this.#descriptor
    this.#isSparse = over !== 'compared'
    if (over === 'given-up' && !begun) ftruncateSync(descriptor, 0)
    const { size } = fstatSync(descriptor)
    // What is left out would be what stands there.
    if (this.#isSparse && !begun && size !== 0) throw holdsSomething(this.path)
    if (size !== bytes) ftruncateSync(descriptor, bytes)
  }

  /** Blocks of zeros are left out of a sparse image. */
  write(at: number, data: Uint8Array): void {
    if (!this.#isSparse) return this.#put(at, data)
    for (const { start, end, isZero } of runsOfZeros(at, data))
      if (!isZero) this.#put(at + start, data.subarray(start, end))
  }

  zero(at: number, bytes: number): void {
    if (this.#isSparse || this.#punch(at, bytes)) return
    for (let done = 0; done < bytes; done += pieceBytes) {
      this.#put(at + done, zeros.subarray(0, Math.min(pieceBytes, bytes - done)))
    }
  }

  /** Writes only blocks that hold something else. */
  writeDifferent(at: number, data: Uint8Array): void {
    for (const { start, end } of this.#different(at, data)) this.#put(at + start, data.subarray(start, end))
  }

  zeroDifferent(at: number, bytes: number): void {
    for (let done = 0; done < bytes; done += pieceBytes) {
      const piece = zeros.subarray(0, Math.min(pieceBytes, bytes - done))
      for (const { start, end } of this.#different(at + done, piece)) {
        this.writtenBytes += end - start
        this.zero(at + done + start, end - start)
      }
    }
  }

  /** Resolves once all that was written is durable. */
  sync(): Promise<void> {
    return syncData(this.#descriptor)
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor)
  }

  *#different(at: number, data: Uint8Array): Generator<{ start: number; end: number }> {
    for (let begin = 0; begin < data.length; begin += pieceBytes) {
      const piece = data.subarray(begin, begin + pieceBytes)
      const found = this.#read(at + begin, piece.length)
      if (found.equals(piece)) continue
      let run: { start: number; end: number } | undefined
      for (const [start, end] of blocksOf(at + begin, piece.length)) {
        if (Buffer.compare(found.subarray(start, end), piece.subarray(start, end)) === 0) continue
        if (run?.end === begin + start) run.end = begin + end
        else {
          if (run !== undefined) yield run
          run = { start: begin + start, end: begin + end }
        }
      }
      if (run !== undefined) yield run
    }
  }

  #read(at: number, bytes: number): Buffer {
    const into = this.#found.subarray(0, bytes)
    for (let done = 0; done < bytes;) {
      const got = readSync(this.#descriptor, into, done, bytes - done, at + done)
      if (got === 0) throw new TidemarkError('no-space', { message: `${this.path} ends at byte ${at + done}` })
      done += got
    }
    return into
  }

  #put(at: number, data: Uint8Array): void {
    for (let done = 0; done < data.length;)
      done += writeSync(this.#descriptor, data, done, data.length - done, at + done)
    this.writtenBytes += data.length
  }

  #punch(at: number, bytes: number): boolean {
    try {
      return punchHole(this.#descriptor, at, bytes)
    } catch (error) {
      // A device takes whole blocks of its own size only.
      if (isSystemError(error, 'EINVAL')) return false
      throw error
    }
  }
}

/** Refuses a target that would lose something, or is too small; says what the image would be laid over. */
export function checkImage(
  path: string,
  bytes: number,
  asked: { readonly delta: boolean; readonly force: boolean },
): LaidOver {
  const found = statOf(path)
  if (found === undefined) return 'nothing'
  if (!found.isFile() && !found.isBlockDevice()) {
    throw new TidemarkError('bad-request', {
      message: `${path} is neither a file nor a block device`,
      hint: 'give the name of a new file, or a device',
      fact: fact('image-not-possible', { path }),
    })
  }
  if (found.isBlockDevice()) {
    const room = deviceBytes(found)
    if (room < bytes) {
      throw new TidemarkError('no-space', {
        message: `the volume has ${bytes} bytes, and ${path} only ${room}`,
        hint: 'choose a larger device, or a file',
        fact: fact('device-small', { path, neededBytes: bytes, deviceBytes: room }),
      })
    }
    assertFree(path)
  }
  if (asked.delta) return 'compared'
  if (asked.force) return 'given-up'
  if (found.isFile() ? found.size === 0 : isEmptyDevice(path, deviceBytes(found)))
    return found.isFile() ? 'nothing' : 'given-up'
  throw holdsSomething(path)
}

const holdsSomething = (path: string): TidemarkError =>
  new TidemarkError('target-not-empty', {
    message: `${path} holds something already`,
    hint: 'choose a new file; with --delta only what differs is written there, with --force all of it is replaced',
    fact: fact('image-filled', { path }),
  })

/** False where what an earlier run had begun is gone, or is something else by now. */
export function isImage(path: string, { image, bytes }: { readonly image: string; readonly bytes: number }): boolean {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  if (found === undefined || identityOf(found) !== image) return false
  return found.isBlockDevice() || found.size === BigInt(bytes)
}

/**
 * A file is known by its number and when it was made, a device by its number and how many have been attached before it: another
 * disk under the same name is another.
 */
function identityOf(facts: BigIntStats): string {
  if (!facts.isBlockDevice()) return `file ${facts.ino} of ${facts.birthtimeNs}`
  const { major, minor } = deviceParts(facts.rdev)
  return `device ${major}:${minor}, the ${diskNumber(`${major}:${minor}`)}`
}

/** Linux counts disks since 5.15; a partition has the number of its disk. */
function diskNumber(device: string): string {
  for (const place of ['diskseq', '../diskseq']) {
    try {
      return readFileSync(`/sys/dev/block/${device}/${place}`, 'utf8').trim()
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw error
    }
  }
  return 'uncounted'
}

function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false })
}

/** Of the kernel's own account: a device has no size in its inode. */
function deviceBytes({ rdev }: Stats): number {
  const { major, minor } = deviceParts(BigInt(rdev))
  return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * sectorBytes
}

function assertFree(path: string): void {
  closeSync(openTarget(path, constants.O_RDWR | constants.O_EXCL))
}

function openTarget(path: string, flags: number): number {
  try {
    return openSync(path, flags, 0o600)
  } catch (error) {
    if (isSystemError(error, 'EBUSY')) {
      throw new TidemarkError('target-not-empty', {
        message: `${path} is mounted, or part of something that is in use`,
        hint: 'unmount it, or choose another target',
        fact: fact('device-in-use', { path }),
        cause: error,
      })
    }
    if (isSystemError(error, 'EACCES', 'EPERM', 'EROFS', 'ENOENT')) {
      throw new TidemarkError('not-allowed', {
        message: `${path} cannot be written: ${(error as Error).message}`,
        hint: 'run the command as a user who may write there',
        fact: fact('device-closed', { path, error: (error as Error).message }),
        cause: error,
      })
    }
    throw error
  }
}

/**
 * One that begins and ends with zeros, and has some wherever it is looked at in between: a file system, a partition table, a part
 * of an array or a database would say something there.
 */
function isEmptyDevice(path: string, bytes: number): boolean {
  const descriptor = openSync(path, constants.O_RDONLY)
  try {
    const found = Buffer.alloc(pieceBytes)
    const isZeros = (at: number, length: number): boolean => {
      const got = readSync(descriptor, found, 0, length, at)
      return found.subarray(0, got).equals(zeros.subarray(0, got))
    }
    if (!isZeros(0, pieceBytes) || !isZeros(Math.max(0, bytes - pieceBytes), pieceBytes)) return false
    const stepBytes = Math.ceil(bytes / looksMax / blockBytes) * blockBytes
    for (let at = stepBytes; at < bytes; at += stepBytes) if (!isZeros(at, blockBytes)) return false
    return true
  } finally {
    closeSync(descriptor)
  }
}

/** Runs of whole blocks of zeros, and of what is not; edges that are no whole block count as not. */
function* runsOfZeros(at: number, data: Uint8Array): Generator<{ start: number; end: number; isZero: boolean }> {
  let run: { start: number; end: number; isZero: boolean } | undefined
  for (const [start, end] of blocksOf(at, data.length)) {
    const isZero =
      end - start === blockBytes && Buffer.compare(data.subarray(start, end), zeros.subarray(0, blockBytes)) === 0
    if (run?.isZero === isZero) run.end = end
    else {
      if (run !== undefined) yield run
      run = { start, end, isZero }
    }
  }
  if (run !== undefined) yield run
}

/** Cut where blocks of the image end. */
function* blocksOf(at: number, bytes: number): Generator<[number, number]> {
  for (let start = 0; start < bytes;) {
    const end = Math.min(start + blockBytes - ((at + start) % blockBytes), bytes)
    yield [start, end]
    start = end
  }
}
