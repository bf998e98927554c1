import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { Malformed } from '../../base/bytes.ts'
import { isSystemError, TidemarkError } from '../../base/errors.ts'
import { VolumeLogReader } from '../../format/volume-log-reader.ts'
import type { RecordNumber, VolumeRecord } from '../../format/volume-log.ts'
import type { Id } from '../../model/source.ts'
import { NbdClient } from '../../nbd/client.ts'
import { formatLine, linesOf, parseFromServer } from './control-lines.ts'
import type { FromVolumeServer, ToVolumeServer } from './control.ts'
import type { ServerLink, VolumeFacts } from './server-link.ts'
import { volumeLogFolder } from './server/log-folder.ts'
import type { VolumeFolder } from './volume-folder.ts'

/** Of what the server has not taken; it reads all the time, so it hangs where there is more. */
const unsentBytesMax = 4 * 1024 * 1024

export interface VolumeAddress {
  readonly folder: VolumeFolder
  readonly id: Id
  readonly name: string
}

/** Connects to the server that runs; the system's error where none does. */
export async function connectServer({ folder, id, name }: VolumeAddress, signal: AbortSignal): Promise<ServerLink> {
  const control = await openControl(folder, signal)
  try {
    const nbd = await NbdClient.connect({ at: { path: folder.nbd }, exportName: name, hasAllocation: true }, signal)
    return new ConnectedServer(control, nbd, folder, id)
  } catch (error) {
    control.end()
    throw error
  }
}

/** The conversation alone. */
export interface Control {
  readonly volume: VolumeFacts
  readonly messages: AsyncIterable<FromVolumeServer>
  tell(message: ToVolumeServer): void
  end(): void
}

/** The system's error where no server runs. */
export async function openControl(folder: VolumeFolder, signal: AbortSignal): Promise<Control> {
  signal.throwIfAborted()
  const socket = net.connect(folder.control)
  const abort = (): void => void socket.destroy()
  signal.addEventListener('abort', abort, { once: true })
  socket.once('close', () => signal.removeEventListener('abort', abort))
  try {
    await once(socket, 'connect', { signal })
    const messages = messagesOf(socket, folder)
    const first = await messages.next()
    if (first.done === true || first.value.kind !== 'volume')
      throw nonsense(folder, new Malformed('no word about itself'))
    const tell = (message: ToVolumeServer): void => send(socket, message)
    return { volume: first.value, messages, tell, end: () => void socket.destroy() }
  } catch (error) {
    socket.destroy()
    signal.throwIfAborted()
    throw error
  }
}

async function* messagesOf(socket: Socket, folder: VolumeFolder): AsyncGenerator<FromVolumeServer> {
  try {
    for await (const line of linesOf(socket)) yield parseFromServer(line)
  } catch (error) {
    // A server that is killed leaves lines unread, and half ones.
    if (isSystemError(error, 'ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE')) return
    throw error instanceof Malformed ? nonsense(folder, error) : error
  }
}

function send(socket: Socket, message: ToVolumeServer): void {
  if (!socket.writable) return
  socket.write(formatLine(message))
  if (socket.writableLength <= unsentBytesMax) return
  socket.destroy(new TidemarkError('unreachable', { message: 'the volume server takes no messages any more' }))
}

const nonsense = (folder: VolumeFolder, cause: Malformed): TidemarkError =>
  new TidemarkError('protocol-violation', {
    message: `the volume server at ${folder.control} said ${cause.message}`,
    hint: 'let the volume server and the agent be of one version: end the volume server, the agent starts it again',
    cause,
  })

class ConnectedServer implements ServerLink {
  readonly volume: VolumeFacts
  readonly messages: AsyncIterable<FromVolumeServer>
  readonly #control: Control
  readonly #nbd: NbdClient
  readonly #folder: VolumeFolder
  readonly #id: Id
  #reader: VolumeLogReader | undefined
  #ended: Promise<void> | undefined

  constructor(control: Control, nbd: NbdClient, folder: VolumeFolder, id: Id) {
    this.volume = control.volume
    this.messages = control.messages
    this.#control = control
    this.#nbd = nbd
    this.#folder = folder
    this.#id = id
  }

  tell(message: ToVolumeServer): void {
    this.#control.tell(message)
  }

  read(at: number, bytes: number): Promise<Uint8Array> {
    return this.#nbd.read(at, bytes)
  }

  async isZeros(at: number, bytes: number): Promise<boolean> {
    let told = 0
    for (const extent of await this.#nbd.blockStatus(at, bytes)) {
      if (extent.is === 'data') return false
      told = extent.at + extent.bytes
    }
    return told >= at + bytes
  }

  async *records(after: number, upTo: number): AsyncGenerator<readonly VolumeRecord[]> {
    const from = (after + 1) as RecordNumber
    if (this.#reader?.next !== from) {
      await this.#reader?.[Symbol.asyncDispose]()
      this.#reader = new VolumeLogReader(volumeLogFolder(this.#folder.log), { volume: this.#id, from })
    }
    yield* this.#reader.read(upTo as RecordNumber)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#ended ??= this.#end())
  }

  async #end(): Promise<void> {
    this.#control.end()
    this.#nbd.destroy(new TidemarkError('interrupted', { message: 'the conversation with the volume server is over' }))
    await this.#reader?.[Symbol.asyncDispose]()
  }
}
