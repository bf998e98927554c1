import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { formatBytes, formatCount, formatDurationMs, formatTable } from '../src/cli/format.ts'
import { compare, digestTree } from './comparison.ts'
import { say, until } from './screen.ts'
import type { Site } from './site.ts'

/** Protects a directory of the user's own and restores it beside itself; true where both are equal. */
export async function protectOwn(site: Site, path: string): Promise<boolean> {
  const directory = realpathSync(resolve(path))
  const target = join(dirname(directory), `${basename(directory)}.restored-${Date.now()}`)
  await site.run('protect', 'files', directory, '--name', 'own')
  let toldAtMs = performance.now()
  await until('baseline', async () => {
    const { state, dirty, progress } = await site.statusOf('own')
    if (progress && performance.now() - toldAtMs > 1000) {
      toldAtMs = performance.now()
      say('baseline', `${formatCount(progress.files)} files, ${formatBytes(progress.bytes)}`)
    }
    return state === 'protected' && dirty === 0
  })
  say('protected', directory)
  const { sequence } = await site.statusOf('own')
  const from = performance.now()
  await site.run('restore', 'own', '--at', 'latest', '--to', target)
  const restoreMs = performance.now() - from
  say('restored', `in ${target}`)
  const { compared, differences } = compare(digestTree(directory), digestTree(join(target, directory)))
  const table = [
    ['changes in the journal', formatCount(sequence)],
    ['time to restore', formatDurationMs(restoreMs)],
    ['files compared', formatCount(compared)],
    ['differences', formatCount(differences.length)],
  ]
  process.stdout.write(`\n${formatTable(['proof', ''], table, [1])}\n`)
  for (const difference of differences.slice(0, 20)) process.stdout.write(`  ${difference}\n`)
  return differences.length === 0
}
