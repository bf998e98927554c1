import { readFileSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import type { Discovered } from '../../api/tasks.ts'
import type { Clock } from '../../base/clock.ts'
import { isSystemError } from '../../base/errors.ts'

export interface Mount {
  readonly path: string
  readonly type: string
  readonly device: string
  /** major:minor */
  readonly number: string
  readonly isNetwork: boolean
}

/** What holds files that somebody has made; everything else is the system's own. */
const local = /^(?:ext[234]|xfs|btrfs|zfs|f2fs|jfs|reiserfs|bcachefs|ocfs2|gfs2|vfat|exfat|ntfs3?|fuseblk|overlay)$/
const network = /^(?:nfs4?|cifs|smb3|ceph|glusterfs|fuse\..+)$/
/** A file system whose server is away answers late or never. */
const askMsMax = 2_000

/** As in proc_pid_mountinfo(5): each file system once, where its root is seen. */
export function readMounts(text: string): Mount[] {
  const found = new Map<string, Mount>()
  for (const line of text.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [, , number = '', , path = ''] = before.split(' ')
    const [type = '', device = ''] = after.split(' ')
    const isNetwork = network.test(type)
    if (!local.test(type) && !isNetwork) continue
    const mount = { path: unescaped(path), type, device: unescaped(device), number, isNetwork }
    const known = found.get(number)
    // The same file system elsewhere, a file of it perhaps, is a bind mount.
    if (known === undefined || mount.path.length < known.path.length) found.set(number, mount)
  }
  return [...found.values()].filter(({ path }) => isDirectory(path))
}

export const mountsHere = (): Mount[] => readMounts(readFileSync('/proc/self/mountinfo', 'utf8'))

export async function measured(mount: Mount, clock: Clock): Promise<Discovered['mounts'][number]> {
  const { path, type, device } = mount
  const late = new AbortController()
  const asked = statfs(path).then(
    ({ bsize, blocks, bfree }) => ({ bytes: blocks * bsize, usedBytes: (blocks - bfree) * bsize }),
    () => undefined,
  )
  const nothing = clock.sleep(askMsMax, late.signal).then(
    () => undefined,
    () => undefined,
  )
  const told = await Promise.race([asked, nothing])
  late.abort()
  return { path, type, device, bytes: told?.bytes ?? 0, usedBytes: told?.usedBytes ?? 0 }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EIO', 'ESTALE', 'ENOTCONN')) return false
    throw error
  }
}

const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
