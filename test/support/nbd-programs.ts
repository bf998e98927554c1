import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'
import { isListening } from './listening.ts'

/** A folder with a name short enough for sockets; gone after the test. */
export function scratchFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-nbd-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Programs that speak NBD and were written by others, with the Debian packages that bring them. */
const packages = {
  'nbdinfo': 'libnbd-bin',
  'nbdcopy': 'libnbd-bin',
  'nbdkit': 'nbdkit',
  'qemu-img': 'qemu-utils',
  'qemu-io': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'fio': 'fio',
} as const

export type NbdProgram = keyof typeof packages

/** For the `skip` of a test that needs it. */
export const lackingProgram = (program: NbdProgram): string | false =>
  spawnSync(program, ['--version']).error !== undefined && `${program} is missing: apt-get install ${packages[program]}`

/** What it prints. The server it speaks to may be in this process, so nobody waits for it but the caller. */
export async function runProgram(program: NbdProgram, ...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 64 * 1024 * 1024 })
  return stdout
}

/** A foreign server at a Unix socket; ended after the test. */
export async function startServer(
  t: TestContext,
  program: NbdProgram,
  path: string,
  args: readonly string[],
): Promise<void> {
  const child = spawn(program, args, { stdio: 'inherit' })
  const ended = once(child, 'exit')
  t.after(async () => {
    child.kill()
    await ended
  })
  while (!(await isListening(path))) {
    if (child.exitCode !== null) throw new Error(`${program} has ended: ${child.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
