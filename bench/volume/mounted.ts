import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run, Service, until } from '../command.ts'

/** An ext4 on what is served at `uri`, made anew and mounted in `place` until disposed. */
export async function mountAnew(uri: string, place: string): Promise<{ readonly folder: string } & AsyncDisposable> {
  const bridge = join(place, 'nbd')
  const folder = join(place, 'ext4')
  for (const one of [bridge, folder]) mkdirSync(one)
  await using undo = new AsyncDisposableStack()
  const file = join(bridge, 'disk')
  const fuse = new Service(['nbdfuse', file, uri])
  undo.defer(async () => {
    await run(['umount', bridge])
    await fuse[Symbol.asyncDispose]()
  })
  await until('the bridge to be there', () => {
    fuse.assertRunning()
    return existsSync(file)
  })
  // Two page caches would stand between the file system and the server without direct I/O.
  const { output } = await run(['losetup', '--direct-io=on', '-f', '--show', file])
  const device = output.trim()
  undo.defer(async () => void (await run(['losetup', '-d', device])))
  await run(['mkfs.ext4', '-q', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0', device])
  await run(['mount', device, folder])
  // Processes of a server that was just killed may still have it for a moment.
  undo.defer(() => until('the file system to be free', () => isUnmounted(folder), { everyMs: 100, msMax: 60_000 }))
  const kept = undo.move()
  return { folder, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

async function isUnmounted(folder: string): Promise<boolean> {
  await run(['umount', folder], { allowed: [1, 32] })
  return !readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${folder} `)
}
