import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { ended, VolumeDevice } from './volume-device.ts'
import { type Found, judge, type TransactionRecord } from './volume-record.ts'

/** A file system that can be made on a volume. */
export interface FileSystem {
  readonly make: readonly [program: string, ...args: string[]]
  readonly mountOptions: readonly string[]
  /** Judges one that is not mounted, and changes nothing. */
  readonly judge: readonly [program: string, ...args: string[]]
}

export const ext4: FileSystem = {
  make: ['mkfs.ext4', '-q', '-E', 'nodiscard', '-J', 'size=4'],
  mountOptions: ['-t', 'ext4'],
  judge: ['e2fsck', '-f', '-n'],
}

/** Of the past the same disk may be mounted beside: they have the same name. */
export const xfs: FileSystem = {
  make: ['mkfs.xfs', '-q', '-K'],
  mountOptions: ['-t', 'xfs', '-o', 'nouuid'],
  judge: ['xfs_repair', '-n'],
}

/** A disk as it is after a power cut at `moment`. */
export interface CutDisk {
  readonly socket: string
  readonly name: string
  readonly moment: number
}

export interface Judging {
  readonly folder: string
  readonly fileSystem: FileSystem
  readonly record: TransactionRecord
  /** Looks into its databases. */
  readonly found: (mounted: string) => Promise<readonly Found[]>
}

/**
 * Everything that is wrong with a disk; nothing, where the one who keeps it has kept its word. The kernel replays the journal of
 * the file system, the databases theirs, and each transaction that was told is looked for; then the file system is judged.
 */
export async function wrongWith({ socket, name, moment }: CutDisk, judging: Judging): Promise<string[]> {
  const { fileSystem } = judging
  await using device = await VolumeDevice.attach(mkdtempSync(join(judging.folder, 'cut-')), socket, name)
  const wrong = await wrongInside(device, moment, judging)
  const [program, ...args] = fileSystem.judge
  const { status, output } = await ended(program, [...args, device.device])
  if (status !== 0) wrong.push(`${program} ended with ${status}: ${output}`)
  return wrong
}

async function wrongInside(device: VolumeDevice, moment: number, judging: Judging): Promise<string[]> {
  const { fileSystem, record } = judging
  const found: Found[] = []
  try {
    await using mounted = await device.mount(...fileSystem.mountOptions)
    found.push(...(await judging.found(mounted.folder)))
  } catch (error) {
    return [String(error)]
  }
  return found.flatMap((one) => judge(one, record.at(one.user, moment)))
}
