import { existsSync, read, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Malformed } from '../base/bytes.ts'
import { isSystemError, messageOf, TidemarkError } from '../base/errors.ts'
import { closeDescriptor } from '../base/syscalls/close.ts'
import { GenericNetlink } from '../base/syscalls/generic-netlink.ts'
import {
  nestedAttribute,
  type NetlinkAttribute,
  numberAttribute,
  textAttribute,
} from '../base/syscalls/netlink-messages.ts'
import { connectUnix, limitReceiving } from '../base/syscalls/sockets.ts'
import { choose } from './client-negotiation.ts'
import type { ExportTerms } from './options.ts'

/**
 * A block device of this machine, /dev/nbdN, that the kernel's own client makes of an export at a Unix socket. A program
 * connects and agrees with the server; then the kernel has the connection, and no process is needed any more. It keeps a text
 * with the device, `owner`, by which a later server finds those that were its predecessor's and takes them back: meanwhile
 * requests wait, and those that were not answered are sent again.
 *
 * Numbers of linux/nbd-netlink.h; how its driver behaves is told in docs/operate/volumes.md.
 */
const command = { connect: 1, disconnect: 2, reconfigure: 3 } as const
const attribute = {
  index: 1,
  bytes: 2,
  blockBytes: 3,
  answerSeconds: 4,
  serverFlags: 5,
  sockets: 7,
  waitSeconds: 8,
  owner: 10,
} as const
const socketItem = 1
const socketFd = 1

const blockBytes = 512
const answerMsMax = 10_000
/** How soon the driver looks whether a request was sent over a connection that has ended, and sends it again; its own rule is 30 s. */
const lookMs = 5000
const devices = '/sys/block'

/**
 * How long requests wait when the server has ended, or does not answer. Without a limit for answers the driver never gives up what
 * was sent to a server that is dead, so a disk that is to fail needs both.
 */
const patience = {
  /** Ten years, or until it is detached: whoever writes waits for the next server. */
  wait: { serverSeconds: 315_360_000, answerSeconds: 0 },
  /** A mirror goes on with its other leg; a server that is started again at once is waited for. */
  fail: { serverSeconds: 10, answerSeconds: 15 },
} as const

export interface KernelAttachment {
  /** /dev/nbdN */
  readonly device: string
  readonly path: string
  readonly exportName: string
  readonly owner: string
  /** What requests do while no server answers. */
  readonly otherwise: keyof typeof patience
}

/** The kernel counts whole blocks. */
const inBlocks = (bytes: number): number => Math.floor(bytes / blockBytes) * blockBytes

/** Resolves when the device can be used. */
export async function attachDevice({ device, path, exportName, owner, otherwise }: KernelAttachment): Promise<void> {
  const index = indexOf(device)
  using kernel = nbdOfKernel()
  using connection = await agree(path, exportName)
  const { bytes, flags } = connection.terms
  const { serverSeconds, answerSeconds } = patience[otherwise]
  tell(kernel, device, command.connect, [
    numberAttribute(attribute.index, index, 4),
    numberAttribute(attribute.bytes, inBlocks(bytes), 8),
    numberAttribute(attribute.blockBytes, blockBytes, 8),
    numberAttribute(attribute.answerSeconds, answerSeconds, 8),
    numberAttribute(attribute.serverFlags, flags, 8),
    numberAttribute(attribute.waitSeconds, serverSeconds, 8),
    textAttribute(attribute.owner, owner),
    socketsAttribute(connection.fd),
  ])
  if (ownerOf(index) === owner) {
    if (answerSeconds === 0) writeFileSync(join(devices, `nbd${index}/queue/io_timeout`), String(lookMs))
    return
  }
  tell(kernel, device, command.disconnect, [numberAttribute(attribute.index, index, 4)])
  throw new TidemarkError('unusable-platform', {
    message: `the kernel does not keep whose ${device} is, so that no later server could take it back`,
    hint: `use Linux 5.14 or later; ${otherWays}`,
  })
}

/** Gives the devices of `owner` this new connection each, and returns their names. */
export async function takeDevicesBack(
  { path, exportName, owner }: Pick<KernelAttachment, 'path' | 'exportName' | 'owner'>,
  signal: AbortSignal,
): Promise<string[]> {
  const taken: string[] = []
  for (const index of devicesOf(owner)) {
    signal.throwIfAborted()
    using kernel = nbdOfKernel()
    using connection = await agree(path, exportName)
    const device = `/dev/nbd${index}`
    tell(kernel, device, command.reconfigure, [
      numberAttribute(attribute.index, index, 4),
      numberAttribute(attribute.bytes, inBlocks(connection.terms.bytes), 8),
      textAttribute(attribute.owner, owner),
      socketsAttribute(connection.fd),
    ])
    taken.push(device)
  }
  return taken
}

/** Tells the kernel that the devices of `owner` have so many bytes, while they are used; returns their names. */
export function enlargeDevices(owner: string, bytes: number): string[] {
  return devicesOf(owner).map((index) => {
    using kernel = nbdOfKernel()
    const device = `/dev/nbd${index}`
    tell(kernel, device, command.reconfigure, [
      numberAttribute(attribute.index, index, 4),
      numberAttribute(attribute.bytes, inBlocks(bytes), 8),
      textAttribute(attribute.owner, owner),
    ])
    return device
  })
}

/** Whatever waits for it fails. */
export function detachDevice(device: string): void {
  using kernel = nbdOfKernel()
  tell(kernel, device, command.disconnect, [numberAttribute(attribute.index, indexOf(device), 4)])
}

/** Why the kernel cannot make it a device, where that is so. */
export function whatDeviceLacks(device: string): string | undefined {
  if (!existsSync('/sys/module/nbd') && !existsSync(join(devices, 'nbd0')))
    return 'the kernel of this machine has no nbd loaded ("modprobe nbd" loads it, where there is one)'
  if (!/^\/dev\/nbd\d+$/.test(device)) return `${device} is no network block device, such as /dev/nbd0`
  if (!existsSync(device)) return `there is no ${device}; "modprobe nbd nbds_max=64" makes more of them`
  return undefined
}

/** Whether a file system, a mirror or another device is on it, or on a partition of it. */
export function isDeviceUsed(device: string): boolean {
  const folder = join(devices, `nbd${indexOf(device)}`)
  if (!existsSync(folder)) return false
  const all = [folder, ...readdirSync(folder).flatMap((name) => (name.startsWith('nbd') ? [join(folder, name)] : []))]
  const numbers = new Set(all.map((one) => readFileSync(join(one, 'dev'), 'utf8').trim()))
  if (all.some((one) => readdirSync(join(one, 'holders')).length > 0)) return true
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => numbers.has(line.split(' ')[2] ?? ''))
}

function devicesOf(owner: string): number[] {
  const names = existsSync(devices) ? readdirSync(devices) : []
  return names
    .flatMap((name) => (/^nbd\d+$/.test(name) ? [Number(name.slice(3))] : []))
    .filter((index) => ownerOf(index) === owner)
}

function ownerOf(index: number): string | undefined {
  try {
    return readFileSync(join(devices, `nbd${index}/backend`), 'utf8').trimEnd()
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
}

interface Agreement extends Disposable {
  readonly fd: number
  readonly terms: ExportTerms
}

const readInto = promisify(read)

/** The kernel's client speaks neither TLS nor structured replies. */
async function agree(path: string, exportName: string): Promise<Agreement> {
  const fd = connectUnix(path)
  const agreement = (terms: ExportTerms): Agreement => ({ fd, terms, [Symbol.dispose]: () => closeDescriptor(fd) })
  try {
    limitReceiving(fd, answerMsMax)
    const wish = { exportName, wantsTls: false, wantsStructured: false, wantsAllocation: false }
    const conversation = choose(wish, (bytes) => writeSync(fd, bytes))
    let next = conversation.next()
    while (next.done !== true) {
      if (next.value === 'tls') throw new Malformed('TLS was not asked for')
      next = conversation.next(await receive(fd, next.value))
    }
    limitReceiving(fd, 0)
    return agreement(next.value)
  } catch (error) {
    closeDescriptor(fd)
    if (error instanceof TidemarkError) throw error
    throw new TidemarkError(error instanceof Malformed ? 'protocol-violation' : 'unreachable', {
      message: `the server at ${path} was not agreed with: ${messageOf(error)}`,
      hint: 'see "tidemark status" and server.log beside the socket',
      cause: error,
    })
  }
}

/** Off the event loop: the server may be this very process. */
async function receive(fd: number, count: number): Promise<Buffer> {
  const bytes = Buffer.alloc(count)
  for (let at = 0; at < count;) {
    const { bytesRead } = await readInto(fd, bytes, at, count - at, null)
    if (bytesRead === 0) throw new Malformed('it ended the connection during the handshake')
    at += bytesRead
  }
  return bytes
}

const socketsAttribute = (fd: number): NetlinkAttribute =>
  nestedAttribute(attribute.sockets, [nestedAttribute(socketItem, [numberAttribute(socketFd, fd, 4)])])

function indexOf(device: string): number {
  const lacking = whatDeviceLacks(device)
  if (lacking === undefined) return Number(device.slice('/dev/nbd'.length))
  throw new TidemarkError('unusable-platform', { message: lacking, hint: otherWays })
}

const otherWays = '"tidemark volume attach NAME --ways" tells of other ways'

function nbdOfKernel(): GenericNetlink {
  try {
    return new GenericNetlink('nbd')
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error
    throw new TidemarkError('unusable-platform', {
      message: 'the kernel of this machine has no nbd loaded',
      hint: `"modprobe nbd" loads it, where there is one; ${otherWays}`,
      cause: error,
    })
  }
}

function tell(kernel: GenericNetlink, device: string, what: number, attributes: readonly NetlinkAttribute[]): void {
  try {
    kernel.ask(what, attributes)
  } catch (error) {
    if (isSystemError(error, 'EBUSY'))
      throw new TidemarkError('in-use', {
        message: `${device} is attached already`,
        hint: `choose another one, or free it first: "tidemark volume detach NAME ${device}"`,
        cause: error,
      })
    if (isSystemError(error, 'EPERM'))
      throw new TidemarkError('not-allowed', {
        message: `the kernel lets nobody but root attach and detach ${device}`,
        hint: 'run it as root',
        cause: error,
      })
    throw new TidemarkError('unusable-platform', {
      message: `the kernel refuses it for ${device}: ${messageOf(error)}`,
      hint: `see "dmesg"; ${otherWays}`,
      cause: error,
    })
  }
}
