import { join, resolve } from 'node:path'
import type { ApiClient } from '../api/client.ts'
import { isCode } from '../base/errors.ts'
import { socketApiClient } from '../wire/http-client.ts'
import { homeDirectory, socketName } from './connect.ts'
import type { Parts } from './parts.ts'

export const consoleDirectory = (parts: Pick<Parts, 'environment' | 'isRoot'>): string =>
  join(homeDirectory(parts), 'console')

/** Beside dist in the package, beside src in a checkout. */
export const consolePages = join(import.meta.dirname, '..', '..', 'web', 'dist')

/** A console that is just being started or stopped has neither its lock nor its socket to itself. */
const triesMax = 20
const betweenTriesMs = 100

/** Works with the API of the console of a directory: of the one that runs, else of one for as long as this takes. */
export async function withConsole<T>(
  { dir }: { readonly dir?: string },
  parts: Parts,
  work: (client: ApiClient) => Promise<T>,
): Promise<T> {
  const directory = resolve(dir ?? consoleDirectory(parts))
  const client = socketApiClient(join(directory, socketName))
  for (let tries = 1; ; tries++) {
    try {
      return await work(client)
    } catch (error) {
      if (!isCode(error, 'not-running')) throw error
    }
    const { startConsole } = await import('../console/run.ts')
    try {
      await using _console = await startConsole(
        { directory, pages: consolePages, names: [] },
        { ...parts, tell: () => undefined },
      )
      return await work(client)
    } catch (error) {
      if (!isCode(error, 'already-running') || tries >= triesMax) throw error
    }
    await parts.clock.sleep(betweenTriesMs, parts.signal)
  }
}
