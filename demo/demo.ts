import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { describeConsole, openConsole } from './console.ts'
import { addressOf, databaseName } from './cluster.ts'
import { type Office, openOffice } from './office.ts'
import { protectOwn } from './own-directory.ts'
import { accident, protect, work } from './protected-office.ts'
import { compareAll, prove, restore, type RestoredOffice } from './restored-office.ts'
import { say } from './screen.ts'
import { Site } from './site.ts'

/**
 * `npm run demo`: a vault and an agent on this machine, a directory and a PostgreSQL server at work, an accident, the
 * last moment before it. Ends with status 0 only if every file and every row is as it was recorded outside of Tidemark.
 */
const { values: options } = parseArgs({
  options: {
    files: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h' },
  },
})

const help = `npm run demo                    protect a PostgreSQL server and a directory at work, suffer an accident,
                                restore both as they were the moment before it
npm run demo -- --files PATH    protect your own directory and restore it beside itself; no accident
npm run demo -- --keep          leave everything running, open the console, and say how to look around
Exit status: 0 every comparison held, 1 otherwise
`
if (options.help) {
  process.stdout.write(help)
  process.exit(0)
}

const site = new Site()

async function main(): Promise<boolean> {
  say('start', `everything of this demonstration is below ${site.place}`)
  await site.open()
  say('', 'a vault and an agent run, joined by mutual TLS')
  if (options.files !== undefined) return await protectOwn(site, options.files)
  const office = await openOffice(site)
  await protect(site, office)
  const lags = await work(site, office)
  const lastGood = await accident(site, office)
  const restored = await restore(site, office, lastGood)
  const compared = await compareAll(office, lastGood, restored)
  const isProven = await prove(site, office, lags, restored, compared)
  if (options.keep) {
    const open = await openConsole(site)
    tellHowToLookAround(office, restored)
    process.stdout.write(describeConsole(open))
  }
  return isProven
}

function tellHowToLookAround({ cluster, documents }: Office, restored: RestoredOffice): void {
  const psql = (data: string): string => {
    const { socketFolder, port } = addressOf(data)
    return `psql -h ${socketFolder} -p ${port} -U postgres ${databaseName}`
  }
  const servers = [cluster, restored.cluster].map((data) => addressOf(data).pid)
  process.stdout.write(`
Everything goes on running. To look around:
  export TIDEMARK_HOME=${site.home}
  ./tidemark status
  ./tidemark points documents --limit 20
  ./tidemark history documents:${join(documents, 'archive/scan-0.bin')}
  ./tidemark transactions database
  ${psql(cluster)}    # after the accident
  ${psql(restored.cluster)}    # restored
To end it: kill -INT ${servers.join(' ')}; kill ${site.processIds().join(' ')}; rm -r ${site.place}
`)
}

/** Ends the wait for `main`, by the status that a shell tells of a signal. */
const interrupted = new Promise<number>((resolve, reject) => {
  process.on('SIGINT', () => resolve(130))
  process.on('SIGTERM', () => resolve(143))
  process.on('SIGHUP', () => resolve(129))
  process.on('uncaughtException', reject)
})

let status = 1
let isKept = false
try {
  const ended = await Promise.race([main(), interrupted])
  status = typeof ended === 'number' ? ended : ended ? 0 : 1
  isKept = options.keep && typeof ended === 'boolean'
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : error}\n`)
}
if (!isKept) await site.end()
process.exit(status)
