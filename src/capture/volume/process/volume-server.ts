import type { Clock } from '../../../base/clock.ts'
import { messageOf } from '../../../base/errors.ts'
import type { Random } from '../../../base/random.ts'
import { peerOf } from '../../../base/syscalls/sockets.ts'
import { unlessFailedWith } from '../../../base/syscalls/system-call-error.ts'
import { together } from '../../../base/together.ts'
import { Wake } from '../../../base/wake.ts'
import type { Problem } from '../../../model/report.ts'
import { enlargeDevices, takeDevicesBack } from '../../../nbd/kernel-device.ts'
import { HeldMemory } from '../../../nbd/held-memory.ts'
import { listenTcp, listenUnix, type NbdListener } from '../../../nbd/listen.ts'
import type { NbdTls } from '../../../nbd/tls.ts'
import { VolumeDisk } from '../server/disk.ts'
import { type NodeVolumeFiles, nodeVolumeFiles } from '../server/node-files.ts'
import { wokenWithin } from '../server/woken.ts'
import { deviceOwner, type VolumeDescription, type VolumeFolder } from '../volume-folder.ts'
import { controlGroupOf, isLimited, isSameGroup, mountOf } from './control-group.ts'
import { ControlServer } from './control-server.ts'
import { workFileOf } from './disk-work.ts'
import { holdBacking } from './hold-backing.ts'
import { keepWatched } from './watchdog.ts'

export interface VolumeServerParts {
  readonly folder: VolumeFolder
  readonly description: VolumeDescription
  /** Where it is to be served over TLS. */
  readonly listen?: { readonly host: string; readonly port: number; readonly tls: NbdTls } | undefined
  readonly software: string
  readonly clock: Clock
  readonly random: Random
  readonly tell: (line: string) => void
  /** Instead of `hangMsMax`. */
  readonly hangMs?: number | undefined
}

/** Between two looks at who uses the volume, and at its backing. */
const lookMs = 2000

interface Failure {
  error?: unknown
  hasFailed: boolean
}

/**
 * Serves one volume until `signal` aborts, its disk fails, or it is released and nobody uses it. When it returns, everything is
 * in the backing.
 */
export async function serveVolume(parts: VolumeServerParts, signal: AbortSignal): Promise<void> {
  const failure: Failure = { hasFailed: false }
  await serveUntilOver(parts, failure, signal)
  // Also what failed while the last of the log was brought into the backing.
  if (!failure.hasFailed) return
  parts.tell(`the disk has failed: ${messageOf(failure.error)}`)
  throw failure.error
}

async function serveUntilOver(parts: VolumeServerParts, failure: Failure, signal: AbortSignal): Promise<void> {
  const { folder, description, listen, software, clock, random, tell } = parts
  const { id, name, settings } = description
  const changed = new Wake()
  let isReleased = false
  let control: ControlServer | undefined
  const failed = (error: unknown): void => {
    failure.error ??= error
    failure.hasFailed = true
    changed.wake()
  }
  await using files = await nodeVolumeFiles({ logFolder: folder.log, backing: settings.backing, bytes: settings.bytes })
  using _alone = holdBacking(settings.backing)
  await using disk = await VolumeDisk.open({
    files,
    clock,
    random,
    volume: id,
    name,
    settings,
    told: {
      durable: () => control?.durable(),
      epoch: () => {
        tell('the log has reached its limit: history was given up, and begins anew')
        control?.epoch()
      },
      unprotected: tell,
      ended: failed,
    },
  })
  const serving = { clock, memory: new HeldMemory(), noted: tell }
  await using local = await listenUnix({ path: folder.nbd }, [disk], serving)
  await using remote = listen ? await listenTcp(listen, [disk], { ...serving, tls: listen.tls }) : undefined
  const listeners = remote ? [local, remote] : [local]
  const users = new Users(local)
  let grown: readonly Problem[] = []
  let seen = 0
  const clients = (capture: number | undefined): number => users.count(capture) + (remote?.connections.size ?? 0)
  await using controlling = await ControlServer.listen({
    path: folder.control,
    disk,
    software,
    clients,
    problems: () => [...users.problems(control?.capture), ...grown],
    released: () => {
      tell('the volume is no longer protected')
      isReleased = true
      changed.wake()
    },
    noted: tell,
    clock,
  })
  control = controlling
  tell(
    `process ${process.pid} serves ${name}: ${disk.bytes} bytes of ${settings.backing}, epoch ${disk.epoch}, record ${disk.last}`,
  )
  const growTo = async (bytes: number): Promise<readonly Problem[]> => {
    const before = disk.bytes
    try {
      await files.grown(bytes)
      await disk.grow(bytes)
    } catch (error) {
      return [notGrown(settings.backing, bytes, before, error)]
    }
    tell(`${name} has grown from ${before} to ${bytes} bytes: who connects from now on has all of them`)
    growDevices(parts, bytes)
    return []
  }
  const isOver = (): boolean => failure.hasFailed || (isReleased && clients(undefined) === 0)
  await together(signal, [
    (inside) => controlling.tellState(inside),
    (inside) =>
      keepWatched(
        {
          clock,
          descriptors: listeners.map(({ live }) => live.descriptors),
          stalledMs: () => disk.stalledMs,
          workFiles: { log: workFileOf(folder.log), backing: workFileOf(settings.backing) },
          limitMs: parts.hangMs,
        },
        inside,
      ),
    async (inside) => {
      const devices = goOnWithDevices(parts, inside)
      while (!isOver()) {
        await wokenWithin(changed, clock, lookMs, inside)
        const bytes = lookAt(files, failed)
        // Seen twice: a file that is being made longer is done with it.
        if (bytes > disk.bytes && bytes === seen) grown = await growTo(bytes)
        else if (bytes <= disk.bytes) grown = []
        seen = bytes
      }
      await devices
    },
  ])
}

/** Nothing may be asked of the volume for long, and its backing be cut short meanwhile. How large it is; 0 where it has failed. */
function lookAt(files: NodeVolumeFiles, failed: (error: unknown) => void): number {
  try {
    return files.look()
  } catch (error) {
    failed(error)
    return 0
  }
}

/** What the kernel has of the volume is enlarged where it stands. */
function growDevices({ description, tell }: VolumeServerParts, bytes: number): void {
  try {
    for (const device of enlargeDevices(deviceOwner(description.id), bytes)) tell(`${device} has ${bytes} bytes`)
  } catch (error) {
    tell(`what the kernel has of the volume could not be enlarged: ${messageOf(error)}`)
  }
}

/** Whoever has the volume as a device of the kernel has waited since the server before this one ended. */
async function goOnWithDevices({ folder, description, tell }: VolumeServerParts, signal: AbortSignal): Promise<void> {
  const { id, name } = description
  try {
    const taken = await takeDevicesBack({ path: folder.nbd, exportName: name, owner: deviceOwner(id) }, signal)
    for (const device of taken) tell(`goes on with ${device}`)
  } catch (error) {
    if (signal.aborted) return
    tell(`what the kernel has of the volume could not be taken back: ${messageOf(error)}`)
  }
}

/** Who uses the volume on this machine. */
class Users {
  readonly #listener: NbdListener

  constructor(listener: NbdListener) {
    this.#listener = listener
  }

  count(capture: number | undefined): number {
    return this.#pids().filter((pid) => pid !== capture).length
  }

  problems(capture: number | undefined): Problem[] {
    const own = controlGroupOf('self')
    const mount = own && mountOf(own)
    if (own === undefined || mount === undefined || !isLimited(own, mount)) return []
    for (const pid of new Set(this.#pids())) {
      const group = pid === capture || pid === process.pid ? undefined : controlGroupOf(pid)
      if (group !== undefined && isSameGroup(group, own)) return [sameGroup(own.path, pid)]
    }
    return []
  }

  #pids(): number[] {
    return [...this.#listener.live.descriptors].filter((descriptor) => descriptor >= 0).map(pidOf)
  }
}

/** 0 for one that has just been closed. */
const pidOf = (descriptor: number): number => unlessFailedWith(['EBADF', 'ENOTSOCK'], 0, () => peerOf(descriptor).pid)

const sameGroup = (path: string, pid: number): Problem => ({
  code: 'volume-same-control-group',
  message: `the volume server shares the control group ${path}, and its memory limit, with a user of the volume (process ${pid})`,
  hint: "under load both can wait for each other for ever: run the agent as a service of its own, outside of the database's slice or container",
})

const notGrown = (backing: string, bytes: number, served: number, error: unknown): Problem => ({
  code: 'volume-not-grown',
  message: `the backing ${backing} has ${bytes} bytes, and the volume is served with ${served}: ${messageOf(error)}`,
  hint: 'make room where the agent keeps its data; it is tried again by itself',
})
