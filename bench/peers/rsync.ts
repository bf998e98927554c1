import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Finished, run, Service, until } from '../command.ts'
import { accepts, freePort } from '../place.ts'

/** A copy of a tree in another directory, with everything rsync can keep. */
export const copyTree = (from: string, to: string): Promise<Finished> =>
  run(['rsync', '-aHAX', '--delete', `${from}/`, `${to}/`])

export interface RsyncDaemon {
  readonly service: Service
  readonly url: string
}

/** A daemon on loopback that takes files into a directory. */
export async function startRsyncDaemon(place: string, directory: string): Promise<RsyncDaemon> {
  const port = await freePort()
  const configuration = join(place, 'rsyncd.conf')
  mkdirSync(directory, { recursive: true })
  writeFileSync(
    configuration,
    `use chroot = no\nlog file = ${join(place, 'rsyncd.log')}\npid file = ${join(place, 'rsyncd.pid')}\n` +
      `[live]\npath = ${directory}\nread only = no\nuid = ${process.getuid?.()}\ngid = ${process.getgid?.()}\n`,
  )
  const service = new Service([
    'rsync',
    '--daemon',
    '--no-detach',
    '--address=127.0.0.1',
    `--port=${port}`,
    `--config=${configuration}`,
  ])
  await until('the rsync daemon', () => {
    service.assertRunning()
    return accepts(port)
  })
  return { service, url: `rsync://127.0.0.1:${port}/live/` }
}
