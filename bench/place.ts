import { once } from 'node:events'
import { existsSync, globSync, lstatSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { pause, run } from './command.ts'
import { benchDirectory } from './dataset.ts'

/** A folder of a measurement, gone afterwards. */
export class Place implements Disposable {
  readonly directory: string

  constructor(name: string) {
    mkdirSync(benchDirectory, { recursive: true })
    this.directory = mkdtempSync(join(benchDirectory, `${name}-`))
  }

  /** A path in it that is not there. */
  fresh(name: string): string {
    const path = join(this.directory, name)
    rmSync(path, { recursive: true, force: true })
    return path
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** What files take on the disk. */
export function storedBytes(directory: string): number {
  if (!existsSync(directory)) return 0
  return globSync('**', { cwd: directory }).reduce((sum, path) => sum + diskBytes(join(directory, path)), 0)
}

function diskBytes(path: string): number {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat?.isFile() ? stat.blocks * 512 : 0
}

/** Throws where two trees differ in names, types or content. */
export async function assertSameTree(one: string, other: string): Promise<void> {
  const { output } = await run(['diff', '-r', '--no-dereference', one, other], { allowed: [1] })
  if (output !== '') throw new Error(`${other} is not what ${one} is:\n${output.slice(0, 2000)}`)
}

/** ext4 passes over inodes deleted within the last minute one by one, which makes new files slow for whoever is next. */
const deletedMs = 61_000
let lastDiscard = Number.NEGATIVE_INFINITY

/** Deletes a tree of many files; `settle` then waits until it weighs on nobody. */
export function discardTree(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
  lastDiscard = performance.now()
}

/** Reads everything once, so that all find it in memory alike, and lets what earlier work left be written. */
export async function settle(directory: string): Promise<void> {
  await run(['sh', '-c', 'tar cf - -C "$1" . | cat > /dev/null; sync', 'sh', directory])
  await pause(Math.max(0, lastDiscard + deletedMs - performance.now()))
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}

/** Whether something listens on the port of loopback. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
