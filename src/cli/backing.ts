import { readdirSync, readFileSync, realpathSync, statSync, type Stats } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { isSystemError, TidemarkError } from '../base/errors.ts'
import { holdBacking } from '../capture/volume/process/hold-backing.ts'

/** What file systems and databases write in at least. */
const blockBytes = 512

export interface Backing {
  readonly path: string
  readonly isDevice: boolean
  /** Of the volume: what was asked for, or what is there. */
  readonly bytes: number | undefined
}

/** What is to hold the bytes of a volume, looked at before it is protected: nobody else may be at it. */
export function checkBacking(given: string, wantedBytes: number | undefined): Backing {
  const found = lookAt(resolve(given))
  if (wantedBytes !== undefined && wantedBytes % blockBytes !== 0) {
    throw refused(
      'bad-request',
      `--size ${wantedBytes} is not a multiple of ${blockBytes} bytes`,
      'give a round size, such as 200G',
    )
  }
  if (found === undefined) return newFile(resolve(given), wantedBytes)
  const { path, facts } = found
  if (facts.isBlockDevice()) return checkDevice(path, facts, wantedBytes)
  if (!facts.isFile()) {
    throw refused('bad-request', `${path} is neither a block device nor a file`, 'give one of these')
  }
  return checkFile(path, facts, wantedBytes)
}

function lookAt(given: string): { path: string; facts: Stats } | undefined {
  try {
    const path = realpathSync(given)
    return { path, facts: statSync(path) }
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

function newFile(path: string, bytes: number | undefined): Backing {
  if (bytes === undefined || path.startsWith('/dev/')) {
    throw refused(
      'not-found',
      `${path} does not exist on this server`,
      'give an existing device or file, or --size for a file that is made',
    )
  }
  if (lookAt(dirname(path)) === undefined) {
    throw refused('not-found', `the folder ${dirname(path)} does not exist on this server`, 'make it first')
  }
  return { path, isDevice: false, bytes }
}

function checkFile(path: string, { size }: Stats, wanted: number | undefined): Backing {
  const loop = loopOver(path)
  if (loop !== undefined) {
    throw refused(
      'in-use',
      `${path} is the file behind ${loop}`,
      `end that first ("losetup -d ${loop}"), and use the volume instead`,
    )
  }
  holdBacking(path)[Symbol.dispose]()
  return { path, isDevice: false, bytes: sizeOf(path, size, wanted) }
}

function checkDevice(path: string, { rdev }: Stats, wanted: number | undefined): Backing {
  const number = `${major(rdev)}:${minor(rdev)}`
  const mounted = mountsOf(number)
  if (mounted !== undefined) {
    throw refused(
      'in-use',
      `${path}, or a partition of it, is mounted at ${mounted}`,
      'unmount it; later mount the volume instead, which has the same content',
    )
  }
  const holder = list(`/sys/dev/block/${number}/holders`)[0]
  if (holder !== undefined) {
    throw refused('in-use', `${path} is part of ${holder}`, 'protect that device instead, or take this one out of it')
  }
  if (isSwap(path))
    throw refused(
      'in-use',
      `${path} is swap space`,
      'a volume server must never wait for itself: choose another device',
    )
  holdBacking(path)[Symbol.dispose]()
  const size = Number(readFileSync(`/sys/dev/block/${number}/size`, 'utf8')) * blockBytes
  if (wanted !== undefined && wanted > size) {
    throw refused(
      'bad-request',
      `${path} has ${size} bytes, fewer than ${wanted}`,
      'leave --size out, or make the device larger first',
    )
  }
  return { path, isDevice: true, bytes: wanted === undefined ? undefined : sizeOf(path, size, wanted) }
}

function sizeOf(path: string, size: number, wanted: number | undefined): number {
  if (wanted !== undefined && wanted < size) {
    throw refused(
      'bad-request',
      `${path} has ${size} bytes, more than ${wanted}`,
      'a volume never shrinks: leave --size out',
    )
  }
  const bytes = wanted ?? size
  if (bytes === 0) throw refused('bad-request', `${path} is empty`, 'give --size')
  if (bytes % blockBytes === 0) return bytes
  const round = Math.ceil(bytes / blockBytes) * blockBytes
  throw refused(
    'bad-request',
    `${path} has ${bytes} bytes, which are no whole blocks of ${blockBytes}`,
    `give --size ${round}`,
  )
}

/** Where the device, or one of its partitions, is mounted. */
function mountsOf(number: string): string | undefined {
  const partitions = list(`/sys/dev/block/${number}`).flatMap((name) => {
    const told = readIfThere(`/sys/dev/block/${number}/${name}/dev`)
    return told === undefined ? [] : [told.trim()]
  })
  const numbers = new Set([number, ...partitions])
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [, , of = '', , at] = line.split(' ')
    if (numbers.has(of)) return at
  }
  return undefined
}

/** The loop device that has this file behind it. */
export function loopOver(path: string): string | undefined {
  const found = list('/sys/block').find(
    (name) => readIfThere(join('/sys/block', name, 'loop/backing_file'))?.trim() === path,
  )
  return found && `/dev/${found}`
}

const isSwap = (path: string): boolean =>
  (readIfThere('/proc/swaps') ?? '').split('\n').some((line) => line.split(/\s/)[0] === path)

// As glibc takes a dev_t apart.
const major = (device: number): number => Math.floor(device / 256) & 0xfff
const minor = (device: number): number => (device & 0xff) | (Math.floor(device / 4096) & 0xfff00)

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return []
    throw error
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'EINVAL')) return undefined
    throw error
  }
}

const refused = (code: 'bad-request' | 'not-found' | 'in-use', message: string, hint: string): TidemarkError =>
  new TidemarkError(code, { message, hint })
