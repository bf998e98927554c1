import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ListenOptions, type Server } from 'node:net'

/** Below the ports that the kernel gives to whoever asks for any, which would otherwise be taken while a server is down. */
const portMin = 20_000
const portMax = 32_000
const triesMax = 1000

/**
 * A port of loopback on which nothing listens, and which no other test is given while this process lives: a server that is
 * stopped finds it free again. It is claimed by a socket with its number as an abstract name, which ends with the process.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < triesMax; tries++) {
    const port = randomInt(portMin, portMax)
    const claim = await listening({ path: `\0tidemark-test-port-${port}` })
    if (claim === undefined) continue
    claim.unref()
    const there = await listening({ port, host: '127.0.0.1' })
    if (there === undefined) claim.close()
    else {
      there.close()
      await once(there, 'close')
      return port
    }
  }
  throw new Error(`no port from ${portMin} to ${portMax} is free`)
}

/** Undefined where something listens there already. */
async function listening(where: ListenOptions): Promise<Server | undefined> {
  const server = createServer().listen(where)
  try {
    await once(server, 'listening')
    return server
  } catch {
    return undefined
  }
}
