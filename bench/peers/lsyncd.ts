import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Service } from '../command.ts'
import { startRsyncDaemon } from './rsync.ts'
import type { Mirror } from './mirror.ts'

/** lsyncd, which runs rsync to a daemon on loopback; `delaySeconds` left out means its default of 15. */
export async function startLsyncd(
  place: string,
  source: string,
  target: string,
  delaySeconds?: number,
): Promise<Mirror> {
  const daemon = await startRsyncDaemon(place, target)
  const configuration = join(place, 'lsyncd.lua')
  const delay = delaySeconds === undefined ? '' : `delay = ${delaySeconds}, `
  writeFileSync(
    configuration,
    `settings { nodaemon = true, logfile = "${join(place, 'lsyncd.log')}", statusFile = "${join(place, 'lsyncd.status')}" }\n` +
      `sync { default.rsync, source = "${source}", target = "${daemon.url}", ${delay}rsync = { archive = true } }\n`,
  )
  const lsyncd = new Service(['lsyncd', configuration])
  return {
    name: delaySeconds === undefined ? 'lsyncd, delay as by default' : `lsyncd, delay ${delaySeconds} s`,
    target,
    processes: [lsyncd, daemon.service],
    async [Symbol.asyncDispose]() {
      await lsyncd[Symbol.asyncDispose]()
      await daemon.service[Symbol.asyncDispose]()
    },
  }
}
