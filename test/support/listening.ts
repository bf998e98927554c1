import { once } from 'node:events'
import { connect } from 'node:net'

/** Whether somebody takes connections at a Unix socket. Its file is there before that. */
export async function isListening(path: string): Promise<boolean> {
  const socket = connect({ path })
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ECONNREFUSED'))
      return false
    throw error
  } finally {
    socket.destroy()
  }
}
