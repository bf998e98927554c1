import net, { type Socket } from 'node:net'

/** Who takes what comes over a socket. */
export interface Receiver {
  /** Where the next bytes shall go. */
  room(): Buffer
  /** So many bytes have come into `buffer`; that is `room()`, or it was, or it is some other place. */
  received(count: number, buffer: Buffer): void
}

/** A socket, and who takes what comes over it. */
export interface Line {
  readonly socket: Socket
  /** The newest receiver gets everything from now on. */
  receiveBy(receiver: Receiver): void
}

/** Of any socket. Each read makes a buffer, and its bytes are moved to where they belong. */
export function lineOf(socket: Socket): Line {
  return {
    socket,
    receiveBy: (receiver) => {
      socket.removeAllListeners('data').on('data', (piece: Buffer) => receiver.received(piece.length, piece))
    },
  }
}

/** To a server. Bytes come straight to where they belong. */
export function dialLine(at: net.NetConnectOpts): Line {
  return directLine((onread) => net.connect({ ...at, onread }))
}

/**
 * Of a socket that a server has accepted with `pauseOnConnect`, before anything is read from it. Node.js lets bytes come straight to
 * where they belong for sockets that connect, and not for those that are accepted: so the accepted one gives up its handle to a new
 * one. The server then no longer counts it.
 */
export function acceptedLine(accepted: Socket): Line {
  const inner = accepted as unknown as { _handle: unknown }
  const handle = inner._handle
  if (handle === null || typeof handle !== 'object' || !('useUserBuffer' in handle)) return lineOf(accepted.resume())
  inner._handle = null
  accepted.destroy()
  const given: object = { handle }
  return directLine((onread) => new net.Socket({ allowHalfOpen: true, onread, ...given }))
}

const firstRoomBytes = 1024

function directLine(open: (onread: net.OnReadOpts) => Socket): Line {
  let receiver: Receiver | undefined
  const socket = open({
    buffer: () => receiver?.room() ?? Buffer.allocUnsafe(firstRoomBytes),
    callback: (count, buffer) => {
      receiver?.received(count, buffer as Buffer)
      return true
    },
  })
  return { socket, receiveBy: (given) => void (receiver = given) }
}
