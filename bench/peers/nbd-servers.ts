import { join } from 'node:path'
import { isListening } from '../../test/support/listening.ts'
import { Service, until } from '../command.ts'
import { usageSinceStart } from '../usage.ts'
import { type Contestant, type Served, socketUri } from '../volume/served.ts'

/** They write to the file as it is asked of them, and keep no history; the filter notes what was asked, without the data. */
export const nbdServers: readonly Contestant[] = [
  {
    who: 'nbdkit file',
    serve: (file, place) => serve(place, (socket) => ['nbdkit', '-f', '-U', socket, 'file', file]),
  },
  {
    who: 'nbdkit file, log filter',
    serve: (file, place) =>
      serve(place, (socket) => [
        ...['nbdkit', '-f', '-U', socket, '--filter=log', 'file', file],
        `logfile=${join(place, 'requests.log')}`,
      ]),
  },
  {
    who: 'qemu-nbd',
    serve: (file, place) =>
      serve(place, (socket) => [
        ...['qemu-nbd', '--socket', socket, '--format=raw', '--persistent', '--shared=16'],
        ...['--cache=writeback', '--discard=unmap', file],
      ]),
  },
]

async function serve(place: string, command: (socket: string) => readonly string[]): Promise<Served> {
  const socket = join(place, 'nbd.sock')
  const service = new Service(command(socket))
  await until('the server to listen', () => {
    service.assertRunning()
    return isListening(socket)
  })
  const cpuSeconds = (): number => usageSinceStart(service.pid).cpuSeconds
  return {
    uri: socketUri(socket),
    cpuSeconds,
    cpuSecondsOfAll: cpuSeconds,
    untilQuiet: async () => service.assertRunning(),
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  }
}
