import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { connect } from '../../src/capture/postgres/protocol/connection.ts'
import { parsePostgresUrl } from '../../src/capture/postgres/protocol/url.ts'
import type { Ask } from '../../src/recover/postgres/server.ts'
import { isRunning } from './postgres-program.ts'

/** Asks a restored server over its private socket. */
export const askRestored: Ask = async ({ socketFolder, port, database = 'postgres' }, text) => {
  const url = `postgres:///${database}?host=${encodeURIComponent(socketFolder)}&port=${port}&user=postgres`
  const target = parsePostgresUrl(url, 'postgres')
  await using connection = await connect({ target, purpose: 'database', clock: systemClock, random: systemRandom })
  return (await connection.query(text)).at(-1)?.rows ?? []
}

/** Ends the server of a data directory, if one runs there. */
export async function stopRestored(data: string): Promise<void> {
  const file = join(data, 'postmaster.pid')
  if (!existsSync(file)) return
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0])
  if (!isRunning(pid)) return
  process.kill(pid, 'SIGINT')
  while (isRunning(pid)) await sleep(20)
}
