import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isSystemError, messageOf } from '../../../base/errors.ts'

/**
 * The control group that counts the memory of a process. A volume server in the same limited group as one of its users can
 * hang for ever: it needs memory that only writing back the user's pages, through it, could free.
 */
export interface ControlGroup {
  readonly version: 1 | 2
  /** As /proc/PID/cgroup names it. */
  readonly path: string
}

/** What is kept for a volume server even where the machine is short of memory. */
const reservedBytes = 256 * 1024 * 1024
/** Version 1 says "no limit" by a number near 2^63. */
const unlimitedFrom = 2 ** 60
const homeName = 'tidemark-volumes'

/** From the text of /proc/PID/cgroup: that of memory, of version 1 where there is one. */
export function parseControlGroup(text: string): ControlGroup | undefined {
  const lines = text.split('\n').map((line) => /^\d+:([^:]*):(.*)$/.exec(line))
  const first = lines.find((line) => line?.[1]?.split(',').includes('memory'))
  if (first?.[2] !== undefined) return { version: 1, path: first[2] }
  const second = lines.find((line) => line?.[1] === '')
  return second?.[2] === undefined ? undefined : { version: 2, path: second[2] }
}

/** Undefined where there is no such process any more, or the system has no control groups. */
export function controlGroupOf(pid: number | 'self'): ControlGroup | undefined {
  try {
    return parseControlGroup(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ESRCH', 'EACCES')) return undefined
    throw error
  }
}

export const isSameGroup = (one: ControlGroup, other: ControlGroup): boolean =>
  one.version === other.version && one.path === other.path

/** Where the hierarchy of memory is mounted, from the text of /proc/self/mountinfo. */
export function parseMount(mountinfo: string, version: 1 | 2): string | undefined {
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [type, , options = ''] = after.split(' ')
    const isIt = version === 2 ? type === 'cgroup2' : type === 'cgroup' && options.split(',').includes('memory')
    if (isIt) return before.split(' ')[4]
  }
  return undefined
}

/** Whether this group, or one around it, limits the memory of what is in it, as far as can be seen from here. */
export function isLimited({ version, path }: ControlGroup, mount: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    const limit = readIfThere(join(mount, at, version === 2 ? 'memory.max' : 'memory.limit_in_bytes'))
    if (limit !== undefined && limit !== 'max' && Number(limit) < unlimitedFrom) return true
    if (at === '/' || at === '.') return false
  }
}

/** The mount of the hierarchy that the group is in. */
export const mountOf = ({ version }: ControlGroup): string | undefined =>
  parseMount(readFileSync('/proc/self/mountinfo', 'utf8'), version)

/**
 * Moves this process into a group of its own, with memory reserved for it where the system can do that. Undefined where that
 * was done, else why not: out of a group with a limit nobody moves by himself.
 */
export function moveIntoOwnGroup(name: string): string | undefined {
  const present = controlGroupOf('self')
  const mount = present && mountOf(present)
  if (present === undefined || mount === undefined) return 'the system has no control groups for memory'
  if (present.path.startsWith(`/${homeName}/`)) return undefined
  if (isLimited(present, mount)) return `the present one, ${present.path}, has a limit that is not for it to leave`
  const home = join(mount, homeName)
  const own = join(home, name)
  try {
    mkdirSync(own, { recursive: true })
    if (present.version === 2) reserve(mount, home, own)
    writeFileSync(join(own, 'cgroup.procs'), String(process.pid))
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

/** Memory may be reserved in a group when those above hand that down; a system that does not is none the worse. */
function reserve(mount: string, home: string, own: string): void {
  for (const group of [mount, home]) tryWrite(join(group, 'cgroup.subtree_control'), '+memory')
  for (const group of [home, own]) tryWrite(join(group, 'memory.min'), String(reservedBytes))
}

function tryWrite(file: string, text: string): void {
  if (!existsSync(file)) return
  try {
    writeFileSync(file, text)
  } catch (error) {
    if (!isSystemError(error, 'EACCES', 'EPERM', 'EBUSY', 'ENOENT', 'EINVAL', 'EOPNOTSUPP')) throw error
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'EACCES')) return undefined
    throw error
  }
}
